"""What becomes of due times that nobody was there for: pure arithmetic for one trigger and one pass.

A pass decides a bounded number of due times and says where the next one goes on, so an outage with a million missed
times costs many short passes, each of which can be committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from scheduler_domain.schedule.steps import Lost, Timetable

GRACE = timedelta(seconds=60)
MAX_FIRED_LATE = 100
"""How many missed due times ``fire_all`` still fires after one outage: the latest ones."""
MAX_DECISIONS = 1_000
"""How many due times one pass decides."""

ON_TIME = "on_time"


class MisfirePolicy(StrEnum):
    """What is done about due times that are past by more than the grace."""

    SKIP = "skip"
    FIRE_ONCE = "fire_once"
    FIRE_ALL = "fire_all"

    @property
    def rule(self) -> str:
        return f"misfire:{self.value}"

    @property
    def fired_late(self) -> int:
        """How many of the missed due times still fire, counted from the latest."""
        return {MisfirePolicy.SKIP: 0, MisfirePolicy.FIRE_ONCE: 1, MisfirePolicy.FIRE_ALL: MAX_FIRED_LATE}[self]


class DueOutcome(StrEnum):
    FIRED = "fired"
    MISSED = "missed"
    SKIPPED = "skipped"
    """It never comes: the local time does not exist and nothing is caught up (rules of `dst`)."""


@dataclass(frozen=True, slots=True)
class DueDecision:
    """One row of the ledger; ``due_at`` is unique for the trigger, ``rule`` is `ON_TIME`, ``misfire:…`` and so on."""

    due_at: datetime
    outcome: DueOutcome
    rule: str


@dataclass(frozen=True, slots=True)
class Decisions:
    """What one pass came to: rows in order of due time, and the first due time that is not decided yet.

    ``next_at`` at or before the pass's ``now`` means that more is due already, ``None`` that the timetable has ended.
    A row that a clock change skipped may lie in the future: it is decided when the due time after it becomes known.
    """

    rows: tuple[DueDecision, ...]
    next_at: datetime | None


def decide_due(
    timetable: Timetable,
    next_at: datetime,
    now: datetime,
    policy: MisfirePolicy,
    grace: timedelta = GRACE,
    *,
    limit: int = MAX_DECISIONS,
) -> Decisions:
    """Decide the due times from ``next_at`` to ``now``: at most ``limit``, beside what clock changes lost among them.

    A due time at most ``grace`` late fires as on time. Of those before, the policy's number of latest ones fire and the
    others are recorded as missed. What still fires is decided in one pass, the last of an outage, so that how
    much fires does not depend on how many passes it takes.
    """
    on_time_from = now - grace
    past, due = _walk(timetable, next_at, on_time_from, limit + policy.fired_late)
    split = max(0, len(past) - policy.fired_late)
    missed, late = past[:split], past[split:]
    rows = _rows(missed, DueOutcome.MISSED, policy.rule)
    if due is not None and due < on_time_from:
        return Decisions(rows, late[0].at if late else due)
    on_time, due = _walk(timetable, due, now + timedelta.resolution, limit - len(late))
    if missed and len(past) + len(on_time) > limit:
        return Decisions(rows, (late + on_time)[0].at)
    rows += _rows(late, DueOutcome.FIRED, policy.rule) + _rows(on_time, DueOutcome.FIRED, ON_TIME)
    return Decisions(rows, due)


class _Due(NamedTuple):
    at: datetime
    lost: tuple[Lost, ...]
    """What a clock change lost between it and the next due time."""


def _walk(
    timetable: Timetable, due: datetime | None, until: datetime, limit: int
) -> tuple[list[_Due], datetime | None]:
    """The due times from ``due`` on and before ``until``, at most ``limit``; and the one after them."""
    found: list[_Due] = []
    while due is not None and due < until and len(found) < limit:
        step = timetable.step_after(due)
        found.append(_Due(due, step.lost))
        due = step.at
    return found, due


def _rows(dues: Sequence[_Due], outcome: DueOutcome, rule: str) -> tuple[DueDecision, ...]:
    rows: list[DueDecision] = []
    for due in dues:
        rows.append(DueDecision(due.at, outcome, rule))
        rows.extend(DueDecision(lost.at, DueOutcome.SKIPPED, lost.rule) for lost in due.lost)
    return tuple(rows)
