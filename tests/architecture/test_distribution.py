"""How a run of the tests is spread over processes."""

import fcntl
from itertools import pairwise
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.support.distribution import ALONE, DIVISIBLE, SLOW, STORIES, Distribution, processes, turn
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
