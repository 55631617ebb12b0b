"""Local times in a time zone, across clock changes. What is done about gaps and repeats, `dst` says."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from scheduler_domain.schedule.clock_changes import ClockChange, change_around, offset_of, to_instant
from scheduler_domain.schedule.dst import DEBIAN, DstPolicy
from scheduler_domain.schedule.steps import Lost, Step

_JUST_BEFORE = timedelta(microseconds=1)


class LocalSequence(Protocol):
    """Naive local times in increasing order, on a calendar without a zone."""

    @property
    def wildcard(self) -> bool:
        """Whether the times follow real time when the clock changes; otherwise they are fixed times."""
        ...

    def after(self, moment: datetime) -> datetime | None:
        """The first time later than ``moment``; ``None`` when there is none any more."""
        ...

    def at_or_after(self, moment: datetime) -> datetime | None:
        """The first time that is not before ``moment``."""
        ...


@dataclass(frozen=True, slots=True)
class LocalTimetable:
    sequence: LocalSequence
    zone: ZoneInfo
    dst: DstPolicy = DEBIAN

    def next_after(self, moment: datetime) -> datetime | None:
        return self.step_after(moment).at

    def step_after(self, moment: datetime) -> Step:
        if moment.tzinfo is None:
            raise ValueError("a moment without a zone is no instant")
        try:
            return self._step_from(moment.astimezone(self.zone).replace(tzinfo=None))
        except OverflowError:  # the calendar ends here, in UTC or in the zone
            return Step(None)

    def fires_after(self, gap: ClockChange) -> bool:
        return self.dst.runs_after(gap, wildcard=self.sequence.wildcard)

    def fires_in_both_passes(self, overlap: ClockChange) -> bool:
        return self.dst.runs_twice(overlap, wildcard=self.sequence.wildcard)

    def _step_from(self, local: datetime) -> Step:
        if offset_of(self.zone, local) != offset_of(self.zone, local.replace(fold=1 - local.fold)):
            overlap = change_around(self.zone, local)
            assert overlap is not None  # the offsets differ, and an instant has no local time in a gap
            return self._step_inside(overlap, local)
        return self._settle(self.sequence.after(local))

    def _step_inside(self, overlap: ClockChange, local: datetime) -> Step:
        """From a moment in the first (fold 0) or second pass of a repeated stretch."""
        found = self.sequence.after(local)
        if not self.fires_in_both_passes(overlap):
            return self._settle(found if local.fold == 0 else self.sequence.at_or_after(overlap.end))
        if found is not None and found < overlap.end:
            return Step(to_instant(self.zone, found.replace(fold=local.fold)))
        if local.fold == 0:
            found = self.sequence.at_or_after(overlap.start)
            if found is not None and found < overlap.end:
                return Step(to_instant(self.zone, found.replace(fold=1)))
        return self._settle(self.sequence.at_or_after(overlap.end))

    def _settle(self, found: datetime | None) -> Step:
        """The first instant of a local time, or what takes its place when it lies in a gap."""
        gaps: tuple[ClockChange, ...] = ()
        while found is not None:
            offset = offset_of(self.zone, found)
            if offset >= offset_of(self.zone, found.replace(fold=1)):
                return Step((found - offset).replace(tzinfo=UTC), gaps, self._lost(gaps))
            gap = change_around(self.zone, found)
            assert gap is not None  # the offsets differ
            gaps += (gap,)
            if self.fires_after(gap):
                return Step(gap.instant, gaps, self._lost(gaps[:-1]))
            found = self.sequence.at_or_after(gap.end)
        return Step(None, gaps, self._lost(gaps))

    def _lost(self, gaps: tuple[ClockChange, ...]) -> tuple[Lost, ...]:
        rule = self.dst.lost_by(wildcard=self.sequence.wildcard)
        if rule is None:
            return ()
        return tuple(Lost(gap.instant - _JUST_BEFORE, rule) for gap in gaps)
