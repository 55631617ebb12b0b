"""Where the local time of a zone jumps: gaps (times that do not exist) and overlaps (times that come twice).

`zoneinfo` tells by the fold (PEP 495): the offset for ``fold=0`` is the one before a change, for ``fold=1`` the one
after it. They differ only for a local time inside a change: the first is smaller in a gap and larger in an overlap.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


class ClockChange(NamedTuple):
    """One jump: its instant (UTC), and the local times ``start <= t < end`` that it leaves out or repeats."""

    instant: datetime
    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        return self.end - self.start


def offset_of(zone: ZoneInfo, local: datetime) -> timedelta:
    """The offset that holds at a naive local time, by its fold."""
    offset = zone.utcoffset(local)
    assert offset is not None  # zoneinfo gives none only for times without a date
    return offset


def to_instant(zone: ZoneInfo, local: datetime) -> datetime:
    """The instant of a naive local time, by its fold."""
    return local.replace(tzinfo=zone).astimezone(UTC)


class Stretch(NamedTuple):
    """Instants ``begin <= t < end`` (UTC) of one offset: in it, local time runs on evenly."""

    begin: datetime
    end: datetime
    offset: timedelta


def start_of_day(zone: ZoneInfo, day: date) -> datetime:
    """The first instant (UTC) of a local date; for a date that does not exist the first one after it."""
    midnight = datetime(day.year, day.month, day.day)
    change = change_around(zone, midnight)
    if change is not None and offset_of(zone, midnight) < offset_of(zone, midnight.replace(fold=1)):
        return change.instant
    return to_instant(zone, midnight)


def stretches_of(zone: ZoneInfo, day: date) -> list[Stretch]:
    """The stretches that hold every instant of a local date: one, or two around a clock change on that date.

    Where midnight comes twice they reach into the day before or after. No zone has two changes on one date.
    """
    following = day + _DAY
    begin = start_of_day(zone, day)
    midnight = datetime(following.year, following.month, following.day, fold=1)
    end = max(start_of_day(zone, following), to_instant(zone, midnight))
    if begin >= end:
        return []
    first, last = begin.astimezone(zone).utcoffset(), (end - _SECOND).astimezone(zone).utcoffset()
    assert first is not None  # zoneinfo knows the offset of every instant
    assert last is not None
    if first == last:
        return [Stretch(begin, end, first)]
    change = _transition(zone, first, begin.replace(tzinfo=None), end.replace(tzinfo=None)).replace(tzinfo=UTC)
    return [Stretch(begin, change, first), Stretch(change, end, last)]


def change_around(zone: ZoneInfo, local: datetime) -> ClockChange | None:
    """The change inside which the naive ``local`` lies; ``None`` for a time that exists once."""
    before, after = offset_of(zone, local.replace(fold=0)), offset_of(zone, local.replace(fold=1))
    if before == after:
        return None
    local = local.replace(microsecond=0, fold=0)
    low, high = sorted((local - before, local - after))
    instant = _transition(zone, before, low, high)
    start, end = sorted((instant + before, instant + after))
    return ClockChange(instant.replace(tzinfo=UTC), start, end)


def _transition(zone: ZoneInfo, before: timedelta, low: datetime, high: datetime) -> datetime:
    """The first whole second in (low, high] (naive UTC) at which the offset is no longer ``before``."""
    low_seconds, high_seconds = 0, -(-(high - low) // _SECOND)
    while high_seconds - low_seconds > 1:
        middle = (low_seconds + high_seconds) // 2
        at = (low + middle * _SECOND).replace(tzinfo=UTC).astimezone(zone)
        if at.utcoffset() == before:
            low_seconds = middle
        else:
            high_seconds = middle
    return low + high_seconds * _SECOND
