"""How much a worker takes, and what goes first."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from scheduler_application.run.claim import ClaimedTask
from scheduler_worker.attempt import Attempt
from scheduler_worker.slots import MAX_BUFFERED, MAX_UNREPORTED, CompletionRate, Slots, buffer_size
from tests.support.clock import ManualClock


class _Claimed:
    """The part of a `ClaimedTask` that slots look at."""

    def __init__(self, priority: int) -> None:
        self.row = self
        self.priority = priority


def _attempts(clock: ManualClock, *priorities: int) -> list[Attempt]:
    return [
        Attempt(cast("ClaimedTask", cast("Any", _Claimed(priority))), "w", clock.monotonic()) for priority in priorities
    ]


class _Bench:
    def __init__(self, total: int) -> None:
        self.clock = ManualClock()
        self.started: list[Attempt] = []
        self.slots = Slots(total, self.clock, self.started.append)

    def claim(self, *priorities: int) -> list[Attempt]:
        attempts = _attempts(self.clock, *priorities)
        self.slots.reserve(len(attempts))
        self.slots.fill(len(attempts), attempts)
        return attempts

    def finish(self, number: int = 1) -> None:
        for _ in range(number):
            self.slots.ended()
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
        bench.slots.ended()
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
