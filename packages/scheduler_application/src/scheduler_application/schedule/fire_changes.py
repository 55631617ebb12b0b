"""Which fire times appear, vanish or move where one rule takes the place of another: arithmetic over two windows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler_application.schedule.expansion import FireRule, PlannedFire, planned_fires

SHOWN = 50
"""How many fire times of each sort a plan lists; the totals and the days count all."""


@dataclass(frozen=True, slots=True)
class FireTime:
    """One start (UTC), and the same in the trigger's zone."""

    at: datetime
    local: datetime


@dataclass(frozen=True, slots=True)
class MovedFire:
    before: FireTime
    after: FireTime


@dataclass(frozen=True, slots=True)
class DayChanges:
    """How many fire times of one local date change."""

    day: date
    appear: int
    vanish: int
    move: int


@dataclass(frozen=True, slots=True)
class FireChanges:
    """The lists have the first `SHOWN` in order of time, the totals count all; ``days`` has the dates on which anything
    changes. ``until`` is the end of what was compared."""

    until: datetime
    unchanged: int = 0
    appear_total: int = 0
    vanish_total: int = 0
    move_total: int = 0
    appear: Sequence[FireTime] = ()
    vanish: Sequence[FireTime] = ()
    move: Sequence[MovedFire] = ()
    days: Sequence[DayChanges] = ()

    @property
    def any(self) -> bool:
        return bool(self.appear_total or self.vanish_total or self.move_total)


@dataclass(frozen=True, slots=True)
class Side:
    """The fires of one rule in a window, up to ``until``: all of them, or as many as it was worth."""

    zone: ZoneInfo
    fires: Sequence[PlannedFire]
    until: datetime
    cost: int
    """How many due times were looked at."""


@dataclass(frozen=True, slots=True)
class Differences:
    """All of what changes, day by day (the local date of the due time)."""

    unchanged: int = 0
    appear: dict[date, list[datetime]] = field(default_factory=dict)
    vanish: dict[date, list[datetime]] = field(default_factory=dict)
    move: dict[date, list[tuple[datetime, datetime]]] = field(default_factory=dict)


def no_fires(until: datetime) -> Side:
    return Side(ZoneInfo("UTC"), (), until, 0)


def fires_of(rule: FireRule, after: datetime, until: datetime, limit: int) -> Side:
    """At most ``limit`` due times of the window are looked at; raises `InvalidDefinition`."""
    found: list[PlannedFire] = []
    cost = 0
    for fire in planned_fires(rule, after, until):
        if cost == limit:
            # What is due at one moment belongs to one fire: the window ends with the last that was looked at.
            return Side(rule.zone, found, fire.due_at - timedelta.resolution, cost)
        cost += 1
        if fire.left_out is None:
            found.append(fire)
    return Side(rule.zone, found, until, cost)


def differences(before: Side, after: Side) -> Differences:
    """What turns the starts of ``before`` into those of ``after``, up to where both are known.

    A start that both have stays. What is left of a local date moves, in order, where both sides have as many left;
    otherwise what is left vanishes and appears.
    """
    until = min(before.until, after.until)
    old, new = _starts_by_day(before, until), _starts_by_day(after, until)
    kept = {at for starts in old.values() for at in starts} & {at for starts in new.values() for at in starts}
    found = Differences(unchanged=len(kept))
    for day in sorted(old.keys() | new.keys()):
        gone = [at for at in old.get(day, ()) if at not in kept]
        come = [at for at in new.get(day, ()) if at not in kept]
        if gone and len(gone) == len(come):
            found.move[day] = list(zip(gone, come, strict=True))
        else:
            found.vanish.update({day: gone} if gone else {})
            found.appear.update({day: come} if come else {})
    return found


def told(found: Differences, before: Side, after: Side) -> FireChanges:
    """The differences as people get them, each time in the zone of its own side."""
    days = sorted(found.appear.keys() | found.vanish.keys() | found.move.keys())
    moved = [pair for day in days for pair in found.move.get(day, ())]
    return FireChanges(
        until=min(before.until, after.until).astimezone(UTC),
        unchanged=found.unchanged,
        appear_total=_total(found.appear),
        vanish_total=_total(found.vanish),
        move_total=len(moved),
        appear=_shown(found.appear, days, after.zone),
        vanish=_shown(found.vanish, days, before.zone),
        move=[MovedFire(_time(old, before.zone), _time(new, after.zone)) for old, new in moved[:SHOWN]],
        days=[
            DayChanges(
                day,
                len(found.appear.get(day, ())),
                len(found.vanish.get(day, ())),
                len(found.move.get(day, ())),
            )
            for day in days
        ],
    )


def _starts_by_day(side: Side, until: datetime) -> Mapping[date, list[datetime]]:
    found: defaultdict[date, list[datetime]] = defaultdict(list)
    for fire in side.fires:
        if fire.due_at > until:
            break
        found[fire.due_at.astimezone(side.zone).date()].append(fire.starts_at)
    return found


def _total(by_day: Mapping[date, list[datetime]]) -> int:
    return sum(len(starts) for starts in by_day.values())


def _shown(by_day: Mapping[date, list[datetime]], days: Iterable[date], zone: ZoneInfo) -> list[FireTime]:
    starts = [at for day in days for at in by_day.get(day, ())]
    return [_time(at, zone) for at in starts[:SHOWN]]


def _time(at: datetime, zone: ZoneInfo) -> FireTime:
    return FireTime(at, at.astimezone(zone))
