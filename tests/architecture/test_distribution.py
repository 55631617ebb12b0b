"""How a run of the tests is spread over processes."""

import fcntl
import subprocess
import sys
import threading
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.support.distribution import ALONE, DIVISIBLE, SLOW, STORIES, Distribution, processes, turn
from tests.support.hanging import STATUS, ended_if_it_hangs
from tests.support.private_servers import free_port


@pytest.mark.parametrize(
    "arguments", [["tests/domain/test_graph.py"], [f"{DIVISIBLE[0]}::test_x"], ["tests/benchmarks"]]
)
def test_few_files_are_done_where_they_are_asked_for(arguments: list[str]) -> None:
    assert processes(arguments, ROOT) == 0


@pytest.mark.parametrize("arguments", [["tests"], ["tests/domain"], [*DIVISIBLE]])
def test_many_files_and_files_of_very_many_tests_are_shared_out(arguments: list[str]) -> None:
    assert processes(arguments, ROOT) >= 2


@pytest.mark.parametrize("place", [*SLOW, *DIVISIBLE])
def test_what_is_dealt_in_a_way_of_its_own_exists(place: str) -> None:
    assert (ROOT / place).exists()


@pytest.mark.parametrize(
    ("test", "together"),
    [
        ("tests/domain/test_graph.py::test_x[a::b@c]", "tests/domain/test_graph.py"),
        ("tests/acceptance/test_demo.py::test_x", STORIES),
        (f"{DIVISIBLE[0]}::test_x[a]", f"{DIVISIBLE[0]}::test_x[a]"),
        (f"tests/domain/test_graph.py::test_x[a]@{ALONE}", ALONE),
    ],
)
def test_files_and_stories_stay_together_but_for_what_is_alone_or_divisible(test: str, together: str) -> None:
    assert object.__new__(Distribution)._split_scope(test) == together


def test_what_a_process_died_of_is_not_given_to_another() -> None:
    shared_out, died = object.__new__(Distribution), object()
    shared_out.workqueue = OrderedDict()
    shared_out.assigned_work = {died: {"a": {"a::first": True, "a::second": False}, "b": {"b::third": False}}}
    assert shared_out.remove_node(died) == "a::second"
    left = [test for unit in shared_out.workqueue.values() for test, completed in unit.items() if not completed]
    assert left == ["b::third"]


@pytest.mark.parametrize(("alone", "others_may"), [(True, False), (False, True)])
def test_nobody_enters_beside_who_is_alone(tmp_path: Path, alone: bool, others_may: bool) -> None:
    with turn(tmp_path, alone=alone):
        assert _may_enter(tmp_path, fcntl.LOCK_SH) is others_may
        assert not _may_enter(tmp_path, fcntl.LOCK_EX)
    assert _may_enter(tmp_path, fcntl.LOCK_EX)


def test_processes_of_one_run_are_given_ports_apart_and_none_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    given: list[set[int]] = []
    for worker in range(4):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{worker}")
        given.append({free_port() for _ in range(50)})
    assert [len(ports) for ports in given] == [50] * 4
    assert all(max(lower) < min(upper) for lower, upper in pairwise(given))
    assert max(given[-1]) < 32_768


def _may_enter(folder: Path, kind: int) -> bool:
    with (folder / "turn.lock").open("w") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_HANGING = """
import asyncio, signal
from tests.support.hanging import ended_if_it_hangs

async def waits():
    await asyncio.Event().wait()

signal.signal(signal.SIGALRM, signal.SIG_IGN)
with ended_if_it_hangs("tests/test_x.py::test_waits", 0.2, 2):
    asyncio.run(waits())
"""


def test_a_process_that_hangs_is_ended_and_says_where() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _HANGING], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == STATUS
    assert "tests/test_x.py::test_waits hung for 0.2 s" in ended.stderr
    assert 'File "<string>", line 10 in <module>' in ended.stderr
    assert 'File "<string>", line 6, in waits' in ended.stderr


def test_a_process_that_is_in_time_goes_on() -> None:
    before = set(threading.enumerate())
    with ended_if_it_hangs("this one", 30.0, 2):
        after = {thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)}
    (timer,) = after - before
    assert timer.finished.is_set()
