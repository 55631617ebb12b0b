"""The table of what the leader does by itself, and when it does it again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from scheduler_application.alert.judge import JudgeDeadlines
from scheduler_application.alert.telling import Alerted
from scheduler_application.leading import Campaign, Leadership
from scheduler_application.pausing import Sleep
from scheduler_application.ports.messaging import Signals
from scheduler_application.ports.time import Clock, Randomness
from scheduler_application.run.control import EnforceRunDeadlines
from scheduler_application.run.prune import RUNS_AT_ONCE, PruneFinished
from scheduler_application.run.relay import RelayHints
from scheduler_application.run.wake import WakeDueTasks
from scheduler_application.schedule.backfill import AdvanceBackfills
from scheduler_application.schedule.calendar_texts import RefreshDueCalendars
from scheduler_application.schedule.fire import FireDueSchedules, NextDue
from scheduler_application.watchdog import Watchdog
from scheduler_application.worker.recover import RecoverLostWorkers
from scheduler_dispatcher.health import IDLE_SECONDS, DispatcherHealth

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
"""The longest pause: an idle leader looks this often, whatever it was told."""

RELAY_SECONDS = 0.5
RECOVER_SECONDS = 3.0
CALENDARS_SECONDS = 10.0
PRUNE_SECONDS = 60.0
PRUNE_PATIENCE_SECONDS = 300.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
"""Pauses while something is due that a pass did not see to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherLimits:
    """``renew``: how often the lead is renewed, in seconds."""

    renew: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """Everything that a dispatcher is made of."""

    campaign: Campaign
    fire: FireDueSchedules
    wake: WakeDueTasks
    deadlines: EnforceRunDeadlines
    backfills: AdvanceBackfills
    judge: JudgeDeadlines
    next_due: NextDue
    relay: RelayHints
    recover: RecoverLostWorkers
    calendars: RefreshDueCalendars
    prune: PruneFinished
    watchdog: Watchdog
    signals: Signals
    clock: Clock
    randomness: Randomness
    health: DispatcherHealth
    limits: DispatcherLimits = DispatcherLimits()
    sleep: Sleep = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Step:
    """One use case; it answers how much it found to do. Without success for ``patience`` seconds it does not work."""

    name: str
    work: Callable[[Leadership], Awaitable[int]]
    patience: float = IDLE_SECONDS


@dataclass(frozen=True, slots=True)
class Duty:
    """Steps that are done one after the other, each whatever became of the one before.

    ``pause`` says how many seconds until the next pass: after one that found ``done`` things to do (``None``: a step
    failed), or, asked with 0 again, when the pause was cut short because something may be due earlier (``woken``).
    ``when_settled``: only in a term that is settled.
    """

    steps: tuple[Step, ...]
    pause: Callable[[int | None], Awaitable[float]]
    woken: bool = False
    when_settled: bool = False


def duties(dispatcher: Dispatcher) -> tuple[Duty, ...]:
    relaying = _Relaying(dispatcher.relay)
    backfilling = _Backfilling(dispatcher.backfills)
    return (
        # By itself: looking at everything else between two passes would make every schedule late by as long.
        Duty(
            (Step("fire", dispatcher.fire.execute),),
            _UntilDue(dispatcher.next_due.fire, dispatcher.clock).pause,
            woken=True,
        ),
        Duty(
            (
                Step("wake", dispatcher.wake.execute),
                Step("deadlines", dispatcher.deadlines.execute),
                Step("judge", _telling(dispatcher.judge.execute)),
            ),
            _UntilDue(dispatcher.next_due.wake, dispatcher.clock).pause,
            woken=True,
        ),
        Duty((Step("backfill", backfilling.work),), backfilling.pause, woken=True),
        Duty((Step("relay", relaying.work),), relaying.pause),
        # Leases may be over all at once, by a step of the store's clock: then workers shall notice before others begin.
        Duty((Step("recover", dispatcher.recover.execute),), _recovering, when_settled=True),
        Duty((Step("calendars", dispatcher.calendars.execute),), _refreshing),
        Duty((Step("prune", _tidying(dispatcher.prune), PRUNE_PATIENCE_SECONDS),), _pruning),
    )


def _telling(judge: Callable[[Leadership], Awaitable[Alerted]]) -> Callable[[Leadership], Awaitable[int]]:
    """The work of a step that raises alerts: each is a line of the log too."""

    async def work(leadership: Leadership) -> int:
        alerted = await judge(leadership)
        for alert in alerted.raised:
            about = {"alert": alert.id, "kind": alert.kind, "key": alert.key}
            _log.warning("an alert was raised", reason=alert.message, **about)
        return alerted.deadlines

    return work


def _tidying(prune: PruneFinished) -> Callable[[Leadership], Awaitable[int]]:
    """The work of pruning: what went is a line of the log."""

    async def work(leadership: Leadership) -> int:
        tidied = await prune.execute(leadership)
        if tidied.dropped or tidied.rows.total() > tidied.rows["moved_runs"]:
            _log.info("history was pruned", dropped=tidied.dropped, rows=dict(+tidied.rows))
        if tidied.misplaced:
            _log.warning("attempts or logs lie in no partition of their own", rows=tidied.misplaced)
        return tidied.done

    return work


class _UntilDue:
    """Sleeps until the next due moment, to the millisecond."""

    def __init__(self, next_due: Callable[[], Awaitable[datetime | None]], clock: Clock) -> None:
        self._next_due = next_due
        self._clock = clock
        self._unseen = 0.0

    async def pause(self, done: int | None) -> float:
        due_at = await self._next_due()
        left = LOOK_SECONDS if due_at is None else (due_at - self._clock.now()).total_seconds()
        if left > 0 or done:
            self._unseen = 0.0
            return min(max(left, 0.0), LOOK_SECONDS)
        # It is due and nobody can see to it, or it became due this very moment.
        pause = self._unseen
        self._unseen = min(max(pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        return pause


class _Relaying:
    """Looks often only while something may need a hint."""

    def __init__(self, relay: RelayHints) -> None:
        self._relay = relay
        self._any_open = True

    async def work(self, leadership: Leadership) -> int:
        relayed = await self._relay.execute(leadership)
        self._any_open = relayed.any_open
        return relayed.hints

    async def pause(self, done: int | None) -> float:
        return RELAY_SECONDS if self._any_open or done is None else LOOK_SECONDS


class _Backfilling:
    """Looks soon after runs were started and then ever later, so that short runs follow one another quickly and long
    ones cost little; seldom where no backfill is open, and at once when something may have changed."""

    def __init__(self, backfills: AdvanceBackfills) -> None:
        self._backfills = backfills
        self._any_open = False
        self._looked = False
        self._pause = FIRST_PAUSE_SECONDS

    async def work(self, leadership: Leadership) -> int:
        advanced = await self._backfills.execute(leadership)
        self._any_open = advanced.any_open
        self._looked = True
        return advanced.done

    async def pause(self, done: int | None) -> float:
        looked, self._looked = self._looked, False
        if done is None:
            return LONGEST_PAUSE_SECONDS
        if not looked:
            return 0.0
        if not self._any_open:
            return LOOK_SECONDS
        self._pause = FIRST_PAUSE_SECONDS if done else min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return self._pause


async def _recovering(_done: int | None) -> float:
    return RECOVER_SECONDS


async def _refreshing(done: int | None) -> float:
    """A pass reads one calendar, so that no step lasts long; the next one follows at once where there was one."""
    return 0.0 if done else CALENDARS_SECONDS


async def _pruning(done: int | None) -> float:
    """A pass does not last for ever; where there was more to do than it had time for, the next one follows soon."""
    return LONGEST_PAUSE_SECONDS if done and done >= RUNS_AT_ONCE else PRUNE_SECONDS
