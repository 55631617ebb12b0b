"""What becomes of due times that nobody was there for: pure arithmetic for one trigger and one pass.

A pass decides a bounded number of due times and says where the next one goes on, so an outage with a million missed
times costs many short passes, each of which can be committed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from scheduler_domain.schedule.fire_policy import MisfirePolicy
from scheduler_domain.schedule.steps import Lost, Timetable

GRACE = timedelta(seconds=60)
MAX_DECISIONS = 1_000
"""How many due times one pass decides."""
_LEFT_OUT_AT_ONCE = 10
"""How many times that number a pass looks at where most due times are left out."""

ON_TIME = "on_time"
TOO_LATE = "max_lateness"


class DueOutcome(StrEnum):
    FIRED = "fired"
    MISSED = "missed"
    SKIPPED = "skipped"
    """Left out by a rule that is not about lateness: a calendar, a change of clocks, a run that is still live…"""


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


def nothing_left_out(due_at: datetime) -> str | None:
    """The rule that leaves a due time out: none does."""
    del due_at
    return None


def decide_due(
    timetable: Timetable,
    next_at: datetime,
    now: datetime,
    policy: MisfirePolicy,
    grace: timedelta = GRACE,
    *,
    limit: int = MAX_DECISIONS,
    max_lateness: timedelta | None = None,
    left_out: Callable[[datetime], str | None] = nothing_left_out,
) -> Decisions:
    """Decide the due times from ``next_at`` to ``now``: at most ``limit``, beside those that are left out among them.

    What is later than ``max_lateness`` is missed by that rule, and what ``left_out`` names a rule for is skipped by it;
    the policy is about the others. A due time at most ``grace`` late fires as on time. Of those before, the policy's
    number of latest ones fire and the others are recorded as missed. What still fires is decided in one pass, the last
    of an outage, so that how much fires does not depend on how many passes it takes (unless ten times ``limit`` are
    left out in a row).
    """
    walk = _Walk(timetable, None if max_lateness is None else now - max_lateness, left_out)
    on_time_from = now - grace
    past, due = walk.take(next_at, on_time_from, limit + policy.fired_late)
    missed, late = _split(past, policy.fired_late)
    rows = _rows(missed, DueOutcome.MISSED, policy.rule)
    if due is not None and due < on_time_from:
        if missed:
            return Decisions(rows, late[0].at if late else due)
        return Decisions(_rows(late, DueOutcome.FIRED, policy.rule), due)
    on_time, due = walk.take(due, now + timedelta.resolution, limit - len(late))
    undecided = late + on_time
    if missed and undecided and len(past) + len(on_time) > limit:
        return Decisions(rows, undecided[0].at)
    rows += _rows(late, DueOutcome.FIRED, policy.rule) + _rows(on_time, DueOutcome.FIRED, ON_TIME)
    return Decisions(rows, due)


class _Due(NamedTuple):
    at: datetime
    lost: tuple[Lost, ...]
    """What a clock change lost between it and the next due time."""
    ruled: tuple[DueOutcome, str] | None
    """What it comes to whatever the misfire policy is, and by which rule."""


@dataclass(frozen=True, slots=True)
class _Walk:
    timetable: Timetable
    not_before: datetime | None
    left_out: Callable[[datetime], str | None]

    def take(self, due: datetime | None, until: datetime, limit: int) -> tuple[list[_Due], datetime | None]:
        """The due times from ``due`` on and before ``until``, at most ``limit`` that nothing has ruled on; and the one
        after them."""
        found: list[_Due] = []
        open_ones = 0
        most = limit * _LEFT_OUT_AT_ONCE
        while due is not None and due < until and open_ones < limit and len(found) < most:
            step = self.timetable.step_after(due)
            ruled = self._ruled(due)
            open_ones += ruled is None
            found.append(_Due(due, step.lost, ruled))
            due = step.at
        return found, due

    def _ruled(self, due: datetime) -> tuple[DueOutcome, str] | None:
        rule = self.left_out(due)
        if rule is not None:
            return DueOutcome.SKIPPED, rule
        if self.not_before is not None and due < self.not_before:
            return DueOutcome.MISSED, TOO_LATE
        return None


def _split(past: list[_Due], fired_late: int) -> tuple[list[_Due], list[_Due]]:
    """The second part has the last ``fired_late`` that nothing has ruled on, and begins with one of them."""
    place = len(past)
    for index in range(len(past) - 1, -1, -1):
        if not fired_late:
            break
        if past[index].ruled is None:
            place = index
            fired_late -= 1
    return past[:place], past[place:]


def _rows(dues: Sequence[_Due], outcome: DueOutcome, rule: str) -> tuple[DueDecision, ...]:
    rows: list[DueDecision] = []
    for due in dues:
        rows.append(DueDecision(due.at, *(due.ruled or (outcome, rule))))
        rows.extend(DueDecision(lost.at, DueOutcome.SKIPPED, lost.rule) for lost in due.lost)
    return tuple(rows)
