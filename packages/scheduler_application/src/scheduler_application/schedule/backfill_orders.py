"""Backfills in people's hands: made, paused, resumed, cancelled."""

from dataclasses import dataclass

from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, NotFound, Rejected
from scheduler_application.ports.messaging import Signals
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import BackfillView, Reader
from scheduler_application.ports.rows import HeldBackfill, NewBackfill
from scheduler_application.ports.time import Clock, Ids
from scheduler_application.run.control import STOPPED_AT_ONCE, StopRuns
from scheduler_application.schedule.backfill import hindrance
from scheduler_application.schedule.backfill_plan import BackfillCommand, PlanBackfill
from scheduler_application.workflow.authoring import existing
from scheduler_domain.schedule.backfill import (
    FINAL_BACKFILL_STATES,
    BackfillEvent,
    BackfillState,
    backfill_after,
)
from scheduler_domain.workflow.definition import Priority

MAX_UNFINISHED = 100
"""How many backfills of a project may be open or paused."""


@dataclass(frozen=True, slots=True)
class BackfillRef:
    backfill_id: str


class StartBackfill:
    """Makes a backfill, which the leader then carries out. Who may run the workflow may do it."""

    def __init__(
        self, store: Store, reader: Reader, clock: Clock, ids: Ids, signals: Signals, plan: PlanBackfill
    ) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._signals = signals
        self._plan = plan

    async def execute(self, command: BackfillCommand, actor: Actor) -> BackfillView:
        """Raises as `PlanBackfill.plan`, `Rejected` (``nothing_due``) and `Conflict` (``overlapping_backfill``,
        ``too_many_backfills``)."""
        plan = await self._plan.plan(command, actor)
        if not plan.due_ats:
            raise Rejected(f"the trigger '{plan.trigger.name}' has no due time in this range", code="nothing_due")
        row = NewBackfill(
            id=self._ids.new(),
            project_id=actor.project,
            workflow_id=plan.workflow_id,
            trigger_id=plan.trigger.trigger_id,
            from_at=command.from_at,
            to_at=command.to_at,
            only_missing=command.only_missing,
            max_parallel=command.max_parallel,
            priority=Priority(command.priority).rank,
            state=BackfillState.RUNNING,
            next_at=plan.due_ats[0],
            total=len(plan.due_ats),
            created_at=self._clock.now(),
            created_by=actor.principal,
        )

        async def insert(tx: Transaction) -> None:
            # Its lock lets one backfill of the workflow be made at a time.
            await existing(tx, plan.workflow_id, actor, lock=True)
            if not await tx.backfills.insert(row):
                return
            if (other := await tx.backfills.overlapping(row)) is not None:
                message = f"the backfill {other} of the same trigger is not over and its range meets this one"
                raise Conflict(message, code="overlapping_backfill")
            if await tx.backfills.unfinished(actor.project) > MAX_UNFINISHED:
                raise Conflict(f"{MAX_UNFINISHED} backfills are not over yet", code="too_many_backfills")

        await self._store.transact(insert)
        await self._signals.wake_dispatchers()
        return await _visible(self._reader, row.id, actor)


class _Switch:
    """Moves a backfill by ``event``; doing so twice is doing it once."""

    event: BackfillEvent
    target: BackfillState

    def __init__(self, store: Store, reader: Reader, clock: Clock, signals: Signals, stop: StopRuns) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._signals = signals
        self._stop = stop

    async def execute(self, command: BackfillRef, actor: Actor) -> BackfillView:
        """Raises `NotFound`, and `Conflict` (``already_finished``, and what `_check` adds)."""
        await self._store.transact(lambda tx: self._switch(tx, command.backfill_id, actor))
        await self._after(command.backfill_id)
        await self._signals.wake_dispatchers()
        return await _visible(self._reader, command.backfill_id, actor)

    async def _switch(self, tx: Transaction, backfill_id: str, actor: Actor) -> None:
        backfill = await tx.backfills.lock(backfill_id)
        if backfill is None or backfill.project_id != actor.project:
            raise NotFound("there is no such backfill")
        if backfill.state is self.target:
            return
        if backfill.state in FINAL_BACKFILL_STATES:
            raise Conflict(f"the backfill is {backfill.state} already", code="already_finished")
        if backfill_after(backfill.state, self.event) is None:
            raise Conflict(f"the backfill is {backfill.state}: it cannot {self.event}", code="illegal_transition")
        self._check(backfill)
        await tx.backfills.move(backfill_id, self.event, self._reason(actor), self._clock.now())

    def _check(self, backfill: HeldBackfill) -> None:
        """Raises `Conflict` where the move would be undone at once."""

    def _reason(self, actor: Actor) -> str | None:
        """What the backfill says about its new state."""

    async def _after(self, backfill_id: str) -> None:
        """What follows the commit."""


class PauseBackfill(_Switch):
    """It starts nothing more; the runs that it has go on."""

    event = BackfillEvent.PAUSE
    target = BackfillState.PAUSED

    def _reason(self, actor: Actor) -> str | None:
        return f"paused by {actor.principal}"


class ResumeBackfill(_Switch):
    """It goes on where it was paused; `Conflict` (``hindered``) where what paused it still holds."""

    event = BackfillEvent.RESUME
    target = BackfillState.RUNNING

    def _check(self, backfill: HeldBackfill) -> None:
        reason = hindrance(backfill)
        if reason is not None:
            raise Conflict(f"the backfill cannot go on: {reason}", code="hindered")


class CancelBackfill(_Switch):
    """It starts nothing more, and the runs that it has are cancelled. When the last has ended, it is cancelled; should
    this process die before, the leader sees to it."""

    event = BackfillEvent.CANCEL
    target = BackfillState.CANCELLING

    async def _after(self, backfill_id: str) -> None:
        while True:
            run_ids = await self._store.transact(lambda tx: tx.backfills.stoppable_runs(backfill_id, STOPPED_AT_ONCE))
            if not run_ids:
                return
            await self._stop.execute(run_ids, "cancel")


async def _visible(reader: Reader, backfill_id: str, actor: Actor) -> BackfillView:
    view = await reader.backfill(actor.project, backfill_id)
    if view is None:
        raise NotFound("there is no such backfill")
    return view
