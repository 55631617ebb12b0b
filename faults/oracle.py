"""The fire oracle: when a schedule must have fired, worked out by brute force from what the schedule says.

Nothing of the product's calendar code is used: every second (or minute) of the range is asked whether it fits, with
`zoneinfo` for the zones. It understands intervals and numeric cron expressions (``*``, ``/``, ``-``, ``,``), which is
what the suite's schedules use, and raises `ValueError` for anything else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
LONGEST_GAP = timedelta(hours=3)
"""A local time that a clock change leaves out is made up for after the gap, unless the gap is longer: then the date
itself is missing."""

_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def interval_times(anchor: datetime, every: timedelta, start: datetime, end: datetime) -> list[datetime]:
    """The times ``anchor + n * every`` (n at least 1) after ``start`` and up to ``end``."""
    times = []
    at = anchor + every
    while at <= end:
        if at > start:
            times.append(at)
        at += every
    return times


def cron_times(expression: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """The due times of ``expression`` after ``start`` and up to ``end``, in UTC.

    An expression whose hour and minute are fixed fires once on each local date: at the first instant that shows the
    time, or at the first instant after the gap where no instant does. Any other fires at every instant that fits.
    """
    cron = _Cron.parse(expression)
    step = SECOND if cron.has_seconds else MINUTE
    zone_info = ZoneInfo(zone)
    found = []
    shown: set[datetime] = set()
    # A day before, so that what was shown already, and the side of a gap that the range begins on, are known.
    earlier = timedelta(days=1) if cron.is_fixed else timedelta()
    at = (start - earlier).astimezone(UTC).replace(microsecond=0)
    at = at if cron.has_seconds else at.replace(second=0)
    before = at.astimezone(zone_info).replace(tzinfo=None) - step
    while at <= end:
        local = at.astimezone(zone_info).replace(tzinfo=None)
        if _fires(cron, before, local, step, shown) and at > start:
            found.append(at)
        before = local
        at += step
    return found


def _fires(cron: "_Cron", before: datetime, local: datetime, step: timedelta, shown: set[datetime]) -> bool:
    if not cron.is_fixed:
        return cron.fits(local)
    fits = cron.fits(local) and local not in shown
    if fits:
        shown.add(local)
    gap = local - before
    # The clock leapt: what lies between is made up for now, once.
    skipped = step < gap <= LONGEST_GAP and any(cron.fits(left_out) for left_out in _between(before, local, step))
    return fits or skipped


def _between(before: datetime, local: datetime, step: timedelta) -> Iterator[datetime]:
    at = before + step
    while at < local:
        yield at
        at += step


@dataclass(frozen=True, slots=True)
class _Cron:
    """``fields`` are second, minute, hour, day, month, weekday; Sunday is 0."""

    fields: tuple[frozenset[int], ...]
    has_seconds: bool
    is_fixed: bool
    either_day: bool
    """Day of month *or* weekday is enough; both are needed where either begins with ``*``."""

    @classmethod
    def parse(cls, expression: str) -> "_Cron":
        words = expression.split()
        if len(words) not in (5, 6):
            raise ValueError(f"the oracle knows five or six fields, not {expression!r}")
        has_seconds = len(words) == 6
        words = words if has_seconds else ["0", *words]
        fields = [_field(word, *bounds) for word, bounds in zip(words, _BOUNDS, strict=True)]
        fields[5] = frozenset(day % 7 for day in fields[5])
        is_fixed = not any(word.startswith("*") for word in words[:3])
        either = not (words[3].startswith("*") or words[5].startswith("*"))
        return cls(tuple(fields), has_seconds, is_fixed, either)

    def fits(self, local: datetime) -> bool:
        second, minute, hour, day, month, weekday = self.fields
        if local.second not in second or local.minute not in minute or local.hour not in hour:
            return False
        days = local.day in day, local.isoweekday() % 7 in weekday
        return local.month in month and (any(days) if self.either_day else all(days))


def _field(word: str, least: int, most: int) -> frozenset[int]:
    values: set[int] = set()
    for part in word.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = least, most
        else:
            low = int(first)
            high = int(last) if dash else (most if step else low)
        values.update(range(low, high + 1, int(step or 1)))
    if not values or min(values) < least or max(values) > most:
        raise ValueError(f"{word!r} is out of bounds")
    return frozenset(values)
