"""How much a worker takes, and what goes first."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from scheduler_application.run.claim import ClaimedTask
from scheduler_worker.attempt import Attempt
from scheduler_worker.slots import (
    MAX_BUFFERED,
    MAX_LANE,
    MAX_UNREPORTED,
    CompletionRate,
    Slots,
    buffer_size,
    lane_length,
)
from tests.support.clock import ManualClock


class _Claimed:
    """The part of a `ClaimedTask` that slots look at."""

    def __init__(self, priority: int, executor: str = "python", timeout: float | None = None) -> None:
        self.row = self.task = self
        self.priority = priority
        self.version_id = "v"
        self.executor = executor
        self.timeout = timeout


def _attempts(clock: ManualClock, *priorities: int) -> list[Attempt]:
    return [
        Attempt(cast("ClaimedTask", cast("Any", _Claimed(priority))), "w", clock.monotonic()) for priority in priorities
    ]


class _Bench:
    def __init__(self, total: int) -> None:
        self.clock = ManualClock()
        self.started: list[Attempt] = []
        self.running: list[Attempt] = []
        self.slots = Slots(total, self.clock, self._start, {"python"})

    def _start(self, attempt: Attempt) -> None:
        self.started.append(attempt)
        self.running.append(attempt)

    def claim(self, *priorities: int) -> list[Attempt]:
        attempts = _attempts(self.clock, *priorities)
        self.slots.reserve(len(attempts))
        self.slots.fill(len(attempts), attempts)
        return attempts

    def finish(self, number: int = 1) -> None:
        for _ in range(number):
            self.slots.ended(self.running.pop(0))
            self.slots.reported()


@pytest.mark.parametrize(("rate", "size"), [(0, 0), (9.9, 0), (10, 1), (400, 40), (4_000, 400), (50_000, MAX_BUFFERED)])
def test_the_buffer_is_a_tenth_of_a_second_of_work(rate: float, size: int) -> None:
    assert buffer_size(rate) == size


def test_the_rate_is_that_of_the_last_quarter_of_a_second() -> None:
    rate = CompletionRate()
    for tenth in range(10):
        rate.add(tenth * 0.1)
    assert rate.per_second(0.9) == pytest.approx(12)
    assert rate.per_second(1.14) == pytest.approx(4)
    assert rate.per_second(2.0) == 0


def test_an_idle_worker_takes_what_it_can_start_and_nothing_more() -> None:
    bench = _Bench(4)
    assert bench.slots.room == 4
    bench.claim(2, 2, 2)
    assert (len(bench.started), bench.slots.room) == (3, 1)


def test_a_claim_under_way_holds_its_room() -> None:
    bench = _Bench(4)
    bench.slots.reserve(3)
    assert bench.slots.room == 1
    bench.slots.fill(3, _attempts(bench.clock, 2))
    assert bench.slots.room == 3


def test_long_tasks_never_wait_behind_each_other() -> None:
    bench = _Bench(2)
    bench.claim(2, 2)
    bench.clock.advance(60)
    bench.finish()
    bench.clock.advance(60)
    assert bench.slots.room == 1


def test_the_buffer_grows_with_the_pace_of_short_tasks_and_vanishes_with_it() -> None:
    bench = _Bench(4)
    most = 0
    for _ in range(50):
        bench.claim(*[2] * bench.slots.room)
        bench.clock.advance(0.008)
        bench.finish(_startable(bench))
        most = max(most, bench.slots.room)
    assert most > 50
    bench.clock.advance(0.3)
    assert bench.slots.room <= 4


def _startable(bench: _Bench) -> int:
    """Everything that was started so far and has not ended; ending one starts the next."""
    return bench.slots._running + len(bench.slots._waiting)


def test_the_highest_priority_starts_first_and_then_the_oldest() -> None:
    bench = _Bench(1)
    attempts = bench.claim(2, 3, 0, 1, 0)
    bench.finish(4)
    assert bench.started == [attempts[place] for place in (2, 4, 3, 0, 1)]


def test_what_waited_a_second_for_a_slot_is_taken_out() -> None:
    bench = _Bench(1)
    first, waiting = bench.claim(2, 2)
    assert bench.slots.next_overdue() == 1.0
    bench.clock.advance(0.9)
    assert bench.slots.overdue() == []
    bench.clock.advance(0.1)
    assert bench.slots.overdue() == [waiting]
    assert bench.started == [first]
    assert not bench.slots.filled.is_set()


def test_outcomes_that_cannot_be_recorded_hold_up_new_work() -> None:
    bench = _Bench(1)
    for _ in range(MAX_UNREPORTED):
        bench.claim(2)
        bench.slots.ended(bench.running.pop())
    assert bench.slots.room == 0
    bench.slots.reported()
    assert bench.slots.room >= 1


def test_closed_slots_start_nothing_and_have_no_room() -> None:
    bench = _Bench(2)
    bench.slots.reserve(1)
    bench.slots.close()
    late: Sequence[Attempt] = _attempts(bench.clock, 2)
    bench.slots.fill(1, late)
    assert (bench.started, bench.slots.room) == ([], 0)
    assert bench.slots.filled.is_set()
    assert bench.slots.clear() == late
    assert not bench.slots.idle
    bench.slots.reported()
    assert bench.slots.idle


@pytest.mark.parametrize(
    ("rate", "slots", "length"),
    [(0, 4, 1), (799, 4, 1), (800, 4, 2), (4_000, 4, 8), (400, 1, 4), (50_000, 4, MAX_LANE)],
)
def test_a_lane_is_a_hundredth_of_a_second_of_a_slots_work(rate: float, slots: int, length: int) -> None:
    assert lane_length(rate, slots) == length


def _quick(total: int) -> _Bench:
    """Slots whose attempts were quick just now."""
    bench = _Bench(total)
    for _ in range(400 * total):
        bench.claim(2)
        bench.finish()
    bench.started.clear()
    return bench


def test_a_slot_takes_several_quick_attempts_at_once_and_is_free_when_the_last_has_ended() -> None:
    bench = _quick(2)
    attempts = bench.claim(*[2] * 20)
    assert bench.started == attempts[:16]
    assert {id(attempt.lane) for attempt in attempts[:8]} == {id(attempts[0].lane)}
    bench.finish(7)
    assert len(bench.started) == 16
    bench.finish()
    assert bench.started == attempts


def test_free_slots_share_what_waits() -> None:
    bench = _quick(4)
    attempts = bench.claim(2, 2, 2, 2, 2)
    assert len({id(attempt.lane) for attempt in attempts}) == 4


@pytest.mark.parametrize("attribute", [("executor", "shell"), ("timeout", 1.0), ("version_id", "another")])
def test_what_may_not_wait_or_has_other_code_has_a_slot_of_its_own(attribute: tuple[str, object]) -> None:
    bench = _quick(1)
    attempts = _attempts(bench.clock, 2, 2, 2)
    setattr(attempts[1].claimed.row, *attribute)
    bench.slots.reserve(3)
    bench.slots.fill(3, attempts)
    assert bench.started == attempts[:1]
    bench.finish()
    assert bench.started == attempts[:2]


def test_what_comes_back_waits_in_its_place_and_has_its_attempt_still() -> None:
    bench = _quick(1)
    attempts = bench.claim(2, 2, 2, 2)
    assert len(bench.started) == 4
    for attempt in attempts[1:]:
        bench.slots.give_back(attempt)
    assert len(bench.started) == 4
    assert bench.slots.filled.is_set()
    assert bench.slots.remove(attempts[2])
    bench.slots.ended(attempts[0])
    assert bench.started[4:] == [attempts[1], attempts[3]]


def test_what_comes_back_to_closed_slots_is_there_to_be_handed_back() -> None:
    bench = _quick(1)
    attempts = bench.claim(2, 2)
    bench.slots.close()
    bench.slots.give_back(attempts[1])
    assert bench.slots.clear() == [attempts[1]]
