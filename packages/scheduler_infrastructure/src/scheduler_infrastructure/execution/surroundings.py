"""What a process task finds: its folder, the files in it that are ours, and its environment."""

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

from scheduler_application.ports.execution import ExecutionRequest
from scheduler_infrastructure.execution.output import MAX_OUTPUT_BYTES, InvalidOutput, decode_output

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OUTPUT, _ARTIFACTS = ".orrery-output.json", ".orrery-artifacts"
_MOST_KEPT = 32
LONGEST_TICK_SECONDS = 3.0
"""Longer than the clock of any file system takes for a tick: FAT's two seconds, most others' a few ms."""


class Surroundings:
    """The paths of one attempt; the names begin with a dot so that the task's ``ls`` and ``*`` do not meet them."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.output = f"{self.folder}/{_OUTPUT}"
        self.artifacts = f"{self.folder}/{_ARTIFACTS}"

    def environment(self, request: ExecutionRequest) -> dict[str, str]:
        """The complete environment: nothing of the worker's own comes through."""
        environment = {**base_environment(), "HOME": self.folder}
        if request.source is not None:
            environment["ORRERY_SOURCE"] = str(request.source)
        environment.update(request.environment)
        environment["ORRERY_OUTPUT"] = self.output
        environment["ORRERY_ARTIFACTS"] = self.artifacts
        return environment

    def has_output(self) -> bool:
        return Path(self.output).exists()

    def read_output(self) -> object:
        """The JSON value that the task wrote, ``None`` where it wrote none; raises `InvalidOutput`."""
        try:
            # No waiting on a pipe and no following of a link that the task may have put in its place.
            descriptor = os.open(self.output, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidOutput(f"the output file cannot be read: {error.strerror}") from None
        try:
            return decode_output(os.read(descriptor, MAX_OUTPUT_BYTES + 1))
        except OSError as error:
            raise InvalidOutput(f"the output file cannot be read: {error.strerror}") from None
        finally:
            os.close(descriptor)


class KeptFolders:
    """Work folders of attempts that succeeded and left nothing in them, for those that follow: making and removing one
    for each waits for the disk's journal, which takes longer than a short script."""

    def __init__(self) -> None:
        self._made: dict[str, _Made] = {}
        self._free: list[Surroundings] = []

    def take(self, work_folder: str) -> Surroundings:
        """An empty folder beside ``work_folder``, whose parent exists; raises `OSError`."""
        parent, name = os.path.split(work_folder)
        while self._free:
            kept = self._free.pop()
            # Whoever runs as the same user may have been there meanwhile.
            if os.path.dirname(kept.folder) == parent and self._made[kept.folder].is_empty():  # noqa: PTH120 - quick
                return kept
            self._forget(kept)
        fresh = Surroundings(f"{parent}/shell-{name}")
        for folder in (fresh.folder, fresh.artifacts):
            with contextlib.suppress(FileExistsError):
                Path(folder).mkdir(0o700)
        self._made[fresh.folder] = _Made(fresh)
        return fresh

    def give_back(self, used: Surroundings) -> bool:
        """Whether it is kept: the output is read, and there is nothing else in it. Else `put_away`."""
        made = self._made[used.folder]
        if not made.is_empty():
            with contextlib.suppress(OSError):
                Path(used.output).unlink()
            if not made.is_empty():
                return False
        if len(self._free) >= _MOST_KEPT:
            return False
        self._free.append(used)
        return True

    def put_away(self, used: Surroundings, work_folder: str) -> None:
        """What is left of it is at ``work_folder`` then, for the executor's caller to remove."""
        self._made.pop(used.folder, None)
        with contextlib.suppress(OSError):  # The task has moved or removed it.
            Path(used.folder).rename(work_folder)

    def close(self) -> None:
        while self._free:
            self._forget(self._free.pop())

    def _forget(self, kept: Surroundings) -> None:
        del self._made[kept.folder]
        shutil.rmtree(kept.folder, ignore_errors=True)


class _Made:
    """The two folders of an attempt as they were made, and whether there is anything in them.

    A folder's time of change, which nobody can set, moves with every name that comes or goes: one that was seen empty
    and has that time still is empty, and need not be listed. That holds once the time is older than a tick of the file
    system's clock, for it does not tell apart what changed within one.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        """Raises `OSError`."""
        self._folder, self._artifacts = surroundings.folder, surroundings.artifacts
        self._identity, self._changed = self._look()
        self._seen_at = time.monotonic()
        self._empty_since: list[int] | None = None

    def is_empty(self) -> bool:
        """Also false where something else is there in their place, or nothing."""
        try:
            identity, changed = self._look()
            if identity != self._identity:
                return False
            if changed == self._empty_since:
                return True
            if changed != self._changed:
                self._changed, self._seen_at = changed, time.monotonic()
            is_old = time.monotonic() >= self._seen_at + LONGEST_TICK_SECONDS
            if os.listdir(self._folder) != [_ARTIFACTS] or os.listdir(self._artifacts):  # noqa: PTH208 - names
                return False
        except OSError:
            return False
        self._empty_since = changed if is_old else None
        return True

    def _look(self) -> tuple[list[tuple[int, int, int, int]], list[int]]:
        found = [os.lstat(self._folder), os.lstat(self._artifacts)]
        return [(one.st_dev, one.st_ino, one.st_mode, one.st_uid) for one in found], [one.st_ctime_ns for one in found]


def base_environment() -> dict[str, str]:
    """What every process gets when the task says nothing else."""
    return {"PATH": _PATH, "LANG": "C.UTF-8"}


def worker_interpreter() -> str:
    return sys.executable
