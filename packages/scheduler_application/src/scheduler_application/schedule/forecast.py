"""How many runs the clock will start, minute by minute, against the slots of workers; and which schedules to spread."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop, heapreplace

from scheduler_application.actor import Actor
from scheduler_application.errors import NotFound, Rejected
from scheduler_application.json_values import json_value
from scheduler_application.ports.calendars import Calendars
from scheduler_application.ports.forecasting import ForecastReader, PlannedTrigger
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import Reader, WorkerView
from scheduler_application.ports.time import Clock
from scheduler_application.schedule.expansion import (
    FireRule,
    PlannedFire,
    planned_fires,
    rule_of_row,
    undecided_after,
)
from scheduler_application.schedule.load import Load, crowded_minutes, load_of
from scheduler_application.schedule.spreading import Advice, PlannedSchedule, advise
from scheduler_application.workflow.live_triggers import calendar_rule
from scheduler_application.workflow.policy_text import policy_of
from scheduler_application.workflow.root_queues import root_queues
from scheduler_domain.errors import DomainError
from scheduler_domain.schedule.calendar import CalendarRule
from scheduler_domain.schedule.fire_policy import CalendarUse, FirePolicy
from scheduler_domain.schedule.steps import Timetable
from scheduler_domain.workflow.definition import TriggerKind

MAX_HOURS = 7 * 24
MAX_TRIGGERS = 50_000
MAX_DUE_TIMES = 200_000
"""How many due times one forecast looks at, for all triggers together."""
RECENT_RUNS = 20
"""From how many finished runs of a workflow the duration of the next is estimated."""
MAX_QUEUES = 50
MAX_CROWDED = 50
_AT_ONCE = 500
"""How many versions or workflows one statement reads."""
_KNOWN_VERSIONS = 50_000
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ForecastCommand:
    """``queue`` narrows it to the workflows whose first tasks wait there."""

    hours: int = 24
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class MinuteLoad:
    at: datetime
    starts: int
    busy: float


@dataclass(frozen=True, slots=True)
class QueueForecast:
    """One queue: its starts in the window, the slots of the live workers that serve it, its fullest minute, and how
    many minutes are crowded."""

    queue: str
    slots: int
    starts: int
    peak: MinuteLoad
    crowded: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """``starts`` and ``busy`` have one entry a minute, the first for the minute at ``planned_from``. A run counts once
    in every queue where its first tasks wait, and once in the whole.

    ``truncated``: there is more to expand than the bounds allow, so the forecast ends before what was asked for.
    ``crowded`` and ``advice`` have the first of ``crowded_total`` and ``advice_total``. ``without_history`` counts
    workflows that never finished a run: how long theirs keep a slot busy is not known.
    """

    planned_from: datetime
    planned_until: datetime
    truncated: bool
    queue: str | None
    slots: int
    total: int
    peak: MinuteLoad | None
    starts: list[int]
    busy: list[float]
    queues: list[QueueForecast]
    crowded_total: int
    crowded: list[MinuteLoad]
    advice_total: int
    advice: list[Advice]
    without_history: int


@dataclass(frozen=True, slots=True)
class _Facts:
    """What was read: triggers, the queues of their versions by id, seconds of a run by workflow, and workers."""

    triggers: Sequence[PlannedTrigger]
    more: bool
    queues: Mapping[str, frozenset[str]]
    seconds: Mapping[str, float]
    workers: Sequence[WorkerView]
    calendars: Mapping[CalendarUse, CalendarRule | None]
    """``None``: there is no such calendar."""


class ForecastStarts:
    """The planned starts of the project. What is paused, disabled or only a shadow starts nothing and is not in it."""

    def __init__(
        self, forecasts: ForecastReader, store: Store, reader: Reader, calendars: Calendars, clock: Clock
    ) -> None:
        self._forecasts = forecasts
        self._store = store
        self._reader = reader
        self._calendars = calendars
        self._clock = clock
        self._queues: dict[str, frozenset[str]] = {}

    async def execute(self, command: ForecastCommand, actor: Actor) -> Forecast:
        """Raises `Rejected` for hours out of bounds."""
        if not 1 <= command.hours <= MAX_HOURS:
            raise Rejected(f"hours is from 1 to {MAX_HOURS}", code="out_of_range")
        facts = await self._read(actor.project)
        return await asyncio.to_thread(_Forecaster(command, facts, self._clock.now()).forecast)

    async def _read(self, project: str) -> _Facts:
        found = await self._forecasts.planned_triggers(project, MAX_TRIGGERS + 1)
        queues = await self._queues_of({trigger.version_id for trigger in found})
        seconds: dict[str, float] = {}
        for some in _portions({trigger.workflow_id for trigger in found}):
            seconds |= await self._forecasts.mean_seconds(some, RECENT_RUNS)
        workers = [worker for worker in await self._reader.workers() if worker.state == "active"]
        calendars = await self._calendars_of(project, found)
        return _Facts(found, len(found) > MAX_TRIGGERS, queues, seconds, workers, calendars)

    async def _calendars_of(
        self, project: str, triggers: Sequence[PlannedTrigger]
    ) -> dict[CalendarUse, CalendarRule | None]:
        used = {policy.calendar: policy for trigger in triggers if (policy := _policy(trigger)) is not None}
        policies = {use: policy for use, policy in used.items() if use is not None}
        if not policies:
            return {}

        async def resolve(tx: Transaction) -> dict[CalendarUse, CalendarRule | None]:
            return {use: await self._resolved(tx, project, policy) for use, policy in policies.items()}

        return await self._store.transact(resolve)

    async def _resolved(self, tx: Transaction, project: str, policy: FirePolicy) -> CalendarRule | None:
        try:
            return await calendar_rule(self._calendars, tx, project, policy)
        except NotFound:
            return None

    async def _queues_of(self, version_ids: set[str]) -> dict[str, frozenset[str]]:
        """By version; a version never changes, so what was read once is kept."""
        known = {version: queues for version in version_ids if (queues := self._queues.get(version)) is not None}
        for some in _portions(version_ids - known.keys()):
            contents = await self._forecasts.contents(some)
            known |= await asyncio.to_thread(_root_queues, contents)
        if len(self._queues) + len(known) > _KNOWN_VERSIONS:
            self._queues.clear()
        self._queues |= known
        return known


def _policy(trigger: PlannedTrigger) -> FirePolicy | None:
    """``None`` where it cannot be read: the leader puts the trigger aside when it is due."""
    try:
        return policy_of(trigger.policy)
    except (ValueError, KeyError, TypeError):
        return None


def _portions(ids: set[str]) -> Iterator[Sequence[str]]:
    listed = sorted(ids)
    return (listed[place : place + _AT_ONCE] for place in range(0, len(listed), _AT_ONCE))


def _root_queues(contents: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Of the versions that can be read."""
    found = {}
    for version, content in contents.items():
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            found[version] = root_queues(json_value(content))
    return found


@dataclass(slots=True)
class _Expanded:
    """A trigger in the making of a forecast."""

    trigger: PlannedTrigger
    rule: FireRule
    timetable: Timetable
    starts: list[float]


class _Forecaster:
    """One forecast, from facts alone."""

    def __init__(self, command: ForecastCommand, facts: _Facts, now: datetime) -> None:
        self._facts = facts
        self._queue = command.queue
        self._now = now
        self._from = now.replace(second=0, microsecond=0)
        self._until = self._from + timedelta(hours=command.hours)
        self._truncated = False
        self._timetables: dict[tuple[object, ...], Timetable] = {}

    def forecast(self) -> Forecast:
        expanded = self._expand()
        minutes = (self._until - self._from) // _MINUTE
        load = self._load(expanded, minutes)
        slots = self._slots_of(expanded)
        crowded = crowded_minutes(load, slots, self._from.minute)
        advice, advice_total = advise(
            [PlannedSchedule(one.trigger.workflow, one.trigger.name, one.rule, one.starts) for one in expanded],
            load.starts,
            crowded,
            self._starts_if_deployed,
        )
        workflows = {one.trigger.workflow_id for one in expanded if one.starts}
        return Forecast(
            planned_from=self._from,
            planned_until=self._until,
            truncated=self._truncated,
            queue=self._queue,
            slots=slots,
            total=sum(load.starts),
            peak=self._peak(load),
            starts=load.starts,
            busy=load.busy,
            queues=self._queue_forecasts(expanded, minutes),
            crowded_total=len(crowded),
            crowded=[self._minute(load, minute) for minute in crowded[:MAX_CROWDED]],
            advice_total=advice_total,
            advice=advice,
            without_history=len(workflows - self._facts.seconds.keys()),
        )

    def _expand(self) -> list[_Expanded]:
        """The triggers with their starts, taken in order of time over all of them, so that what the bounds cut off is
        the end of the window and never a trigger."""
        self._cut_off_unread()
        expanded = list(self._readable())
        fires = [self._fires(one) for one in expanded]
        heap = [(fire.starts_at, place, fire) for place, some in enumerate(fires) if (fire := next(some, None))]
        heapify(heap)
        looked_at = len(heap)
        while heap and heap[0][0] < self._until:
            starts_at, place, fire = heap[0]
            if looked_at > MAX_DUE_TIMES:
                self._cut_off(starts_at)
                break
            if fire.left_out is None and starts_at > self._now:
                expanded[place].starts.append((starts_at - self._from).total_seconds())
            following = next(fires[place], None)
            if following is None:
                heappop(heap)
            else:
                looked_at += 1
                heapreplace(heap, (following.starts_at, place, following))
        if self._truncated:
            end = (self._until - self._from).total_seconds()
            for one in expanded:
                one.starts = [start for start in one.starts if start < end]
        return expanded

    def _cut_off_unread(self) -> None:
        """Triggers that were not read start no earlier than the last that was read."""
        if self._facts.more and self._facts.triggers[-1].next_at < self._until:
            self._cut_off(self._facts.triggers[-1].next_at)

    def _cut_off(self, moment: datetime) -> None:
        """Ends the window with the last minute that is complete."""
        self._truncated = True
        self._until = max(self._from, self._from + (moment - self._from) // _MINUTE * _MINUTE)

    def _readable(self) -> Iterator[_Expanded]:
        for trigger in self._facts.triggers:
            if self._queue is not None and self._queue not in self._facts.queues.get(trigger.version_id, ()):
                continue
            policy = _policy(trigger)
            use = None if policy is None else policy.calendar
            calendar = None if use is None else self._facts.calendars[use]
            if policy is None or (use is not None and calendar is None):
                continue
            rule = rule_of_row(trigger._asdict(), calendar)
            try:
                timetable = self._timetable(rule)
            except (DomainError, ValueError):
                continue  # as above: the leader puts it aside
            if not rule.policy.shadow:
                yield _Expanded(trigger, rule, timetable, [])

    def _fires(self, one: _Expanded) -> Iterator[PlannedFire]:
        rule = one.rule
        after = undecided_after(rule, one.trigger.due_at, self._now)
        return planned_fires(rule, after, self._until - rule.spread, one.timetable)

    def _timetable(self, rule: FireRule) -> Timetable:
        """Thousands of schedules are written alike, and it is the parsing that costs."""
        if rule.hashed:
            return rule.timetable()
        phase = rule.anchor if rule.kind == TriggerKind.EVERY else None
        key = (rule.kind, rule.expression, rule.timezone, rule.policy.dst, rule.policy.calendar, phase)
        known = self._timetables.get(key)
        if known is None:
            known = self._timetables[key] = rule.timetable()
        return known

    def _starts_if_deployed(self, rule: FireRule) -> Iterator[float]:
        """The starts of a rule that a deploy brings now: whatever is due later than now."""
        for fire in planned_fires(rule, self._now, self._until - rule.spread, self._timetable(rule)):
            if fire.left_out is None and fire.starts_at < self._until:
                yield (fire.starts_at - self._from).total_seconds()

    def _load(self, expanded: Iterable[_Expanded], minutes: int) -> Load:
        seconds = self._facts.seconds
        return load_of(
            ((start, seconds.get(one.trigger.workflow_id, 0.0)) for one in expanded for start in one.starts),
            minutes,
        )

    def _slots_of(self, expanded: Iterable[_Expanded]) -> int:
        queues = {self._queue} if self._queue is not None else self._all_queues(expanded)
        return sum(worker.slots for worker in self._facts.workers if queues.intersection(worker.queues))

    def _all_queues(self, expanded: Iterable[_Expanded]) -> set[str]:
        return {queue for one in expanded for queue in self._facts.queues.get(one.trigger.version_id, ())}

    def _queue_forecasts(self, expanded: Iterable[_Expanded], minutes: int) -> list[QueueForecast]:
        """The fullest `MAX_QUEUES`, the one with the most starts first."""
        by_queue: defaultdict[str, list[_Expanded]] = defaultdict(list)
        for one in expanded:
            for queue in self._facts.queues.get(one.trigger.version_id, ()):
                if one.starts and self._queue in (None, queue):
                    by_queue[queue].append(one)
        starts = {queue: sum(len(one.starts) for one in some) for queue, some in by_queue.items()}
        fullest = sorted(starts, key=lambda queue: (-starts[queue], queue))[:MAX_QUEUES]
        return [self._queue_forecast(queue, by_queue[queue], minutes) for queue in fullest]

    def _queue_forecast(self, queue: str, expanded: Sequence[_Expanded], minutes: int) -> QueueForecast:
        load = self._load(expanded, minutes)
        slots = sum(worker.slots for worker in self._facts.workers if queue in worker.queues)
        crowded = crowded_minutes(load, slots, self._from.minute)
        peak = self._minute(load, load.starts.index(load.peak))
        return QueueForecast(queue, slots, sum(load.starts), peak, len(crowded))

    def _peak(self, load: Load) -> MinuteLoad | None:
        return self._minute(load, load.starts.index(load.peak)) if load.peak else None

    def _minute(self, load: Load, minute: int) -> MinuteLoad:
        return MinuteLoad(self._from + minute * _MINUTE, load.starts[minute], load.busy[minute])
