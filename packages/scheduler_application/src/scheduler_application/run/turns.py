"""Second step of `advance`: task runs whose turn has come become ready, wait, fan out, start a child run, or are
skipped."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from scheduler_application.errors import ApplicationError
from scheduler_application.json_values import json_text, json_value
from scheduler_application.ports.rows import NO_ITEM, BlockedTask, NewTaskRun, Resolution, SettledTask, UnhintedTask
from scheduler_application.run.begin import RunRequest, in_its_slot
from scheduler_application.run.decide import (
    FanOut,
    MakeReady,
    Refuse,
    Skip,
    StartChild,
    WaitUntil,
    decide,
)
from scheduler_application.run.open_runs import OpenRun, OpenRuns, error_text
from scheduler_application.run.scope import named_tasks, scope_of, tasks_scope
from scheduler_application.run.unreadable import UNREADABLE_VALUE
from scheduler_domain.errors import DomainError
from scheduler_domain.run.outcome import TaskError
from scheduler_domain.run.planning import MAX_DEPTH, Needs
from scheduler_domain.run.states import TaskState
from scheduler_domain.workflow.definition import TaskDefinition
from scheduler_domain.workflow.parameters import resolve_inputs


async def take_turns(runs: OpenRuns) -> None:
    """Works off ``runs.unblocked``; what became final by it is in ``runs.settled`` afterwards."""
    blocked, runs.unblocked = runs.unblocked, []
    scopes = await _scopes(runs, blocked)
    resolutions = [await _resolution(runs, row, scopes[row.id]) for row in blocked]
    await runs.resolve({row.id: row for row in blocked}, resolutions)


async def _resolution(  # noqa: PLR0911 - one answer for each kind of decision
    runs: OpenRuns, row: BlockedTask, scope: Mapping[str, Any] | Refuse
) -> Resolution:
    run = runs[row.run_id]
    task = run.task(row.task)
    if run.stopping:
        return Resolution(row.id, TaskState.CANCELLED)
    needs = Needs(len(task.needs), row.needs_failed, row.needs_skipped)
    again = row.state is not TaskState.BLOCKED or row.item_index != NO_ITEM
    decision = scope if isinstance(scope, Refuse) else decide(task, needs, scope, runs.now, again=again)
    match decision:
        case MakeReady():
            runs.progress.ready.append(UnhintedTask(row.id, row.claim_no, task.queue, _rank(run, task)))
            return Resolution(row.id, TaskState.READY)
        case Skip(rule):
            return Resolution(
                row.id,
                TaskState.SKIPPED,
                error=json_text({"code": "skipped", "message": rule}),
            )
        case WaitUntil(moment):
            runs.progress.wakes(moment)
            return Resolution(row.id, TaskState.WAITING, wake_at=moment)
        case FanOut(items):
            return await _fan_out(runs, row, items)
        case StartChild(workflow, inputs):
            return await _start_child(runs, row, workflow, inputs)
        case Refuse(error):
            return Resolution(row.id, TaskState.FAILED, error=error_text(error))


def _rank(run: OpenRun, task: TaskDefinition) -> int:
    """A run that was started with a priority of its own gives it to all its task runs."""
    chosen = run.row.priority != run.version.definition.priority.rank
    return run.row.priority if chosen else task.priority.rank


async def _scopes(runs: OpenRuns, blocked: Sequence[BlockedTask]) -> dict[str, dict[str, Any] | Refuse]:
    """What the control expressions of each may see; a refusal where a stored value that they name cannot be read."""
    references = {row.id: _control_references(runs[row.run_id].task(row.task)) for row in blocked}
    wanted = {(row.run_id, task) for row in blocked for task in named_tasks(references[row.id])}
    results: dict[str, list[SettledTask]] = defaultdict(list)
    if wanted:
        for result in await runs.tx.graph.results(sorted(wanted)):
            results[result.run_id].append(result)
    scopes: dict[str, dict[str, Any] | Refuse] = {}
    for row in blocked:
        try:
            scopes[row.id] = _scope(runs, row, results[row.run_id]) if references[row.id] else {}
        except ValueError as error:
            message = f"a value that the task needs cannot be read: {error}"
            scopes[row.id] = Refuse(TaskError(UNREADABLE_VALUE, message))
    return scopes


def _scope(runs: OpenRuns, row: BlockedTask, results: Sequence[SettledTask]) -> dict[str, Any]:
    run = runs[row.run_id]
    scope = scope_of(run.row, run.version.definition.name, runs.engine.variables, failed=run.failed)
    scope["tasks"] = tasks_scope(results)
    if row.item_index != NO_ITEM:
        scope |= {"item": json_value(row.item), "index": row.item_index}
    return scope


def _control_references(task: TaskDefinition) -> frozenset[tuple[str, ...]]:
    found: frozenset[tuple[str, ...]] = frozenset()
    if task.when is not None:
        found |= task.when.references
    if task.for_each is not None:
        found |= task.for_each.references
    return found if task.needs_worker else found | task.settings.references


async def _fan_out(runs: OpenRuns, row: BlockedTask, items: Sequence[Any]) -> Resolution:
    if not items:
        return Resolution(row.id, TaskState.SUCCEEDED, output="[]")
    run = runs[row.run_id]
    task = run.task(row.task)
    width = task.max_parallel or len(items)
    rows = [_item_row(runs, row, run, task, index, item, at_once=index < width) for index, item in enumerate(items)]
    await runs.tx.runs.insert_task_runs(rows)
    for item in rows[:width]:
        if item.state is TaskState.READY:
            runs.progress.ready.append(UnhintedTask(item.id, 0, item.queue, item.priority))
        else:
            runs.unblocked.append(
                BlockedTask(
                    item.id,
                    row.run_id,
                    row.task,
                    item.item_index,
                    row.id,
                    0,
                    1,
                    0,
                    0,
                    TaskState.BLOCKED,
                    item.item,
                )
            )
    return Resolution(row.id, TaskState.WAITING, items=len(rows))


def _item_row(
    runs: OpenRuns,
    row: BlockedTask,
    run: OpenRun,
    task: TaskDefinition,
    index: int,
    item: Any,
    *,
    at_once: bool,
) -> NewTaskRun:
    ready = at_once and task.needs_worker
    return NewTaskRun(
        id=runs.engine.ids.new(),
        run_id=row.run_id,
        project_id=run.row.project_id,
        task=row.task,
        item_index=index,
        group_id=row.id,
        state=TaskState.READY if ready else TaskState.BLOCKED,
        queue=task.queue,
        priority=_rank(run, task),
        needs_left=0,
        item=json_text(item),
        output=None,
        created_at=runs.now,
        ready_at=runs.now if ready else None,
        finished_at=None,
    )


async def _start_child(runs: OpenRuns, row: BlockedTask, workflow: str, inputs: Mapping[str, Any]) -> Resolution:
    try:
        child = await _begin_child(runs, row, workflow, inputs)
    except ApplicationError as error:
        refusal = TaskError(error.code, str(error))
    except DomainError as error:
        refusal = TaskError("invalid_inputs", str(error))
    except ValueError as error:
        refusal = TaskError(UNREADABLE_VALUE, f"the inputs of the run cannot be read: {error}")
    else:
        return Resolution(row.id, TaskState.WAITING, child_run_id=child)
    return Resolution(row.id, TaskState.FAILED, error=error_text(refusal))


async def _begin_child(runs: OpenRuns, row: BlockedTask, workflow: str, inputs: Mapping[str, Any]) -> str:
    run = runs[row.run_id]
    if run.row.depth >= MAX_DEPTH:
        raise ApplicationError(f"child runs may start child runs {MAX_DEPTH} deep", code="chain_too_deep")
    live = (await runs.tx.workflows.live(run.row.project_id, [workflow])).get(workflow)
    if live is None or live.version_id is None:
        raise ApplicationError(f"the workflow '{workflow}' is not deployed", code="not_deployed")
    if not live.enabled:
        raise ApplicationError(f"the workflow '{workflow}' is disabled", code="disabled")
    version = await runs.engine.definitions.get(runs.tx, live.version_id)
    scope = scope_of(run.row, run.version.definition.name, runs.engine.variables, failed=run.failed)
    request = RunRequest(
        run_id=runs.engine.ids.new(),
        project_id=run.row.project_id,
        version=version,
        inputs=resolve_inputs(version.definition.inputs, inputs, scope),
        started_by=f"run:{run.row.id}",
        traceparent=run.row.traceparent,
        parent_task_run_id=row.id,
        depth=run.row.depth + 1,
        timeout=run.task(row.task).timeout,
    )
    begun = (await runs.begin([in_its_slot(request, runs.now, runs.engine.variables)])).begun[0]
    if begun.state is None:
        raise ApplicationError(f"the concurrency of '{workflow}' skipped the run", code="skipped")
    return request.run_id
