"""Zones with the days around their clock changes, and local times settled by trying every minute."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from scheduler_domain.schedule.steps import Timetable

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
EARLIEST, LATEST = datetime(1996, 1, 1, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)
ODD = [
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Apia",  # a day was left out in 2011
    "Africa/Casablanca",  # Ramadan
    "Antarctica/Troll",  # two hours
    "Pacific/Chatham",  # +12:45, changes at 02:45
    "America/St_Johns",  # changed at one minute past midnight until 2011
    "America/Havana",  # midnight does not exist, one o'clock comes twice
    "Africa/Cairo",
    "Europe/Berlin",
    "UTC",
]


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """Marks at most twelve hours before each change of the zone's offset."""
    key = ZoneInfo(zone)
    marks = [EARLIEST + 12 * HOUR * n for n in range((LATEST - EARLIEST) // (12 * HOUR))]
    offsets = [mark.astimezone(key).utcoffset() for mark in marks]
    return tuple(mark for mark, (one, other) in zip(marks, pairwise(offsets), strict=False) if one != other)


@st.composite
def places(draw: st.DrawFn, before: timedelta = DAY, zones: Sequence[str] = ODD) -> tuple[ZoneInfo, datetime]:
    """A zone, and a whole minute at most ``before`` ahead of one of its changes where it has any."""
    zone = draw(st.sampled_from(zones))
    near = changes(zone)
    start = draw(st.sampled_from(near)) if near else EARLIEST
    return ZoneInfo(zone), start - MINUTE * draw(st.integers(0, before // MINUTE))


def shown(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the clock on the wall shows."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def instants_of(local: datetime, zone: ZoneInfo) -> list[datetime]:
    """Every instant at which the clock shows ``local``: none in a gap, two in a repeat."""
    about = local.replace(tzinfo=UTC)
    offsets = {(about + HOUR * n).astimezone(zone).utcoffset() for n in range(-26, 27)}
    found = {about - offset for offset in offsets if offset is not None}
    return sorted(instant for instant in found if shown(instant, zone) == local)


def after_the_gap(local: datetime, zone: ZoneInfo) -> tuple[datetime, timedelta]:
    """The first whole minute after the gap in which ``local`` lies, and how long the gap is."""
    instant = local.replace(second=0, microsecond=0, tzinfo=UTC) - 26 * HOUR
    while shown(instant, zone) < local:
        instant += MINUTE
    return instant, shown(instant, zone) - shown(instant - MINUTE, zone) - MINUTE


def until(timetable: Timetable, start: datetime, end: datetime) -> Iterator[datetime]:
    """The due times after ``start`` and not after ``end``, each strictly later than the one before."""
    moment = timetable.next_after(start)
    previous = start
    while moment is not None and moment <= end:
        assert moment > previous
        assert moment.tzinfo is UTC
        yield moment
        previous = moment
        moment = timetable.next_after(moment)
