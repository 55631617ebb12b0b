"""Calls of a lane: they follow one another in one child, and come back from behind one that is not quick."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scheduler_application.ports.execution import ExecutionRequest, Lane, NotBegun
from scheduler_domain.run.outcome import Cancelled, Failed, Outcome, Succeeded, TimedOut
from scheduler_infrastructure.execution.python import PythonExecutor
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from tests.support.attempts import CollectedLog, an_attempt, left_behind, stop

JOBS = """
import json, os, signal, sys, threading, time

def pid(): return os.getpid()
def nothing(): pass
def says(text): print(text); print(text + "!", file=sys.stderr)
def writes(value):
    with open(os.environ["ORRERY_OUTPUT"], "w") as file: json.dump(value, file)
def waits(path):
    print("waiting", flush=True)
    while not os.path.exists(path): time.sleep(0.001)
    return os.getpid()
def dies(): os.kill(os.getpid(), signal.SIGKILL)
def raises(): raise ValueError("bad day")
def surrogate(): return "\\ud83d"
def leaves_thread(): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
def size(text): return len(text)
def effect(folder, name, kind):
    with open(folder + "/effects", "a") as file: file.write(name + "\\n")
    if kind == "says": print(name)
    if kind == "slow": time.sleep(0.03)
    if kind == "dies": dies()
    if kind == "raises": raises()
    if kind == "thread": leaves_thread()
    if kind == "writes": return writes(name)
    return name
"""


class Lanes:
    def __init__(self, executor: PythonExecutor, folder: Path) -> None:
        self.executor, self.folder = executor, folder

    def attempt(self, call: str, lane: Lane | None, **args: Any) -> ExecutionRequest:
        settings = {"call": f"jobs:{call}", "args": args}
        return an_attempt("python", settings, self.folder, source=self.folder / "code", lane=lane)

    def begin(self, attempt: ExecutionRequest, log: CollectedLog | None = None) -> "asyncio.Task[Outcome]":
        return asyncio.create_task(self.executor.execute(attempt, log or CollectedLog()))

    async def warm(self, number: int = 1) -> list[Any]:
        """As many idle children."""
        file = self.folder / "all-are-there"
        logs = [CollectedLog() for _ in range(number)]
        begun = [self.begin(self.attempt("waits", None, path=str(file)), log) for log in logs]
        for log in logs:
            await log.seen("waiting")
        file.touch()
        outcomes = await asyncio.gather(*begun)
        file.unlink()
        return [outcome.output for outcome in outcomes if isinstance(outcome, Succeeded)]

    async def slow_first(self, *rest: ExecutionRequest, lane: Lane) -> "tuple[asyncio.Task[Outcome], list[Any]]":
        """The first call of the lane, which waits for the file ``go``, and what became of the others."""
        first = self.begin(self.attempt("waits", lane, path=str(self.folder / "go")))
        others = await asyncio.gather(*map(self.begin, rest), return_exceptions=True)
        return first, others

    def go(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
async def lanes(tmp_path: Path) -> AsyncIterator[Lanes]:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "jobs.py").write_text(JOBS)
    executor = PythonExecutor(Supervisor(), max_children=3, recycle_after=1000)
    await executor.open()
    yield Lanes(executor, tmp_path)
    await executor.close()


async def test_the_calls_of_a_lane_follow_one_another_in_one_child(lanes: Lanes) -> None:
    await lanes.warm(3)
    lane = Lane()
    outcomes = await asyncio.gather(*(lanes.begin(lanes.attempt("pid", lane)) for _ in range(8)))
    assert len(set(map(repr, outcomes))) == 1
    assert isinstance(outcomes[0], Succeeded)
    assert lane.holder is None


async def test_each_call_of_a_lane_has_its_own_log_and_output(lanes: Lanes) -> None:
    await lanes.warm()
    lane = Lane()
    logs = [CollectedLog() for _ in range(8)]
    calls = [("says", {"text": f"t{n}"}) if n % 2 else ("writes", {"value": n}) for n in range(8)]
    running = [
        lanes.begin(lanes.attempt(name, lane, **args), log) for (name, args), log in zip(calls, logs, strict=True)
    ]
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    for number, (outcome, log) in enumerate(zip(outcomes, logs, strict=True)):
        if isinstance(outcome, NotBegun):  # The machine was slow; then it has not said anything.
            assert log.size == 0
        elif number % 2:
            assert (outcome, log.text(), log.text("stderr")) == (Succeeded(None), f"t{number}\n", f"t{number}!\n")
        else:
            assert (outcome, log.size) == (Succeeded(number), 0)
    assert isinstance(outcomes[0], Succeeded)


async def test_nothing_waits_behind_a_call_that_is_not_quick(lanes: Lanes) -> None:
    (pid,) = await lanes.warm()
    lane = Lane()
    first, others = await lanes.slow_first(*(lanes.attempt("nothing", lane) for _ in range(7)), lane=lane)
    assert [type(other) for other in others] == [NotBegun] * 7
    assert not first.done()
    lanes.go()
    assert await first == Succeeded(pid)


async def test_a_call_that_has_not_begun_is_stopped_without_touching_the_one_before_it(lanes: Lanes) -> None:
    (pid,) = await lanes.warm()
    lane = Lane()
    first = lanes.begin(lanes.attempt("waits", lane, path=str(lanes.folder / "go")))
    attempt = lanes.attempt("nothing", lane)
    second = lanes.begin(attempt)
    asyncio.get_running_loop().call_soon(stop, attempt, "cancel")
    assert await second == Cancelled()
    lanes.go()
    (outcome,) = await asyncio.gather(first, return_exceptions=True)
    assert outcome == Succeeded(pid) or isinstance(outcome, NotBegun)  # It may not have begun either.
    assert await lanes.begin(lanes.attempt("pid", None)) == Succeeded(pid)


async def test_a_stop_of_the_call_under_way_ends_only_that(lanes: Lanes) -> None:
    await lanes.warm()
    lane = Lane()
    attempt = lanes.attempt("waits", lane, path=str(lanes.folder / "go"))
    first = lanes.begin(attempt)
    others = [lanes.begin(lanes.attempt("nothing", lane)) for _ in range(3)]
    done = await asyncio.gather(*others, return_exceptions=True)
    stop(attempt, "cancel")
    assert await first == Cancelled()
    assert [type(other) for other in done] == [NotBegun] * 3
    assert left_behind(attempt) == []


async def test_the_limit_of_the_first_is_its_own(lanes: Lanes) -> None:
    await lanes.warm()
    lane = Lane()
    attempt = an_attempt(
        "python",
        {"call": "jobs:waits", "args": {"path": "/nowhere/at/all"}},
        lanes.folder,
        source=lanes.folder / "code",
        lane=lane,
        timeout=0.3,
    )
    first = lanes.begin(attempt)
    others = await asyncio.gather(
        *(lanes.begin(lanes.attempt("nothing", lane)) for _ in range(3)), return_exceptions=True
    )
    assert await first == TimedOut(0.3)
    assert [type(other) for other in others] == [NotBegun] * 3


@pytest.mark.parametrize("function", ["dies", "leaves_thread", "surrogate"])
async def test_what_waits_behind_a_call_that_costs_the_child_has_not_begun(lanes: Lanes, function: str) -> None:
    (pid,) = await lanes.warm()
    lane = Lane()
    first = lanes.begin(lanes.attempt(function, lane))
    others = await asyncio.gather(
        *(lanes.begin(lanes.attempt("nothing", lane)) for _ in range(3)), return_exceptions=True
    )
    assert [type(other) for other in others] == [NotBegun] * 3
    outcome = await first
    if function == "leaves_thread":
        assert outcome == Succeeded()
    else:
        assert isinstance(outcome, Failed)
        assert outcome.error.code == ("killed_by_signal" if function == "dies" else "invalid_output")
    assert await lanes.begin(lanes.attempt("pid", None)) != Succeeded(pid)


async def test_a_failure_costs_those_behind_it_nothing(lanes: Lanes) -> None:
    await lanes.warm()
    lane = Lane()
    outcomes = await asyncio.gather(
        *(lanes.begin(lanes.attempt(name, lane)) for name in ("raises", "nothing", "raises", "nothing"))
    )
    assert [type(outcome) for outcome in outcomes] == [Failed, Succeeded, Failed, Succeeded]


async def test_a_long_call_does_not_line_up_and_arrives_whole(lanes: Lanes) -> None:
    await lanes.warm()
    lane = Lane()
    text = "x" * 300_000
    running = [
        lanes.begin(lanes.attempt("size", lane, text=text)),
        lanes.begin(lanes.attempt("nothing", lane)),
        lanes.begin(lanes.attempt("size", lane, text=text)),
    ]
    first, second, third = await asyncio.gather(*running, return_exceptions=True)
    assert first == Succeeded(300_000)
    assert second == Succeeded() or isinstance(second, NotBegun)
    assert isinstance(third, NotBegun)


async def test_a_lane_has_one_kind_of_child(lanes: Lanes) -> None:
    await lanes.warm()
    lane = Lane()
    elsewhere = {"source": lanes.folder / "code", "project": "b", "lane": lane}
    other = an_attempt("python", {"call": "jobs:nothing"}, lanes.folder, **elsewhere)
    outcomes = await asyncio.gather(
        lanes.begin(lanes.attempt("nothing", lane)), lanes.begin(other), return_exceptions=True
    )
    assert outcomes[0] == Succeeded()
    assert isinstance(outcomes[1], NotBegun)


async def test_nobody_waits_with_others_for_a_child_that_is_still_to_come(lanes: Lanes) -> None:
    lane = Lane()
    first, second = await asyncio.gather(
        lanes.begin(lanes.attempt("nothing", lane)),
        lanes.begin(lanes.attempt("nothing", lane)),
        return_exceptions=True,
    )
    assert first == Succeeded()
    assert isinstance(second, NotBegun)


async def test_every_call_takes_effect_once_if_it_began_and_not_at_all_if_not(lanes: Lanes) -> None:
    """Three lanes at a time, calls of every kind, and whatever was not begun is tried again."""
    chance = random.Random(5)
    kinds = ["quick"] * 20 + ["says", "writes", "slow", "dies", "raises", "thread"]
    left = [(str(number), chance.choice(kinds)) for number in range(400)]
    file = lanes.folder / "effects"
    ended: dict[str, Outcome] = {}
    come_back = 0
    while left:
        batch, left = left[:24], left[24:]
        lanes_now = [Lane() for _ in range(3)]
        args = [{"folder": str(lanes.folder), "name": name, "kind": kind} for name, kind in batch]
        outcomes = await asyncio.gather(
            *(
                lanes.begin(lanes.attempt("effect", lanes_now[number % 3], **arguments))
                for number, arguments in enumerate(args)
            ),
            return_exceptions=True,
        )
        effects = file.read_text().split()
        for (name, kind), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, NotBegun):
                assert name not in effects
                left.append((name, kind))
                come_back += 1
            else:
                assert not isinstance(outcome, BaseException)
                ended[name] = outcome
                assert isinstance(outcome, Failed) == (kind in ("dies", "raises"))
    effects = file.read_text().split()
    assert sorted(effects, key=int) == [str(number) for number in range(400)]
    assert come_back > 0
    assert all(outcome.output == name for name, outcome in ended.items() if isinstance(outcome, Succeeded))
