"""What changes of clocks and a calendar did to one step of a timetable, in words."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from scheduler_domain.schedule.calendar import CalendarRule
from scheduler_domain.schedule.clock_changes import ClockChange, change_around
from scheduler_domain.schedule.dst import DST_SKIP, LONGEST_CAUGHT_UP, GapRule
from scheduler_domain.schedule.local_timetable import LocalSequence, LocalTimetable
from scheduler_domain.schedule.shifted_timetable import ShiftedTimetable
from scheduler_domain.schedule.steps import Step, Timetable

_NAMED_TIMES = 3


def note_on(timetable: Timetable, step: Step, local: datetime, calendar: CalendarRule | None) -> str | None:
    """One line about the gaps on the way to the step's due time, its coming twice, and what the calendar does to it.

    ``local`` is the due time in the schedule's zone. ``None`` when there is nothing to say.
    """
    notes: list[str] = []
    if isinstance(timetable, ShiftedTimetable):
        moved_from = timetable.moved_from(local)
        if moved_from is not None:
            notes.append(f"moved from {moved_from} by calendar '{timetable.rule.name}'")
        else:
            timetable = timetable.base
    elif calendar is not None and calendar.excludes(local.date()):
        notes.append(f"{local.date()} is left out by calendar '{calendar.name}'; skipped")
    if isinstance(timetable, LocalTimetable):
        notes += (_about_gap(timetable, gap) for gap in step.gaps)
        if twice := _about_overlap(timetable, local):
            notes.append(twice)
    return "; ".join(notes) or None


def _about_gap(timetable: LocalTimetable, gap: ClockChange) -> str:
    times, several = _missing(timetable.sequence, gap)
    missing = f"{times} {'do' if several else 'does'} not exist on {gap.start.date()}"
    if timetable.fires_after(gap):
        day = "" if gap.end.date() == gap.start.date() else f" on {gap.end.date()}"
        return f"{missing}; fires {'once ' if several else ''}at {_clock(gap.end)}{day}"
    if timetable.dst.gap is GapRule.SKIP:
        return f"{missing}; skipped ({DST_SKIP})"
    if timetable.sequence.wildcard:
        return f"{missing}; left out"
    return f"{missing} (the clock jumps {_hours(gap.length)}, more than {_hours(LONGEST_CAUGHT_UP)}); skipped"


def _about_overlap(timetable: LocalTimetable, local: datetime) -> str | None:
    naive = local.replace(tzinfo=None)
    overlap = change_around(timetable.zone, naive)
    if overlap is None:
        return None
    twice = f"{_clock(naive)} happens twice on {naive.date()}"
    if timetable.fires_in_both_passes(overlap):
        return f"{twice}; this is the {'second' if naive.fold else 'first'} time"
    return f"{twice}; fires the first time only"


def _missing(sequence: LocalSequence, gap: ClockChange) -> tuple[str, bool]:
    found = list(islice(_times_in(sequence, gap), _NAMED_TIMES + 1))
    times = [_clock(time) for time in found[:_NAMED_TIMES]]
    if len(found) > _NAMED_TIMES:
        return f"{', '.join(times)} and more", True
    return " and ".join([", ".join(times[:-1]), times[-1]] if len(times) > 1 else times), len(times) > 1


def _times_in(sequence: LocalSequence, gap: ClockChange) -> Iterator[datetime]:
    found = sequence.at_or_after(gap.start)
    while found is not None and found < gap.end:
        yield found
        found = sequence.after(found)


def _clock(local: datetime) -> str:
    return f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"


def _hours(length: timedelta) -> str:
    return f"{length / timedelta(hours=1):g} h"
