"""How the tests of one run are spread over processes, and which of them have the machine to themselves."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

FEW_FILES = 8
"""So many are done in one process before others have collected them."""

PROCESSES_PER_CORE = 2
"""Most tests wait: for a server, a disk, a process that they started."""

ALONE = "alone"

STORIES = "tests/acceptance"
"""A folder whose tests run one by one: each is an installation of many processes, with promises in seconds, and one
broker serves them all."""

SLOW = (STORIES, "tests/deploy/test_image.py", "tests/benchmarks/test_on_servers.py")
"""What begins before the others: at the end nobody waits for one of them."""

DIVISIBLE = ("tests/faults/test_crash_points.py",)
"""Files of many tests that share nothing but the store of their process: they are dealt test by test, at the end."""


class Distribution(LoadGroupScheduling):  # type: ignore[misc]  # it ships no types
    """A file stays in one process, where what its tests share is made once; see `in_order`."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        if scope != nodeid:
            return scope
        path = nodeid.partition("::")[0]
        if path.startswith(f"{STORIES}/"):
            return STORIES
        return nodeid if path in DIVISIBLE else path

    def remove_node(self, node: Any) -> str | None:
        """The test that a process died of; it has failed. Without this the next process would be given it again, and
        so on."""
        units: list[dict[str, bool]] = list(self.assigned_work[node].values())
        for unit in units:
            for test, completed in unit.items():
                if not completed:
                    unit[test] = True
                    super().remove_node(node)
                    return test
        super().remove_node(node)
        return None


def processes(arguments: Sequence[str], root: Path) -> int:
    """How many share the work that ``arguments`` of the command line name; 0 where the one that collects does it."""
    paths = [root / argument.partition("::")[0] for argument in arguments]
    if any("::" in argument for argument in arguments):
        return 0
    files = {file for path in paths for file in ([path] if path.is_file() else path.rglob("test_*.py"))}
    whole = any(file.relative_to(root).as_posix() in DIVISIBLE for file in files if file.is_relative_to(root))
    return PROCESSES_PER_CORE * len(os.sched_getaffinity(0)) if len(files) > FEW_FILES or whole else 0


def in_order(items: list[pytest.Item]) -> None:
    """Slow files first, divisible ones after the others, and last, in one process, the tests that are to be alone."""
    for item in items:
        if item.get_closest_marker(ALONE):
            item.add_marker(pytest.mark.xdist_group(ALONE))
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    if item.get_closest_marker(ALONE):
        return 3
    if item.nodeid.startswith(DIVISIBLE):
        return 2
    return 0 if item.nodeid.startswith(SLOW) else 1


@contextlib.contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Lets others of the run that shares ``folder`` test at the same time, or none of them."""
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with (folder / "gate.lock").open("w") as gate, (folder / "turn.lock").open("w") as lock:
        # Whoever waits to be alone lets nobody in before: there is always somebody who tests.
        fcntl.flock(gate, kind)
        fcntl.flock(lock, kind)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
