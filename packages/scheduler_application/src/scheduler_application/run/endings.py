"""Third step of `advance`: runs without an open task end, free their slot, and settle the task run that waits for
them."""

from collections.abc import Sequence
from typing import Any

from scheduler_application.json_values import json_text, json_value
from scheduler_application.ports.rows import BlockedTask, ParentTask, Resolution, Slot
from scheduler_application.run.begin import slot_limit
from scheduler_application.run.open_runs import (
    MAX_OUTPUT_BYTES,
    OpenRun,
    OpenRuns,
    error_text,
)
from scheduler_application.run.progress import EndedRun
from scheduler_application.run.unreadable import UNREADABLE_VALUE
from scheduler_domain.run.outcome import (
    Cancelled,
    Failed,
    Outcome,
    Succeeded,
    TaskError,
    TimedOut,
)
from scheduler_domain.run.planning import run_verdict
from scheduler_domain.run.retry import judge
from scheduler_domain.run.states import RunState, TaskState, advance_run


async def end_runs(runs: OpenRuns, ended: Sequence[OpenRun]) -> None:
    """Gives each run its final state; what that sets free is in ``runs.unblocked`` and ``runs.settled`` afterwards."""
    for run in ended:
        slot = run.slot if run.started_at is not None else None
        live = 0 if slot is None else (await runs.lock_slots([slot]))[slot]
        event = run_verdict(stop_reason=run.stop_reason, failed=run.failed, cancelled=run.cancelled)
        run.state, run.finished_at = advance_run(run.state, event), runs.now
        run.changed = True
        seconds = (runs.now - run.row.created_at).total_seconds()
        runs.progress.ended.append(EndedRun(run.row.id, run.state, seconds))
        runs.progress.changed_run(run.row.project_id, run.row.id, run.state)
        if slot is not None:
            await _free_slot(runs, run, slot, live - 1)
    waiting = [run for run in ended if run.row.parent_task_run_id is not None]
    if waiting:
        await _settle_parents(runs, waiting)


async def _free_slot(runs: OpenRuns, run: OpenRun, slot: Slot, live: int) -> None:
    """``live`` is how many runs hold the slot without this one."""
    # The limit of the version that ends counts: a deploy that lifts it takes effect as the old runs leave.
    limit = slot_limit(slot, run.version.definition)
    free = 1 if limit is None else max(0, limit - live)
    admitted = await runs.admit(slot, free) if free else 0
    await runs.tx.runs.set_slots({slot: live + admitted}, runs.now)


async def _settle_parents(runs: OpenRuns, children: Sequence[OpenRun]) -> None:
    parents = await runs.tx.upkeep.parents([run.row.parent_task_run_id or "" for run in children])
    await runs.lock(parent.run_id for parent in parents)
    by_id = {run.row.id: run for run in children}
    rows = {}
    resolutions = []
    for parent in parents:
        outcome = await _outcome_of(runs, by_id[parent.child_run_id])
        resolutions.append(_verdict(runs, parent, outcome))
        rows[parent.id] = _as_blocked(parent)
    await runs.resolve(rows, resolutions)


async def _outcome_of(runs: OpenRuns, child: OpenRun) -> Outcome:
    match child.state:
        case RunState.SUCCEEDED:
            try:
                return Succeeded(await _output_of(runs, child))
            except ValueError as error:
                message = f"an output of the run {child.row.id} cannot be read: {error}"
                return Failed(TaskError(UNREADABLE_VALUE, message), retryable=False)
        case RunState.TIMED_OUT:
            return TimedOut((runs.now - child.row.created_at).total_seconds())
        case RunState.CANCELLED:
            return Failed(
                TaskError("child_cancelled", f"the run {child.row.id} was cancelled"),
                retryable=False,
            )
        case _:
            return Failed(TaskError("child_failed", f"the run {child.row.id} failed"))


async def _output_of(runs: OpenRuns, child: OpenRun) -> dict[str, Any]:
    """``{"run_id", "outputs": {task: output}}`` of the tasks that nothing follows; without outputs where they are too
    long."""
    definition = child.version.definition
    leaves = [(child.row.id, key) for key, followers in definition.successors.items() if not followers]
    results = await runs.tx.graph.results(leaves[:100])
    outputs = {result.task: result.output for result in results if result.output is not None}
    if sum(len(text.encode()) for text in outputs.values()) > MAX_OUTPUT_BYTES:
        return {"run_id": child.row.id, "outputs": {}, "truncated": True}
    return {
        "run_id": child.row.id,
        "outputs": {task: json_value(text) for task, text in outputs.items()},
    }


def _verdict(runs: OpenRuns, parent: ParentTask, outcome: Outcome) -> Resolution:
    run = runs[parent.run_id]
    verdict = judge(
        Cancelled() if run.stopping else outcome,
        run.task(parent.task).retry,
        attempt=parent.attempt,
        now=runs.now,
        stopping=run.stopping,
        uniform=runs.engine.randomness.uniform,
        state=TaskState.WAITING,
    )
    runs.progress.wakes(verdict.wake_at)
    return Resolution(
        parent.id,
        verdict.state,
        wake_at=verdict.wake_at,
        output=None if verdict.output is None else json_text(verdict.output),
        error=error_text(verdict.error),
        child_run_id=parent.child_run_id,
    )


def _as_blocked(parent: ParentTask) -> BlockedTask:
    return BlockedTask(
        parent.id,
        parent.run_id,
        parent.task,
        parent.item_index,
        parent.group_id,
        parent.claim_no,
        parent.attempt,
        0,
        0,
        TaskState.WAITING,
    )
