"""How a run comes into being inside a transaction: its rows, its slot, its first ready tasks.

The same for runs that a person, the clock or a parent starts.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from scheduler_application.json_values import json_text
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.rows import NO_ITEM, BlockedTask, LockedRun, NewRun, NewTaskRun, Slot, UnhintedTask
from scheduler_application.ports.time import Ids
from scheduler_application.run.definitions import Version
from scheduler_application.run.scope import run_scope
from scheduler_domain.run.states import RunState, TaskState
from scheduler_domain.schedule.fire_policy import OverlapPolicy
from scheduler_domain.workflow.definition import Concurrency, OnConflict, Priority, TaskDefinition, WorkflowDefinition

_LONGEST_SLOT_KEY = 200
_TURN = "trigger:"
"""Begins the slot keys of triggers; those of a workflow's concurrency are JSON text, which nothing begins like this."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to begin. ``inputs`` are resolved; ``carried`` has, for a rerun, the outputs (JSON text) of tasks that
    succeeded before. ``slot`` comes from `in_its_slot` or `in_its_turn`, and
    ``concurrency`` is the rule for it."""

    run_id: str
    project_id: str
    version: Version
    inputs: Mapping[str, Any]
    started_by: str
    traceparent: str
    trigger_id: str | None = None
    due_at: datetime | None = None
    scheduled_for: str | None = None
    parent_task_run_id: str | None = None
    depth: int = 0
    rerun_of: str | None = None
    carried: Mapping[str, str | None] = field(default_factory=dict)
    priority: Priority | None = None
    timeout: float | None = None
    slot: Slot | None = None
    concurrency: Concurrency | None = None
    backfill_id: str | None = None


class Begun(NamedTuple):
    """What came of a request. ``state`` is ``None`` where no run was made: its concurrency says skip, its due time has
    one, or the run is there already (an earlier try was committed and its answer lost)."""

    request: RunRequest
    state: RunState | None
    skipped_by: str | None
    locked: LockedRun | None
    ready: list[UnhintedTask]
    roots: list[BlockedTask]


class Beginning(NamedTuple):
    """``make_room`` are runs that their concurrency ends for the sake of newer ones."""

    begun: list[Begun]
    make_room: list[str]


async def begin_runs(
    tx: Transaction,
    requests: Sequence[RunRequest],
    live: dict[Slot, int],
    requested_at: datetime,
    now: datetime,
    ids: Ids,
) -> Beginning:
    """Begins many runs in the caller's transaction, which has locked their slots: ``live`` says how many runs each
    has. Runs are created at ``requested_at``; those with room start ``now``."""
    known = await _known(tx, requests)
    admissions = [_admit(request, live) if request.run_id not in known else _Admission(None) for request in requests]
    plans = [
        _plan(request, admission.state, requested_at, now, ids) if admission.state is not None else None
        for request, admission in zip(requests, admissions, strict=True)
    ]
    made = [plan for plan in plans if plan is not None]
    inserted = await tx.runs.insert_runs([plan.run for plan in made])
    await tx.runs.insert_task_runs([row for plan in made if plan.run.id in inserted for row in plan.tasks])
    for request, admission in zip(requests, admissions, strict=True):
        if request.slot is not None and admission.state is RunState.RUNNING and request.run_id not in inserted:
            live[request.slot] -= 1
    if live:
        await tx.runs.set_slots(live)
    begun = [
        _begun(request, plan, admission, inserted)
        for request, plan, admission in zip(requests, plans, admissions, strict=True)
    ]
    return Beginning(begun, await _outnumbered(tx, begun))


def in_its_slot(request: RunRequest, now: datetime, variables: Mapping[str, Any]) -> RunRequest:
    """The request with the concurrency key that its run holds or waits for; raises `ExpressionError` where that cannot
    be evaluated."""
    concurrency = request.version.definition.concurrency
    if concurrency is None:
        return request
    if concurrency.key is None:
        return replace(request, slot=Slot(request.version.workflow_id, ""), concurrency=concurrency)
    scope = {
        "inputs": request.inputs,
        "vars": variables,
        "run": run_scope(
            run_id=request.run_id,
            workflow=request.version.definition.name,
            started_by=request.started_by,
            scheduled_for=request.scheduled_for,
            created_at=now,
            failed=False,
        ),
    }
    key = json_text(concurrency.key.render(scope))
    if len(key) > _LONGEST_SLOT_KEY:
        key = hashlib.sha256(key.encode()).hexdigest()
    return replace(request, slot=Slot(request.version.workflow_id, key), concurrency=concurrency)


def in_its_turn(request: RunRequest, trigger_id: str, overlap: OverlapPolicy) -> RunRequest:
    """The request of a trigger whose runs go one after the other. Its workflow has no concurrency of its own."""
    slot = Slot(request.version.workflow_id, f"{_TURN}{trigger_id}")
    return replace(request, slot=slot, concurrency=Concurrency(1, None, OnConflict(overlap.value)))


def slot_limit(slot: Slot, definition: WorkflowDefinition) -> int | None:
    """How many runs may hold a slot at a time; ``None`` where the definition does not bound it any more."""
    if slot.key.startswith(_TURN):
        return 1
    return None if definition.concurrency is None else definition.concurrency.limit


async def _known(tx: Transaction, requests: Sequence[RunRequest]) -> set[str]:
    """Runs that a former try of this transaction made; they must not meet themselves in their slots."""
    run_ids = [request.run_id for request in requests if request.slot is not None]
    return {row.id for row in await tx.runs.lock_runs(run_ids)} if run_ids else set()


class _Admission(NamedTuple):
    state: RunState | None
    skipped_by: str | None = None


def _admit(request: RunRequest, live: dict[Slot, int]) -> _Admission:
    concurrency = request.concurrency
    if request.slot is None or concurrency is None:
        return _Admission(RunState.RUNNING)
    if live[request.slot] < concurrency.limit:
        live[request.slot] += 1
        return _Admission(RunState.RUNNING)
    if concurrency.on_conflict is OnConflict.SKIP:
        return _Admission(None, "concurrency:skip")
    return _Admission(RunState.PENDING)


async def _outnumbered(tx: Transaction, begun: Sequence[Begun]) -> list[str]:
    """What ``cancel_running`` ends: of each key that a new run waits for, all runs but the newest that have room."""
    limits: dict[Slot, int] = {}
    for one in begun:
        concurrency, slot = one.request.concurrency, one.request.slot
        if one.state is not RunState.PENDING or slot is None or concurrency is None:
            continue
        if concurrency.on_conflict is OnConflict.CANCEL_RUNNING:
            limits[slot] = concurrency.limit
    return [run_id for slot, limit in limits.items() for run_id in (await tx.runs.runs_of_slot(slot))[:-limit]]


class _Plan(NamedTuple):
    run: NewRun
    tasks: list[NewTaskRun]


def _plan(request: RunRequest, state: RunState, requested_at: datetime, now: datetime, ids: Ids) -> _Plan:
    definition = request.version.definition
    timeout = min(
        (limit for limit in (definition.timeout, request.timeout) if limit is not None),
        default=None,
    )
    running = state is RunState.RUNNING
    run = NewRun(
        id=request.run_id,
        project_id=request.project_id,
        workflow_id=request.version.workflow_id,
        version_id=request.version.id,
        state=state,
        trigger_id=request.trigger_id,
        due_at=request.due_at,
        scheduled_for=request.scheduled_for,
        started_by=request.started_by,
        inputs=json_text(request.inputs),
        priority=(request.priority or definition.priority).rank,
        slot_key=None if request.slot is None else request.slot.key,
        tasks_total=len(definition.tasks),
        tasks_left=len(definition.tasks) - len(request.carried),
        parent_task_run_id=request.parent_task_run_id,
        depth=request.depth,
        rerun_of=request.rerun_of,
        traceparent=request.traceparent,
        created_at=requested_at,
        started_at=now if running else None,
        deadline_at=None if timeout is None else requested_at + timedelta(seconds=timeout),
        backfill_id=request.backfill_id,
    )
    return _Plan(
        run,
        [_task_row(request, task, now, ids, running=running) for task in definition.tasks.values()],
    )


def _task_row(request: RunRequest, task: TaskDefinition, now: datetime, ids: Ids, *, running: bool) -> NewTaskRun:
    carried = task.key in request.carried
    left = sum(1 for need in task.needs if need not in request.carried)
    if carried:
        state = TaskState.SUCCEEDED
    else:
        state = TaskState.READY if running and left == 0 and starts_plainly(task) else TaskState.BLOCKED
    return NewTaskRun(
        id=ids.new(),
        run_id=request.run_id,
        project_id=request.project_id,
        task=task.key,
        item_index=NO_ITEM,
        group_id=None,
        state=state,
        queue=task.queue,
        priority=(request.priority or task.priority).rank,
        needs_left=left,
        item=None,
        output=request.carried.get(task.key),
        created_at=now,
        ready_at=now if state is TaskState.READY else None,
        finished_at=now if carried else None,
    )


def starts_plainly(task: TaskDefinition) -> bool:
    """Whether a task without needs is ready at once: nothing about it is to be evaluated, and a worker executes it."""
    return task.needs_worker and task.when is None and task.for_each is None and not task.needs


def _begun(request: RunRequest, plan: _Plan | None, admission: _Admission, inserted: set[str]) -> Begun:
    if plan is None or plan.run.id not in inserted:
        return Begun(request, None, admission.skipped_by, None, [], [])
    row = plan.run
    locked = LockedRun(
        id=row.id,
        project_id=row.project_id,
        workflow_id=row.workflow_id,
        version_id=row.version_id,
        state=row.state,
        tasks_left=row.tasks_left,
        tasks_failed=0,
        tasks_cancelled=0,
        slot_key=row.slot_key,
        stop_reason=None,
        parent_task_run_id=row.parent_task_run_id,
        depth=row.depth,
        priority=row.priority,
        started_by=row.started_by,
        traceparent=row.traceparent,
        inputs=row.inputs,
        trigger_id=row.trigger_id,
        due_at=row.due_at,
        scheduled_for=row.scheduled_for,
        created_at=row.created_at,
        started_at=row.started_at,
    )
    ready = [
        UnhintedTask(task.id, 0, task.queue, task.priority) for task in plan.tasks if task.state is TaskState.READY
    ]
    roots = [
        BlockedTask(task.id, row.id, task.task, NO_ITEM, None, 0, 1, 0, 0, TaskState.BLOCKED)
        for task in plan.tasks
        if row.state is RunState.RUNNING and task.state is TaskState.BLOCKED and task.needs_left == 0
    ]
    return Begun(request, row.state, None, locked, ready, roots)
