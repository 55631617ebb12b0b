"""Predictions of shadow triggers beside what cron really started."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from scheduler_application.importing.cron_log import CronLog, CronStart, command_key

TOLERANCE = timedelta(seconds=60)
_SHORTEST_CUT = 40
"""Characters of a command that the log cut off, from which it is taken for the command that begins so."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """A shadow workflow. ``user`` is ``None`` where it is not known. ``since``: nothing was predicted before.

    ``due`` are the predictions; ``decided`` has the rule for due times that were decided otherwise.
    """

    workflow: str
    schedule: str
    user: str | None
    command: str
    since: datetime
    due: Sequence[datetime]
    decided: Mapping[datetime, str] = field(default_factory=dict)


@dataclass(slots=True)
class Compared:
    """``real_only`` has the rule of the ledger where it knows the due time, but did not predict a start."""

    workflow: str
    schedule: str
    user: str | None
    command: str
    matched: list[tuple[datetime, datetime]] = field(default_factory=list)
    predicted_only: list[datetime] = field(default_factory=list)
    real_only: list[tuple[datetime, str | None]] = field(default_factory=list)


@dataclass(slots=True)
class Comparison:
    """``unknown`` counts starts of commands, by user and command, that no shadow workflow has."""

    since: datetime
    until: datetime
    schedules: list[Compared]
    unknown: dict[tuple[str, str], int]

    @property
    def agrees(self) -> bool:
        return not any(each.predicted_only or each.real_only for each in self.schedules)


def covered(log: CronLog) -> tuple[datetime, datetime] | None:
    """From when to when a log tells of every start; its last minute may still be going on."""
    if log.first is None or log.last is None:
        return None
    return log.first, max(log.first, log.last - TOLERANCE)


def compare(predicted: Sequence[Predicted], log: CronLog, since: datetime, until: datetime) -> Comparison:
    """Matches each start with the nearest due time of its user and command that is at most `TOLERANCE` away.

    Each is used once. Both sides are looked at a little beyond the window, so that nothing is torn apart at its ends.
    """
    known = _Known(predicted)
    owners = [known.schedules_of(start) for start in log.starts]
    unknown: Counter[tuple[str, str]] = Counter()
    for start, schedules in zip(log.starts, owners, strict=True):
        if not schedules and since <= start.instants[0] <= until:
            unknown[start.user, start.command] += 1
    matches = _match(log.starts, owners, known)
    compared = [_compared(each) for each in predicted]
    taken = {(match.schedule, match.due) for match in matches.values()}
    for schedule, each in enumerate(predicted):
        left = (due for due in each.due if (schedule, due) not in taken)
        compared[schedule].predicted_only = sorted(due for due in left if _within(each, due, since, until))
    for number, (start, schedules) in enumerate(zip(log.starts, owners, strict=True)):
        if match := matches.get(number):
            if _within(predicted[match.schedule], match.due, since, until):
                compared[match.schedule].matched.append((match.due, match.instant))
        elif schedules and _within(predicted[schedules[0]], start.instants[0], since, until):
            rule = _rule_near(predicted[schedules[0]], start.instants[0])
            compared[schedules[0]].real_only.append((start.instants[0], rule))
    return Comparison(since, until, compared, dict(unknown.most_common()))


class _Match(NamedTuple):
    """A start (by its number in the log) and a due time that may be its; the nearest come first."""

    distance: timedelta
    start: int
    schedule: int
    due: datetime
    instant: datetime


def _match(starts: Sequence[CronStart], owners: Sequence[list[int]], known: "_Known") -> dict[int, _Match]:
    """The match of each start that has one."""
    possible = [
        _Match(abs(instant - due), number, schedule, due, instant)
        for number, schedules in enumerate(owners)
        for schedule in schedules
        for instant in starts[number].instants
        for due in known.near(schedule, instant)
    ]
    found: dict[int, _Match] = {}
    taken: set[tuple[int, datetime]] = set()
    for match in sorted(possible):
        if match.start not in found and (match.schedule, match.due) not in taken:
            found[match.start] = match
            taken.add((match.schedule, match.due))
    return found


def _compared(each: Predicted) -> Compared:
    return Compared(each.workflow, each.schedule, each.user, each.command)


def _within(schedule: Predicted, instant: datetime, since: datetime, until: datetime) -> bool:
    return max(since, schedule.since) <= instant <= until


def _rule_near(schedule: Predicted, instant: datetime) -> str | None:
    near = [(abs(instant - due), rule) for due, rule in schedule.decided.items() if abs(instant - due) <= TOLERANCE]
    return min(near)[1] if near else None


class _Known:
    """The schedules by command, and their due times in order."""

    def __init__(self, predicted: Sequence[Predicted]) -> None:
        self._predicted = predicted
        self._by_key: dict[str, list[int]] = defaultdict(list)
        for number, each in enumerate(predicted):
            self._by_key[command_key(each.command)].append(number)
        self._due = [sorted(each.due) for each in predicted]

    def schedules_of(self, start: CronStart) -> list[int]:
        """Those of the user first, then those of which no user is known."""
        found = [number for key in start.keys for number in self._by_key.get(key, ())]
        if not found and start.cut:
            found = list(self._beginning_with(start.keys))
        fitting = [number for number in found if self._predicted[number].user in (start.user, None)]
        return sorted(fitting, key=lambda number: (self._predicted[number].user is None, number))

    def _beginning_with(self, beginnings: Iterable[str]) -> Iterable[int]:
        long = tuple(beginning for beginning in beginnings if len(beginning) >= _SHORTEST_CUT)
        return (number for key, numbers in self._by_key.items() if key.startswith(long) for number in numbers)

    def near(self, schedule: int, instant: datetime) -> list[datetime]:
        due = self._due[schedule]
        first = bisect_left(due, instant - TOLERANCE)
        found = []
        for place in range(first, len(due)):
            if due[place] > instant + TOLERANCE:
                break
            found.append(due[place])
        return found
