"""The parts of a recurrence rule: ``FREQ=MONTHLY;BYDAY=-1FR`` to numbers, and what RFC 5545 (3.3.10) forbids."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from scheduler_domain.schedule.cron_fields import shown
from scheduler_domain.schedule.rrule import Frequency

MAX_COUNT = 1_000

_UNTIL = re.compile(r"[0-9]{8}(?:T[0-9]{6}Z?)?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}")
_WEEKDAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

_RANGES = {
    "BYSECOND": (0, 59),
    "BYMINUTE": (0, 59),
    "BYHOUR": (0, 23),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (-53, 53),
    "BYMONTH": (1, 12),
    "BYSETPOS": (-366, 366),
}
"""Number lists, and what they accept; 0 is no day, week or position."""
_PARTS = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "WKST", *_RANGES)
_LONGEST_INTERVAL = {
    Frequency.SECONDLY: 315_360_000,
    Frequency.MINUTELY: 5_256_000,
    Frequency.HOURLY: 87_600,
    Frequency.DAILY: 3_650,
    Frequency.WEEKLY: 520,
    Frequency.MONTHLY: 120,
    Frequency.YEARLY: 10,
}
"""Ten years of each: further apart is no schedule."""


@dataclass(slots=True)
class RuleParts:
    """What the parts of a rule say, with the names of those that are ``given``; what is wrong goes to ``problems``.

    ``weekdays`` are pairs (n, weekday), n being 0 for every such weekday; Monday is 0. ``numbers`` has the other lists
    by their names. ``zone`` is only for an ``UNTIL`` in UTC.
    """

    zone: ZoneInfo
    problems: list[str]
    given: set[str] = field(default_factory=set)
    frequency: Frequency | None = None
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    numbers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weekdays: tuple[tuple[int, int], ...] = ()
    week_start: int = 0

    def read(self, text: str) -> None:
        for part in text.split(";"):
            name, equals, value = part.partition("=")
            if not equals or name not in _PARTS:
                self._refuse_part(part, name)
            elif name in self.given:
                self.problems.append(f"{name} is given twice")
            else:
                self.given.add(name)
                self._part(name, value)

    def _refuse_part(self, part: str, name: str) -> None:
        if name == "BYEASTER":
            advice = "it is not in RFC 5545; use a calendar for feasts that move"
        elif name in _PARTS:
            advice = f"write {name}=…"
        elif near := difflib.get_close_matches(name[:40], _PARTS, n=1):
            advice = f"did you mean {near[0]}?"
        else:
            advice = f"accepted: {', '.join(_PARTS)}"
        self.problems.append(f"{shown(part)} is not a part of a rule: {advice}" if part else "a part is empty")

    def _part(self, name: str, value: str) -> None:
        if name in _RANGES:
            self.numbers[name] = tuple(self._numbers(name, value))
        elif name == "BYDAY":
            self.weekdays = tuple(self._days(value))
        elif name == "FREQ":
            self.frequency = Frequency.__members__.get(value)
            if self.frequency is None:
                self.problems.append(f"FREQ cannot be {shown(value)}; accepted: {', '.join(Frequency.__members__)}")
        elif name == "WKST":
            if value in _WEEKDAYS:
                self.week_start = _WEEKDAYS.index(value)
            else:
                self.problems.append(f"WKST cannot be {shown(value)}; accepted: {', '.join(_WEEKDAYS)}")
        elif name == "UNTIL":
            self.until = self._until(value)
        elif name == "COUNT":
            self.count = self._whole(name, value, MAX_COUNT)
        else:
            self.interval = self._whole(name, value, max(_LONGEST_INTERVAL.values()))

    def _numbers(self, name: str, value: str) -> Iterator[int]:
        low, high = _RANGES[name]
        for text in value.split(","):
            number = int(text) if _NUMBER.fullmatch(text) else None
            if number is None or not low <= number <= high or (number == 0 and low < 0):
                accepted = f"{low} to {high}" if low >= 0 else f"1 to {high} and, from the end, -1 to {low}"
                self.problems.append(f"{name}: {shown(text)} is not accepted: {accepted}")
            else:
                yield number

    def _days(self, value: str) -> Iterator[tuple[int, int]]:
        """(n, weekday) for each, n being 0 for every such weekday."""
        for text in value.split(","):
            found = _WEEKDAY.fullmatch(text)
            nth = int(found[1]) if found and found[1] else 0
            if found is None or (found[1] and not 1 <= abs(nth) <= 53):
                accepted = f"{', '.join(_WEEKDAYS)}, with a number before for the nth, as in 2TU or -1FR"
                self.problems.append(f"BYDAY: {shown(text)} is not a weekday; accepted: {accepted}")
            else:
                yield nth, _WEEKDAYS.index(found[2])

    def _until(self, value: str) -> datetime | None:
        if not _UNTIL.fullmatch(value):
            accepted = "20261231 (the whole day), 20261231T170000 (local time) or 20261231T160000Z (UTC)"
            self.problems.append(f"UNTIL cannot be {shown(value)}; accepted: {accepted}")
            return None
        if len(value) == 8:
            value += "T235959"
        moment = local_time("UNTIL", value.removesuffix("Z"), self.problems)
        if moment is None or not value.endswith("Z"):
            return moment
        try:
            return moment.replace(tzinfo=UTC).astimezone(self.zone).replace(tzinfo=None, fold=0)
        except OverflowError:
            return moment

    def _whole(self, name: str, value: str, most: int) -> int:
        if value.isascii() and value.isdigit() and len(value) <= 9 and 1 <= int(value) <= most:
            return int(value)
        self.problems.append(f"{name} cannot be {shown(value)}; accepted: a whole number from 1 to {most}")
        return 1

    def check(self, *, has_start: bool) -> None:
        """What the parts mean together."""
        if self.frequency is None:
            self.problems.append(f"FREQ is missing; accepted: {', '.join(Frequency.__members__)}")
            return
        self.problems += (message for wrong, message in self._contradictions(self.frequency, has_start) if wrong)

    def _contradictions(self, frequency: Frequency, has_start: bool) -> Iterator[tuple[bool, str]]:
        """RFC 5545 3.3.10, what must not be said together; and our limits."""
        longest = _LONGEST_INTERVAL[frequency]
        counted = any(nth for nth, _ in self.weekdays)
        by_year = frequency is Frequency.YEARLY and "BYMONTH" not in self.given
        yield self.interval > longest, f"INTERVAL is at most {longest} with FREQ={frequency.name} (ten years)"
        yield "COUNT" in self.given and not has_start, "COUNT needs a DTSTART from which it counts"
        yield {"COUNT", "UNTIL"} <= self.given, "COUNT and UNTIL exclude each other"
        if counted and (frequency < Frequency.MONTHLY or "BYWEEKNO" in self.given):
            yield True, "BYDAY takes a number before the weekday with FREQ=MONTHLY or YEARLY only, without BYWEEKNO"
        elif not by_year:
            yield any(abs(nth) > 5 for nth, _ in self.weekdays), "a month has no weekday more than 5 times"
        yield (
            "BYWEEKNO" in self.given and frequency is not Frequency.YEARLY,
            "BYWEEKNO is accepted with FREQ=YEARLY only",
        )
        yield (
            "BYYEARDAY" in self.given and Frequency.DAILY <= frequency <= Frequency.MONTHLY,
            f"BYYEARDAY is not accepted with FREQ={frequency.name}",
        )
        yield (
            "BYMONTHDAY" in self.given and frequency is Frequency.WEEKLY,
            "BYMONTHDAY is not accepted with FREQ=WEEKLY",
        )
        by = {name for name in self.given if name.startswith("BY")}
        yield by == {"BYSETPOS"}, "BYSETPOS chooses among what another BY… part names: give one"


def local_time(name: str, text: str, problems: list[str]) -> datetime | None:
    """The naive time that ``YYYYMMDDTHHMMSS`` (digits already checked) says; what is wrong goes to ``problems``."""
    year, month, day, hour, minute, second = int(text[:4]), *(int(text[n : n + 2]) for n in (4, 6, 9, 11, 13))
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        problems.append(f"{name}: {shown(text)} is not on the calendar or the clock")
        return None
