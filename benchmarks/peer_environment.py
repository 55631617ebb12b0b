"""Where the peers are installed: an environment of their own in the user's cache, no dependency of the project."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PINNED = ("celery==5.7.0", "huey==3.5.4", "psycopg2-binary==2.9.13", "redis==8.1.0", "sqlalchemy==2.1.9")
INSTALL_SECONDS = 300


def installed_python() -> Path:
    """The interpreter of an environment that has exactly `PINNED`; makes it where it is not there.

    Raises `RuntimeError` where it cannot be made.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    named = hashlib.sha256(" ".join((sys.version, *PINNED)).encode()).hexdigest()[:12]
    folder = cache / "orrery-benchmarks" / f"peers-{named}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _uv(folder, "venv", "--clear", "--python", sys.executable, str(folder))
        _uv(folder, "pip", "install", "--compile-bytecode", "--python", str(python), *PINNED)
        complete.touch()
    return python


def _uv(folder: Path, *arguments: str) -> None:
    program = os.environ.get("UV") or shutil.which("uv")
    if program is None:
        raise RuntimeError("the peers are installed by uv, which is not on the PATH")
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"uv {arguments[0]} failed: {done.stderr[-2000:]}")
