"""Firing: one pass decides what is due, for many triggers in one transaction. It costs what is due, not what exists."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduler_application.errors import ApplicationError, NotFound
from scheduler_application.leading import Leadership
from scheduler_application.ports.observing import Metrics, Tracer
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import DueTrigger, LedgerRow
from scheduler_application.ports.time import Clock
from scheduler_application.run.advance import advance
from scheduler_application.run.announce import Announcer
from scheduler_application.run.begin import RunRequest, in_its_slot
from scheduler_application.run.open_runs import Engine, OpenRuns
from scheduler_application.run.progress import Progress
from scheduler_application.run.scope import run_scope
from scheduler_domain.errors import DomainError
from scheduler_domain.schedule.policies import (
    Decisions,
    DueDecision,
    DueOutcome,
    MisfirePolicy,
    decide_due,
)
from scheduler_domain.schedule.timetable import parse_timetable
from scheduler_domain.schedule.zones import zone_named
from scheduler_domain.workflow.parameters import resolve_inputs

FIRED_AT_ONCE = 500
"""How many triggers one transaction decides."""

DECIDED_AT_ONCE = 1_000
"""About how many due times one transaction decides; what is over waits for the next pass, which follows at once."""


@dataclass(slots=True)
class _Due:
    trigger: DueTrigger
    decisions: Decisions
    requests: dict[datetime, RunRequest]
    refusals: dict[datetime, str]


class FireDueSchedules:
    """Records every due time in the ledger with the rule that decided it, and starts the runs of those that fire. For
    the leader."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Clock,
        announcer: Announcer,
        metrics: Metrics,
        tracer: Tracer,
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._announcer = announcer
        self._metrics = metrics
        self._tracer = tracer

    async def execute(self, leadership: Leadership) -> int:
        """How many due times were decided; raises `LeadershipLost`, `Unavailable`."""
        total = 0
        while True:
            began = self._clock.monotonic()
            rows, more, progress = await self._store.transact(lambda tx: self._fire(tx, leadership))
            if rows:
                self._metrics.batch("fire", len(rows), self._clock.monotonic() - began)
            for row in rows:
                self._metrics.fired(row.outcome, max(0.0, (row.decided_at - row.due_at).total_seconds()))
            self._announcer.tell(progress)
            total += len(rows)
            if not more:
                return total

    async def _fire(self, tx: Transaction, leadership: Leadership) -> tuple[Sequence[LedgerRow], bool, Progress]:
        await leadership.check(tx)
        runs = OpenRuns(tx, self._engine, self._clock.now())
        found = await tx.triggers.due(runs.now, FIRED_AT_ONCE)
        decided, all_decided = await self._decide_all(tx, found, runs.now)
        beginning = await runs.begin([request for due in decided for request in due.requests.values()])
        made = {begun.request.run_id: begun for begun in beginning.begun}
        rows = []
        for due in decided:
            for decision in due.decisions.rows:
                request = due.requests.get(decision.due_at)
                begun = made.get(request.run_id) if request is not None else None
                skipped = due.refusals.get(decision.due_at) or (begun.skipped_by if begun is not None else None)
                run_id = begun.request.run_id if begun is not None and begun.state is not None else None
                rows.append(
                    _ledger_row(
                        due.trigger,
                        decision,
                        run_id,
                        skipped,
                        runs.now,
                        leadership.epoch,
                    )
                )
        await tx.triggers.record(rows)
        await tx.triggers.advance([_move(due) for due in decided])
        more = len(found) == FIRED_AT_ONCE or not all_decided or any(_is_due(due, runs.now) for due in decided)
        for due in decided:
            runs.progress.wakes(due.decisions.next_at)
        return rows, more, await advance(runs)

    async def _decide_all(self, tx: Transaction, found: Iterable[DueTrigger], now: datetime) -> tuple[list[_Due], bool]:
        """The decisions, and whether there was room for all of ``found``."""
        decided: list[_Due] = []
        room = DECIDED_AT_ONCE
        for trigger in found:
            if room <= 0:
                return decided, False
            try:
                due = await self._decide(tx, trigger, now, room)
            except (ApplicationError, DomainError, ValueError, OverflowError) as error:
                # One row that cannot be evaluated must not stop the others: it is put aside with the reason.
                await tx.triggers.quarantine(trigger.id, f"{type(error).__name__}: {error}")
                continue
            room -= len(due.decisions.rows)
            decided.append(due)
        return decided, True

    async def _decide(self, tx: Transaction, trigger: DueTrigger, now: datetime, room: int) -> _Due:
        timetable = parse_timetable(
            trigger.kind,
            trigger.expression,
            trigger.timezone,
            anchor=trigger.anchor_at,
            seed=trigger.id,
        )
        decisions = decide_due(timetable, trigger.next_at, now, MisfirePolicy(trigger.misfire), limit=room)
        due = _Due(trigger, decisions, {}, {})
        for decision in decisions.rows:
            if trigger.skip_until is not None and decision.due_at <= trigger.skip_until:
                due.refusals[decision.due_at] = "paused"
                continue
            if decision.outcome is not DueOutcome.FIRED:
                continue
            if trigger.version_id is None or not trigger.enabled:
                due.refusals[decision.due_at] = "disabled" if trigger.version_id is not None else "undeployed"
                continue
            due.requests[decision.due_at] = await self._request(tx, trigger, decision.due_at, now)
        return due

    async def _request(self, tx: Transaction, trigger: DueTrigger, due_at: datetime, now: datetime) -> RunRequest:
        version = await self._engine.definitions.get(tx, trigger.version_id or "")
        definition = next(
            (one for one in version.definition.triggers if one.name == trigger.name),
            None,
        )
        if definition is None:
            raise NotFound(f"version {version.number} has no trigger '{trigger.name}'")
        run_id = self._engine.ids.new()
        local = due_at.astimezone(zone_named(trigger.timezone)).isoformat()
        scope = {
            "vars": self._engine.variables,
            "run": run_scope(
                run_id=run_id,
                workflow=version.definition.name,
                started_by=f"trigger:{trigger.name}",
                scheduled_for=local,
                created_at=now,
                failed=False,
            ),
        }
        given = {name: template.render(scope) for name, template in definition.inputs.items()}
        request = RunRequest(
            run_id=run_id,
            project_id=trigger.project_id,
            version=version,
            inputs=resolve_inputs(version.definition.inputs, given, scope),
            started_by=f"trigger:{trigger.name}",
            traceparent=self._tracer.start_trace("fire"),
            trigger_id=trigger.id,
            due_at=due_at,
            scheduled_for=local,
        )
        return in_its_slot(request, now, self._engine.variables)


def _ledger_row(
    trigger: DueTrigger,
    decision: DueDecision,
    run_id: str | None,
    skipped_by: str | None,
    now: datetime,
    epoch: int,
) -> LedgerRow:
    outcome = DueOutcome.SKIPPED if skipped_by is not None else decision.outcome
    return LedgerRow(
        trigger.id,
        decision.due_at,
        trigger.project_id,
        trigger.workflow_id,
        outcome,
        skipped_by or decision.rule,
        run_id,
        now,
        epoch,
    )


def _move(due: _Due) -> tuple[str, datetime | None, datetime | None]:
    last = due.decisions.rows[-1].due_at if due.decisions.rows else None
    return (due.trigger.id, due.decisions.next_at, last)


def _is_due(due: _Due, now: datetime) -> bool:
    return due.decisions.next_at is not None and due.decisions.next_at <= now


class NextDue:
    """When anything is due next: a trigger, a wake-up, a run's deadline. The dispatcher sleeps until then."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def execute(self) -> datetime | None:
        return await self._store.transact(lambda tx: tx.triggers.next_due_at())
