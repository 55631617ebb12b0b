"""Firing: one pass decides what is due, for many triggers in one transaction. It costs what is due, not what exists."""

from collections.abc import Sequence
from datetime import datetime

from scheduler_application.errors import ApplicationError, Unavailable
from scheduler_application.leading import Leadership
from scheduler_application.ports.calendars import Calendars
from scheduler_application.ports.observing import Metrics, Tracer
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import DueTrigger
from scheduler_application.ports.time import Clock
from scheduler_application.run.advance import advance
from scheduler_application.run.announce import Announcer
from scheduler_application.run.open_runs import Engine, OpenRuns
from scheduler_application.run.progress import Progress
from scheduler_application.schedule.due import DueDecider, DueTimes, freezing
from scheduler_domain.errors import DomainError
from scheduler_domain.schedule.fire_policy import OverlapPolicy

FIRED_AT_ONCE = 500
"""How many triggers one transaction decides."""

DECIDED_AT_ONCE = 1_000
"""About how many due times one transaction decides; what is over waits for the next pass, which follows at once."""


FIRING_SECONDS = 1.0
"""After so long the leader's other duties have their turn, however much is still due."""


class FireDueSchedules:
    """Records every due time in the ledger with the rule that decided it, and starts the runs of those that fire. For
    the leader."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        calendars: Calendars,
        clock: Clock,
        announcer: Announcer,
        metrics: Metrics,
        tracer: Tracer,
    ) -> None:
        self._store = store
        self._engine = engine
        self._calendars = calendars
        self._clock = clock
        self._announcer = announcer
        self._metrics = metrics
        self._tracer = tracer

    async def execute(self, leadership: Leadership) -> int:
        """How many due times were decided, of more than `FIRING_SECONDS` take not all; raises `LeadershipLost`,
        `Unavailable`."""
        total = 0
        until = self._clock.monotonic() + FIRING_SECONDS
        while True:
            began = self._clock.monotonic()
            fired, more, progress = await self._store.transact(lambda tx: self._fire(tx, leadership))
            if fired:
                self._metrics.batch("fire", len(fired), self._clock.monotonic() - began)
            for outcome, lateness in fired:
                self._metrics.fired(outcome, lateness)
            self._announcer.tell(progress)
            total += len(fired)
            if not more or self._clock.monotonic() >= until:
                return total

    async def _fire(
        self, tx: Transaction, leadership: Leadership
    ) -> tuple[Sequence[tuple[str, float]], bool, Progress]:
        """The outcomes with how late they were decided (seconds), whether more is due already, and what to tell."""
        await leadership.check(tx)
        runs = OpenRuns(tx, self._engine, self._clock)
        found = await tx.triggers.due(runs.now, FIRED_AT_ONCE)
        decided, all_decided = await self._decide_all(tx, await self._unfrozen(tx, found, runs), runs)
        await _apply_overlaps(tx, decided)
        beginning = await runs.begin([request for due in decided for request in due.requests.values()])
        made = {begun.request.run_id: begun for begun in beginning.begun}
        fired = []
        ledger = []
        for due in decided:
            rows = due.ledger_rows(made, runs.now, leadership.epoch)
            ledger += rows
            fired += [(row.outcome, max(0.0, (runs.now - row.due_at - due.spread).total_seconds())) for row in rows]
        await tx.triggers.record(ledger)
        moves = [due.move for due in decided]
        await tx.triggers.advance(moves)
        more = (
            len(found) == FIRED_AT_ONCE
            or not all_decided
            or any(move.next_at is not None and move.next_at <= runs.now for move in moves)
        )
        return fired, more, await advance(runs)

    async def _unfrozen(self, tx: Transaction, found: Sequence[DueTrigger], runs: OpenRuns) -> list[DueTrigger]:
        """Those that no freeze holds; the others are looked at again when theirs ends."""
        freezes = await tx.freezes.active(runs.now) if found else []
        if not freezes:
            return list(found)
        free, held = [], []
        for trigger in found:
            try:
                freeze = freezing(trigger, freezes)
            except (ValueError, TypeError) as error:
                await _put_aside(runs, trigger, error)
                continue
            if freeze is None:
                free.append(trigger)
            else:
                held.append((trigger.id, freeze.id, freeze.ends_at))
        await tx.freezes.hold(held)
        return free

    async def _decide_all(
        self, tx: Transaction, found: Sequence[DueTrigger], runs: OpenRuns
    ) -> tuple[list[DueTimes], bool]:
        """The decisions, and whether there was room for all of ``found``."""
        decider = DueDecider(tx, self._engine, self._calendars, self._tracer, runs.now)
        decided: list[DueTimes] = []
        room = DECIDED_AT_ONCE
        await self._engine.definitions.load(tx, (one.version_id for one in found if one.version_id is not None))
        for place, trigger in enumerate(found):
            if room <= 0:
                return decided, False
            try:
                # One that has a million due times to catch up with leaves room for those that have one.
                due = await decider.decide(trigger, max(1, room // (len(found) - place)))
            except Unavailable:
                raise  # It is the store that is at fault, not the row.
            except (ApplicationError, DomainError, ValueError, OverflowError, KeyError, TypeError) as error:
                # One row that cannot be evaluated must not stop the others: it is put aside with the reason.
                await _put_aside(runs, trigger, error)
                continue
            room -= len(due.decisions.rows)
            decided.append(due)
        return decided, True


async def _put_aside(runs: OpenRuns, trigger: DueTrigger, error: Exception) -> None:
    runs.progress.put_aside["trigger"] += 1
    await runs.tx.triggers.quarantine(trigger.id, f"{type(error).__name__}: {error}")


async def _apply_overlaps(tx: Transaction, decided: Sequence[DueTimes]) -> None:
    bounded = [due for due in decided if due.requests and due.policy.overlap is not OverlapPolicy.ALLOW]
    if bounded:
        live = await tx.triggers.live_runs([due.trigger.id for due in bounded])
        for due in bounded:
            due.apply_overlap(live.get(due.trigger.id, 0))


class NextDue:
    """When anything is due next: a trigger, a wake-up, a run's deadline. The dispatcher sleeps until then."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def execute(self) -> datetime | None:
        return await self._store.transact(lambda tx: tx.triggers.next_due_at())

    async def fire(self) -> datetime | None:
        """Of triggers only."""
        return await self._store.transact(lambda tx: tx.triggers.next_fire_at())

    async def wake(self) -> datetime | None:
        """Of all but triggers."""
        return await self._store.transact(lambda tx: tx.triggers.next_wake_at())
