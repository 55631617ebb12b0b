"""A disk that is full when a fault wants it to be: a file system in memory, as small as it is asked for.

::

    with SmallDisk(64) as disk:
        disk.fill()
        disk.free()
"""

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from faults.not_injected import NotInjected

BLOCK = bytes(64 * 1024)
MOUNT_SECONDS = 10.0
_BALLAST = ".ballast"


class SmallDisk:
    """``megabytes`` of it, the property of ``user``; use as a context manager, after everybody who writes there has
    ended. Raises `NotInjected` where nothing may be mounted."""

    def __init__(self, megabytes: int, *, user: str | None = None) -> None:
        self._megabytes = megabytes
        self._user = user
        self.folder = Path()
        """Where it is, once it is mounted."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="orrery-disk-"))
        try:
            _mount("mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m,mode=0700", "tmpfs", str(self.folder))
        except (OSError, subprocess.SubprocessError) as error:
            self.folder.rmdir()
            said = getattr(error, "stderr", None) or str(error)
            raise NotInjected(f"a disk of its own cannot be mounted here: {said.strip()}") from None
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: what is about to end may still have a file open there.
        _mount("umount", "--lazy", str(self.folder))
        self.folder.rmdir()

    def fill(self) -> int:
        """Takes all the room that is left; answers how many bytes that was."""
        taken = 0
        with (self.folder / _BALLAST).open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while written := ballast.write(BLOCK):
                taken += written
        return taken

    def free(self) -> None:
        """Gives the room back."""
        (self.folder / _BALLAST).unlink(missing_ok=True)


def _mount(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=MOUNT_SECONDS)
