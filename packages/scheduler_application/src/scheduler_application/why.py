"""Why something ran, did not run, or waits: the ledger and the rows, told in sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import NotFound, Rejected
from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import FreezeView, Reader, RunView, TaskRunView, TriggerView, WorkflowView
from scheduler_application.ports.time import Clock
from scheduler_application.why_due import NEAR, fact, ledger_fact, moment_fact, trigger_fact
from scheduler_application.workflow.authoring import seen
from scheduler_domain.run.states import FINAL_RUN_STATES, RunState, TaskState
from scheduler_domain.schedule.deadlines import Verdict

LEDGER_ROWS = 10
_CAME_TO = {"succeeded": "succeeded", "finished": "finished", "started": "been started"}


@dataclass(frozen=True, slots=True)
class WhyCommand:
    """Either a workflow, at a moment or as it stands now, or a run, as a whole or one task of it."""

    workflow: str | None = None
    at: datetime | None = None
    run_id: str | None = None
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """``facts`` have ``code`` and ``text``, and the ids and times that they speak of."""

    summary: str
    facts: list[dict[str, Any]]


class Explain:
    """Who may see the workflow or the run may ask."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def execute(self, command: WhyCommand, actor: Actor) -> Explanation:
        """Raises `NotFound`, and `Rejected` (``exactly_one_of``) unless one of workflow and run is asked about."""
        if (command.workflow is None) == (command.run_id is None):
            raise Rejected("ask about a workflow or about a run", code="exactly_one_of")
        if command.run_id is not None:
            return await self._run(command.run_id, command.task, actor)
        return await self._workflow(command.workflow or "", command.at, actor)

    async def _workflow(self, name: str, at: datetime | None, actor: Actor) -> Explanation:
        workflow = await seen(self._reader, name, actor)
        triggers = await self._reader.triggers(actor.project, workflow.id)
        page = await self._reader.ledger(
            actor.project,
            PageRequest(LEDGER_ROWS),
            workflow=workflow.id,
            due_from=None if at is None else at - NEAR,
            due_to=None if at is None else at + NEAR,
        )
        facts = [ledger_fact(row) for row in page.items]
        if at is not None:
            facts = facts or [
                moment_fact(workflow, triggers, await self._freezes(triggers, actor), at, self._clock.now())
            ]
        else:
            freezes = await self._freezes(triggers, actor)
            now = self._clock.now()
            standing = [
                trigger_fact(one, freezes.get(one.frozen_by or ""), now) for one in sorted(triggers, key=_by_hand)
            ]
            facts = _standing(workflow) + await self._missed_deadlines(workflow, actor) + standing + facts
        return _explained(facts, f"nothing is known of {workflow.name}: it has no trigger and was never due")

    async def _freezes(self, triggers: Sequence[TriggerView], actor: Actor) -> dict[str, FreezeView]:
        """The freezes that hold one of the triggers and are not over, by id."""
        found = {}
        for freeze_id in {trigger.frozen_by for trigger in triggers} - {None}:
            freeze = await self._reader.freeze(actor.project, freeze_id or "")
            if freeze is not None and freeze.lifted_at is None:
                found[freeze.id] = freeze
        return found

    async def _missed_deadlines(self, workflow: WorkflowView, actor: Actor) -> list[dict[str, Any]]:
        """What was expected of the workflow by its last deadlines and did not happen."""
        facts = []
        for one in await self._reader.expectations(actor.project, workflow.id):
            if one.error is not None:
                text = f"the deadlines of {one.name} cannot be judged: {one.error}"
                facts.append(fact("expectation_quarantined", text, expectation=one.name))
            elif one.last_at is not None and one.last_result == Verdict.MISSED:
                by = one.last_at.isoformat()
                text = f"{one.name} was missed: no run of {workflow.name} had {_CAME_TO[one.state]} by {by}"
                facts.append(fact("expectation_missed", text, expectation=one.name, by=by))
        return facts

    async def _run(self, run_id: str, task: str | None, actor: Actor) -> Explanation:
        run = await self._reader.run(actor.project, run_id)
        if run is None:
            raise NotFound("there is no such run")
        tasks = [one for one in run.tasks or [] if task in (None, one.task)]
        if task is not None and not tasks:
            raise NotFound(f"the run has no task '{task[:100]}'")
        facts = [_origin(run)] if task is None else []
        facts += await self._waiting(run, actor)
        if run.state not in FINAL_RUN_STATES or task is not None:
            asked = [one for one in tasks if task is not None or _is_open(one)]
            needs = await self._needs(run, actor) if any(one.state == TaskState.BLOCKED for one in asked) else {}
            facts += [await self._task_fact(run, one, needs.get(one.task, []), actor) for one in asked]
        else:
            facts += [_failure(one) for one in tasks if one.error is not None and one.state != TaskState.SKIPPED]
        return _explained(facts, f"the run is {run.state}")

    async def _waiting(self, run: RunView, actor: Actor) -> list[dict[str, Any]]:
        if run.state != RunState.PENDING:
            return []
        holders = await self._reader.slot_holders(actor.project, run.id)
        held = f", held by run {', '.join(holders)}" if holders else ""
        return [fact("slot", f"it waits for a slot of {run.workflow}{held}", run_id=run.id, held_by=holders)]

    async def _needs(self, run: RunView, actor: Actor) -> dict[str, list[str]]:
        """The needs of each task as the run's version has them; nothing where the workflow is gone."""
        workflow = await self._reader.workflow(actor.project, run.workflow)
        version = None
        if workflow is not None:
            version = await self._reader.version(actor.project, workflow.id, run.version)
        content = (version.definition or {}) if version is not None else {}
        return {key: task.get("needs", []) for key, task in content.get("tasks", {}).items()}

    async def _task_fact(self, run: RunView, task: TaskRunView, needs: Sequence[str], actor: Actor) -> dict[str, Any]:
        label = task.task if task.item_index is None else f"{task.task}[{task.item_index}]"
        about = {"task_run_id": task.id, "task": task.task, "state": task.state}
        match task.state:
            case TaskState.BLOCKED:
                text = f"{label} waits for {_upstream(run, needs)}"
            case TaskState.READY | TaskState.QUEUED:
                text = await self._queue_text(label, task, actor)
            case TaskState.RETRYING:
                text = f"{label} failed and is tried again at {task.wake_at}: {_message(task)}"
            case TaskState.WAITING if task.child_run_id is not None:
                text = f"{label} waits for the run {task.child_run_id}"
            case TaskState.WAITING:
                text = f"{label} waits until {task.wake_at}" if task.wake_at else f"{label} waits for its items"
            case TaskState.RUNNING:
                text = f"{label} runs on worker {task.worker_id} since {task.started_at}, attempt {task.attempt}"
            case TaskState.SKIPPED:
                text = f"{label} was skipped by {_message(task)}"
            case _:
                text = f"{label} {task.state}" + (f": {_message(task)}" if task.error is not None else "")
        return fact(f"task_{task.state}", text, run_id=run.id, **about)

    async def _queue_text(self, label: str, task: TaskRunView, actor: Actor) -> str:
        queue = next((one for one in await self._reader.queues(actor.project) if one.name == task.queue), None)
        if queue is None or queue.workers == 0:
            return f"{label} waits: no live worker serves the queue {task.queue}"
        busy = f"{queue.running} of {queue.slots} slots are taken and {queue.ready} task runs wait"
        return f"{label} waits for a worker of the queue {task.queue} since {task.ready_at}: {busy}"


def _explained(facts: list[dict[str, Any]], otherwise: str) -> Explanation:
    return Explanation(facts[0]["text"] if facts else otherwise, facts)


def _standing(workflow: WorkflowView) -> list[dict[str, Any]]:
    if workflow.live_version is None:
        return [fact("not_deployed", f"{workflow.name} is not deployed: nothing starts it")]
    if not workflow.enabled:
        return [fact("disabled", f"{workflow.name} is disabled: nothing starts it")]
    return []


def _by_hand(trigger: TriggerView) -> bool:
    """What the clock decides comes first."""
    return trigger.kind == "manual"


def _origin(run: RunView) -> dict[str, Any]:
    if run.backfill_id is not None and run.due_at is not None:
        text = f"it was started by the backfill {run.backfill_id} for the due time {run.due_at.isoformat()}"
        return fact("backfill", text, run_id=run.id, backfill_id=run.backfill_id, due_at=run.due_at.isoformat())
    if run.due_at is not None:
        return fact("fired", f"it was started because {run.trigger} was due at {run.due_at.isoformat()}", run_id=run.id)
    if run.parent_run_id is not None:
        return fact("child", f"it was started by run {run.parent_run_id}", run_id=run.id)
    return fact("started", f"it was started by {run.started_by} at {run.created_at.isoformat()}", run_id=run.id)


def _upstream(run: RunView, needs: Sequence[str]) -> str:
    """The needs that are not final, with their states."""
    open_ones = [
        f"{one.task} ({one.state})"
        for one in run.tasks or []
        if one.task in needs and one.item_index is None and _is_open(one)
    ]
    return ", ".join(open_ones) or "what it needs"


def _is_open(task: TaskRunView) -> bool:
    return task.finished_at is None


def _failure(task: TaskRunView) -> dict[str, Any]:
    return fact(
        f"task_{task.state}", f"{task.task} {task.state}: {_message(task)}", task_run_id=task.id, task=task.task
    )


def _message(task: TaskRunView) -> str:
    return str((task.error or {}).get("message", "no reason is recorded"))
