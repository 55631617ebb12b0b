"""A backfill starts runs for due times of the past: its states, and which due times a range has."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum

from scheduler_domain.schedule.policies import nothing_left_out
from scheduler_domain.schedule.steps import Timetable


class BackfillState(StrEnum):
    """A backfill's state; the last two are final."""

    RUNNING = "running"
    PAUSED = "paused"
    """Starts nothing; the runs that it has go on."""
    CANCELLING = "cancelling"
    """Starts nothing; the runs that it has are being ended."""
    CANCELLED = "cancelled"
    FINISHED = "finished"


class BackfillEvent(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    FINISH_CANCEL = "finish_cancel"
    FINISH = "finish"


BACKFILL_TRANSITIONS: Mapping[BackfillState, Mapping[BackfillEvent, BackfillState]] = {
    BackfillState.RUNNING: {
        BackfillEvent.PAUSE: BackfillState.PAUSED,
        BackfillEvent.CANCEL: BackfillState.CANCELLING,
        BackfillEvent.FINISH: BackfillState.FINISHED,
    },
    BackfillState.PAUSED: {
        BackfillEvent.RESUME: BackfillState.RUNNING,
        BackfillEvent.CANCEL: BackfillState.CANCELLING,
    },
    BackfillState.CANCELLING: {BackfillEvent.FINISH_CANCEL: BackfillState.CANCELLED},
    BackfillState.CANCELLED: {},
    BackfillState.FINISHED: {},
}

FINAL_BACKFILL_STATES = frozenset(state for state, moves in BACKFILL_TRANSITIONS.items() if not moves)


def backfill_after(state: BackfillState, event: BackfillEvent) -> BackfillState | None:
    """Where ``event`` takes a backfill that is in ``state``; ``None`` where the table has no such move."""
    return BACKFILL_TRANSITIONS[state].get(event)


def backfill_sources(event: BackfillEvent) -> tuple[BackfillState, ...]:
    """The states from which ``event`` is allowed: the guard of a write."""
    return tuple(state for state, moves in BACKFILL_TRANSITIONS.items() if event in moves)


def due_in(
    timetable: Timetable,
    start: datetime,
    end: datetime,
    left_out: Callable[[datetime], str | None] = nothing_left_out,
) -> Iterator[tuple[datetime, bool]]:
    """The due times from ``start`` on and before ``end``, each with whether it counts: those that ``left_out`` names a
    rule for do not, and are here so that whoever walks can bound the walk."""
    due = timetable.next_after(start - datetime.resolution)
    while due is not None and due < end:
        yield due, left_out(due) is None
        due = timetable.next_after(due)
