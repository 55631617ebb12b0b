"""Recurrence rules of RFC 5545: text to `Rrule`.

``RRULE:FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=9``, with ``DTSTART:20260101T090000`` before it where the phase matters, and
``EXDATE:…`` and ``RDATE:…`` for single times; spaces or line breaks part them. All times are local ones of the
trigger's zone. What differs from a calendar file:

- Without ``DTSTART`` the phase and the parts that are not given count from 1970-01-01T00:00:00, a Thursday. ``COUNT``
  needs a ``DTSTART``.
- ``DTSTART`` is a due time only when the rule names it.
- ``UNTIL`` takes ``20261231`` (the whole day), ``20261231T170000`` (local) and ``20261231T160000Z`` (UTC, compared by
  the clock on the wall); it is inclusive.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from scheduler_domain.errors import InvalidDefinition, Problem
from scheduler_domain.schedule.cron_fields import shown
from scheduler_domain.schedule.rrule import DAY_SECONDS, SEARCHED_YEARS, Frequency, Rrule
from scheduler_domain.schedule.rrule_days import YearDays
from scheduler_domain.schedule.rrule_parts import RuleParts, local_time
from scheduler_domain.schedule.rrule_units import day_units

MAX_LENGTH = 256
LOC = ("schedule",)
"""Where the problems say they are: the key of the rule in a trigger."""
EPOCH = datetime(1970, 1, 1)
EARLIEST_START = datetime(1900, 1, 1)
LONGEST_COUNT = timedelta(days=40 * 366)
"""How long after the start the last of COUNT recurrences may come: what is counted is worked out one by one."""

_BEGINS = re.compile(r"\s*(?:RRULE|DTSTART|EXDATE|RDATE|EXRULE|FREQ=)", re.IGNORECASE)
_LOCAL_TIME = re.compile(r"[0-9]{8}T[0-9]{6}")


def is_rrule(text: str) -> bool:
    """Whether a schedule is meant as a recurrence rule rather than as cron."""
    return _BEGINS.match(text) is not None


def parse_rrule(text: str, zone: ZoneInfo) -> Rrule:
    """The rule that ``text`` says; ``zone`` is only for an ``UNTIL`` in UTC.

    Raises `InvalidDefinition` with every problem found (``invalid_rrule``), or with ``never_fires``.
    """
    if len(text) > MAX_LENGTH:
        raise _invalid([f"the rule has {len(text)} characters; at most {MAX_LENGTH} are accepted"])
    lines = _Lines(zone)
    lines.read(text)
    if lines.problems:
        raise _invalid(lines.problems)
    rule = _assemble(text.strip(), lines)
    if rule.at_or_after(min((rule.start, *rule.extra))) is None:
        message = f"{shown(rule.text)} never fires: it has no date in the {SEARCHED_YEARS} years from {rule.start} on"
        raise InvalidDefinition([Problem(LOC, "never_fires", message)])
    return rule


def _invalid(messages: list[str]) -> InvalidDefinition:
    return InvalidDefinition([Problem(LOC, "invalid_rrule", message) for message in messages])


class _Lines:
    """The properties of the text, and what is wrong in them."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.problems: list[str] = []
        self.parts = RuleParts(zone, self.problems)
        self.start: datetime | None = None
        self.excluded: list[datetime] = []
        self.extra: list[datetime] = []
        self._seen: set[str] = set()

    def read(self, text: str) -> None:
        for line in text.split():
            self._line(line)
        if "RRULE" not in self._seen and not self.problems:
            self.problems.append("the rule is missing: write RRULE:FREQ=…")
        if not self.problems:
            self.parts.check(has_start=self.start is not None)

    def _line(self, line: str) -> None:
        name, colon, value = line.upper().partition(":")
        name, semicolon, _ = name.partition(";")
        if not colon or name not in {"RRULE", "DTSTART", "EXDATE", "RDATE"}:
            self._refuse(line)
            return
        if name in self._seen and name in {"RRULE", "DTSTART"}:
            self.problems.append(f"{name} is given twice: one RRULE and at most one DTSTART make a schedule")
            return
        self._seen.add(name)
        if semicolon:
            self.problems.append(f"{name} takes no parameters such as TZID: the trigger's timezone rules")
        elif name == "RRULE":
            self.parts.read(value)
        elif name == "DTSTART":
            self.start = self._time(name, value)
            if self.start is not None and self.start < EARLIEST_START:
                self.problems.append(f"DTSTART lies before {EARLIEST_START.date()}")
        else:
            times = (self._time(name, each) for each in value.split(","))
            (self.excluded if name == "EXDATE" else self.extra).extend(time for time in times if time is not None)

    def _refuse(self, line: str) -> None:
        if line.upper().startswith("FREQ="):
            self.problems.append("write RRULE: before the rule, as in RRULE:FREQ=DAILY")
        elif line.upper().startswith("EXRULE"):
            self.problems.append("EXRULE is not accepted (RFC 5545 withdrew it): use EXDATE or a calendar")
        else:
            accepted = "RRULE:…, DTSTART:…, EXDATE:… and RDATE:…, parted by spaces or line breaks"
            self.problems.append(f"{shown(line)} is not understood; accepted: {accepted}")

    def _time(self, name: str, value: str) -> datetime | None:
        if value.endswith("Z"):
            self.problems.append(f"{name} is local time, without Z: the trigger's timezone rules")
        elif not _LOCAL_TIME.fullmatch(value):
            self.problems.append(f"{name}: {shown(value)} is not a local time such as 20260101T090000")
        else:
            return local_time(name, value, self.problems)
        return None


def _assemble(text: str, lines: _Lines) -> Rrule:
    """The rule of a text in which nothing is wrong."""
    parts, start = lines.parts, lines.start or EPOCH
    assert parts.frequency is not None
    named, offsets = _times(parts, parts.frequency, start)
    of_day = parts.frequency.units_of_day
    since_midnight = int((start - datetime(start.year, start.month, start.day)).total_seconds())
    phase = start.toordinal() * of_day + since_midnight * of_day // DAY_SECONDS
    positions = parts.numbers.get("BYSETPOS", ())
    if positions and parts.frequency <= Frequency.DAILY:
        # The times of a day, hour or minute are the same each time: so is the choice among them.
        offsets = tuple(sorted({offsets[n] for n in _indexes(positions, len(offsets))}))
        positions = ()
    rule = Rrule(
        text=text,
        frequency=parts.frequency,
        interval=parts.interval,
        start=start,
        days=_year_days(parts, parts.frequency, start),
        # In days and rarer the interval counts days, weeks, months or years, not the one unit that a day has.
        units=day_units(of_day, named, parts.interval if of_day > 1 else 1, phase),
        offsets=offsets,
        positions=positions,
        last=parts.until,
        excluded=tuple(sorted(lines.excluded)),
        extra=tuple(sorted(lines.extra)),
    )
    return rule if parts.count is None else replace(rule, last=_last_of(rule, parts.count))


def _times(parts: RuleParts, frequency: Frequency, start: datetime) -> tuple[int, tuple[int, ...]]:
    """The units of a day, as a mask, and the seconds in a unit, that the rule names."""
    hours = parts.numbers.get("BYHOUR", range(24) if frequency < Frequency.DAILY else (start.hour,))
    minutes = parts.numbers.get("BYMINUTE", range(60) if frequency < Frequency.HOURLY else (start.minute,))
    seconds = parts.numbers.get("BYSECOND", range(60) if frequency < Frequency.MINUTELY else (start.second,))
    if frequency is Frequency.SECONDLY:
        return _every(_every(_mask(seconds), 60, minutes), 3600, hours), (0,)
    if frequency is Frequency.MINUTELY:
        return _every(_mask(minutes), 60, hours), tuple(sorted(set(seconds)))
    of_hour = sorted({60 * minute + second for minute in minutes for second in seconds})
    if frequency is Frequency.HOURLY:
        return _mask(hours), tuple(of_hour)
    return 1, tuple(3600 * hour + offset for hour in sorted(set(hours)) for offset in of_hour)


def _year_days(parts: RuleParts, frequency: Frequency, start: datetime) -> YearDays:
    """The day parts; where there are none, the day of the start."""
    months = parts.numbers.get("BYMONTH", ())
    month_days = parts.numbers.get("BYMONTHDAY", ())
    weekdays = parts.weekdays
    if not parts.given & {"BYDAY", "BYMONTHDAY", "BYYEARDAY"}:
        if frequency is Frequency.WEEKLY or "BYWEEKNO" in parts.given:
            weekdays = ((0, start.weekday()),)
        elif frequency >= Frequency.MONTHLY:
            month_days = (start.day,)
            if frequency is Frequency.YEARLY:
                months = months or (start.month,)
    return YearDays(
        months=frozenset(months),
        month_days=month_days,
        year_days=parts.numbers.get("BYYEARDAY", ()),
        weeks=parts.numbers.get("BYWEEKNO", ()),
        weekdays=frozenset(weekday for nth, weekday in weekdays if nth == 0),
        nth_weekdays=tuple((nth, weekday) for nth, weekday in weekdays if nth != 0),
        in_months=frequency is Frequency.MONTHLY or bool(months),
        week_start=parts.week_start,
    )


def _last_of(rule: Rrule, count: int) -> datetime:
    """The time of the last of ``count`` recurrences; the start, where there is none at all."""
    last = rule.start
    for last in islice(rule.recurrences(rule.start), count):
        if last - rule.start > LONGEST_COUNT:
            raise _invalid([f"COUNT={count} takes more than 40 years: write UNTIL, or leave it out"])
    return last


def _indexes(positions: tuple[int, ...], total: int) -> Iterator[int]:
    found = (position - 1 if position > 0 else total + position for position in positions)
    return (index for index in found if 0 <= index < total)


def _mask(values: Iterable[int]) -> int:
    mask = 0
    for value in values:
        mask |= 1 << value
    return mask


def _every(mask: int, length: int, indexes: Iterable[int]) -> int:
    """``mask`` at each index, counted in steps of ``length``."""
    found = 0
    for index in indexes:
        found |= mask << length * index
    return found
