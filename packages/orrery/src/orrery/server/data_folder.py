"""The data folder of a node: made for its owner alone, held by one process, and where the admin's key is kept."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orrery.cli.failures import CommandFailed
from orrery.connection import ADMIN_FILE

LOCK_FILE = "up.lock"


def make_data_folder(folder: Path) -> None:
    """Makes the folder with mode 0700 where it does not exist; raises `CommandFailed` where it cannot be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"the data folder {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise CommandFailed(f"the data folder {folder} cannot be written")


@contextmanager
def held_data_folder(folder: Path) -> Iterator[None]:
    """Holds the folder until the block ends. The lock is the kernel's, so a killed process leaves none behind."""
    make_data_folder(folder)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise CommandFailed(f"another orrery up (process {holder}) uses {folder}") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def write_admin_file(folder: Path, api_key: str) -> Path:
    """Writes ``admin.json`` for the commands on this machine: whole or not at all, readable by its owner alone."""
    # Nothing accepts the password in this version; the file has all three keys because its readers rely on them.
    content = {"user": "admin", "password": secrets.token_urlsafe(24), "api_key": api_key}
    target = folder / ADMIN_FILE
    draft = folder / f".{ADMIN_FILE}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(target)
    return target
