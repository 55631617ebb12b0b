"""Work folders that scripts leave as they found them, kept for the next one: to make and remove folders waits for the
disk's journal, which takes longer than a short script does."""

import os
import shutil
import stat
from pathlib import Path

from scheduler_infrastructure.execution.surroundings import Surroundings

_MOST = 64
_MODE = 0o700


class Shelf:
    """Lends folders beside the attempts' own; `take`, then one of `keep` and `drop`; `clear` at the end."""

    def __init__(self) -> None:
        self._kept: list[Surroundings] = []

    def take(self, work_folder: Path, script: bytes) -> Surroundings:
        """A folder with ``script`` in it and an empty one for artifacts; raises `OSError`."""
        while self._kept:
            kept = self._kept.pop()
            if Path(kept.folder).parent == work_folder.parent and _rewritten(kept, script):
                return kept
            _remove(kept)
        made = Surroundings(work_folder.with_name(f"shell-{work_folder.name}"))
        made.make()
        descriptor = os.open(made.script, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(script)
        return made

    def keep(self, used: Surroundings, work_folder: Path) -> None:
        """Call when nothing of the process tree is left. What is not as it was becomes ``work_folder``, for the caller
        to remove."""
        if len(self._kept) < _MOST and _is_untouched(used):
            self._kept.append(used)
        else:
            self.drop(used, work_folder)

    def drop(self, used: Surroundings, work_folder: Path) -> None:
        try:
            Path(used.folder).rename(work_folder)
        except OSError:
            _remove(used)

    def clear(self) -> None:
        while self._kept:
            _remove(self._kept.pop())


def _is_untouched(used: Surroundings) -> bool:
    try:
        folders = [os.lstat(used.folder), os.lstat(used.artifacts)]
        script = os.lstat(used.script)
        names = {path.name for path in Path(used.folder).iterdir()}
        return (
            all(stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == _MODE for found in folders)
            and _is_ours(script)
            and names == {Path(used.script).name, Path(used.artifacts).name}
            and not any(Path(used.artifacts).iterdir())
        )
    except OSError:
        return False


def _is_ours(script: os.stat_result) -> bool:
    """A plain file without another name: writing to it writes nowhere else."""
    return stat.S_ISREG(script.st_mode) and script.st_nlink == 1 and stat.S_IMODE(script.st_mode) == 0o600


def _rewritten(kept: Surroundings, script: bytes) -> bool:
    try:
        descriptor = os.open(kept.script, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        if not _is_ours(os.fstat(descriptor)):
            return False
        file.truncate(0)
        file.write(script)
    return True


def _remove(kept: Surroundings) -> None:
    shutil.rmtree(kept.folder, ignore_errors=True)
