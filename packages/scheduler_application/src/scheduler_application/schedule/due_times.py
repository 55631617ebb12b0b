"""The due times of a trigger in a stretch of time, as its timetable and its policies have them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from scheduler_application.workflow.live_triggers import left_out_by
from scheduler_application.workflow.policy_text import policy_of
from scheduler_domain.schedule.backfill import due_in
from scheduler_domain.schedule.calendar import CalendarRule
from scheduler_domain.schedule.timetable import parse_timetable


class Timed(Protocol):
    """What decides when a trigger is due."""

    @property
    def trigger_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def expression(self) -> str: ...
    @property
    def timezone(self) -> str: ...
    @property
    def policy(self) -> str: ...
    @property
    def anchor_at(self) -> datetime: ...


def due_times(
    trigger: Timed, calendar: CalendarRule | None, start: datetime, end: datetime
) -> Iterator[tuple[datetime, bool]]:
    """From ``start`` on and before ``end``, each with whether it counts: its ``calendar`` may leave it out. Jitter is
    not in them. Raises as `parse_timetable`."""
    timetable = parse_timetable(
        trigger.kind,
        trigger.expression,
        trigger.timezone,
        anchor=trigger.anchor_at,
        seed=trigger.trigger_id,
        dst=policy_of(trigger.policy).dst,
        calendar=calendar,
    )
    return due_in(timetable, start, end, left_out_by(calendar, trigger.timezone))
