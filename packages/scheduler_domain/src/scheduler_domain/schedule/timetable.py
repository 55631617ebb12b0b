"""The timetable of a trigger: from what a person wrote to due times."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.schedule.calendar import CalendarRule
from scheduler_domain.schedule.cron_parsing import parse_cron
from scheduler_domain.schedule.cron_timetable import CronTimetable
from scheduler_domain.schedule.dst import DEBIAN, DstPolicy
from scheduler_domain.schedule.notes import note_on
from scheduler_domain.schedule.rrule_parsing import is_rrule, parse_rrule
from scheduler_domain.schedule.rrule_timetable import RruleTimetable
from scheduler_domain.schedule.shifted_timetable import ShiftedTimetable, first_kept
from scheduler_domain.schedule.steps import Step, Timetable
from scheduler_domain.schedule.zones import zone_named

SHORTEST_INTERVAL = timedelta(seconds=1)
LONGEST_INTERVAL = timedelta(days=366)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UTC = ZoneInfo("UTC")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_LONGEST_INSTANT = 64


@dataclass(frozen=True, slots=True)
class Fire:
    """One due time for people: the instant in UTC, the same in the schedule's zone, and what a change of clocks did."""

    at: datetime
    local: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True)
class EveryTimetable:
    """``anchor + n * interval`` for n from 1 on, in elapsed time: clock changes and restarts do not move the phase."""

    interval: timedelta
    anchor: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        try:
            return self.anchor + self.interval * max(1, (moment - self.anchor) // self.interval + 1)
        except OverflowError:
            return None

    def step_after(self, moment: datetime) -> Step:
        return Step(self.next_after(moment))


@dataclass(frozen=True, slots=True)
class AtTimetable:
    """One instant (UTC)."""

    instant: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        return self.instant if self.instant > moment else None

    def step_after(self, moment: datetime) -> Step:
        return Step(self.next_after(moment))


def parse_timetable(
    kind: str,
    expression: str,
    timezone: str,
    *,
    anchor: datetime | None = None,
    seed: str = "",
    dst: DstPolicy = DEBIAN,
    calendar: CalendarRule | None = None,
) -> Timetable:
    """The timetable of a trigger (``schedule``, ``every`` or ``at``).

    ``anchor`` (aware; absent: the epoch) fixes the phase of ``every``: due times are ``anchor + n * interval``, n >= 1.
    ``seed``, the trigger's identity, decides what ``H`` in a cron expression becomes. ``dst`` is for ``schedule`` only:
    clock changes do not move the others. A ``calendar`` with a shift moves due times; one without leaves them
    to whoever decides them. Raises `InvalidDefinition` with every problem found: codes
    ``invalid_cron``, ``invalid_rrule``, ``too_long``, ``never_fires``, ``unknown_timezone``, ``invalid_interval``,
    ``invalid_instant``; problems say where by the trigger's own key (``("schedule",)``, ``("timezone",)``…).
    """
    try:
        zone = zone_named(timezone)
    except InvalidDefinition as unknown:
        try:
            _timetable(kind, expression, _UTC, anchor, seed, dst)
        except InvalidDefinition as invalid:
            raise InvalidDefinition([*invalid.problems, *unknown.problems]) from None
        raise
    timetable = _timetable(kind, expression, zone, anchor, seed, dst)
    if calendar is not None and calendar.shift is not None:
        return ShiftedTimetable(timetable, zone, calendar, dst)
    return timetable


def check_calendar(timetable: Timetable, timezone: str, calendar: CalendarRule, after: datetime) -> None:
    """Raises `InvalidDefinition` (``never_fires``) when the calendar leaves no due time after ``after`` for ten years.

    ``timetable`` is what `parse_timetable` made with this calendar. One that has ended by itself is no problem.
    """
    if isinstance(timetable, ShiftedTimetable):
        base, kept = timetable.base, timetable.next_after(after)
    else:
        base, kept = timetable, first_kept(timetable, zone_named(timezone), calendar, after).at
    if kept is None and base.next_after(after) is not None:
        message = f"calendar '{calendar.name}' leaves none of the due times of the next ten years: it never fires"
        raise InvalidDefinition([Problem(("calendar",), "never_fires", message)])


def preview(
    kind: str,
    expression: str,
    timezone: str,
    after: datetime,
    count: int,
    *,
    anchor: datetime | None = None,
    seed: str = "",
    dst: DstPolicy = DEBIAN,
    calendar: CalendarRule | None = None,
) -> list[Fire]:
    """The next ``count`` due times after ``after``, each with its local time and note.

    Without ``anchor`` an ``every`` starts at ``after``, as if it were deployed then. Fewer come when it ends. A
    ``calendar`` without a shift leaves its due times in: their note says that they are skipped. Raises as
    `parse_timetable` and `check_calendar` do.
    """
    timetable = parse_timetable(
        kind, expression, timezone, anchor=anchor or after, seed=seed, dst=dst, calendar=calendar
    )
    if calendar is not None:
        check_calendar(timetable, timezone, calendar, after)
    zone = zone_named(timezone)
    fires: list[Fire] = []
    moment = after
    while len(fires) < count:
        step = timetable.step_after(moment)
        if step.at is None:
            break
        local = step.at.astimezone(zone)
        fires.append(Fire(step.at, local, note_on(timetable, step, local, calendar)))
        moment = step.at
    return fires


def _timetable(
    kind: str, expression: str, zone: ZoneInfo, anchor: datetime | None, seed: str, dst: DstPolicy
) -> Timetable:
    if kind == "schedule" and is_rrule(expression):
        return RruleTimetable(parse_rrule(expression, zone), zone, dst)
    if kind == "schedule":
        return CronTimetable(parse_cron(expression, seed), zone, dst)
    if kind == "every":
        return EveryTimetable(_parse_interval(expression), (anchor or _EPOCH).astimezone(UTC))
    if kind == "at":
        return AtTimetable(_parse_instant(expression))
    raise ValueError(f"a trigger of kind {kind!r} has no timetable")


def _parse_interval(text: str) -> timedelta:
    if _SECONDS.fullmatch(text):
        interval = timedelta(microseconds=int(Decimal(text) * 1_000_000))
        if SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL:
            return interval
    message = f"the interval {text[:40]!r} (in seconds) is not accepted: from 1 second to 366 days"
    raise InvalidDefinition([Problem(("every",), "invalid_interval", message)])


def _parse_instant(text: str) -> datetime:
    wrong = f"{text[:_LONGEST_INSTANT]!r} is not an instant"
    try:
        instant = datetime.fromisoformat(text) if len(text) <= _LONGEST_INSTANT and text.isascii() else None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(UTC)
        if instant is not None:
            wrong = f"{text!r} has no offset from UTC"
    except ValueError:
        pass
    except OverflowError:
        wrong = f"{text!r} lies outside the calendar in UTC"
    message = f"{wrong}: write ISO 8601 with an offset, such as 2027-01-01T00:00:00+01:00"
    raise InvalidDefinition([Problem(("at",), "invalid_instant", message)])
