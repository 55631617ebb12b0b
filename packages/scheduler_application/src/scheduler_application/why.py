"""Why something ran, did not run, or waits: the ledger and the rows, told in sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import NotFound, Rejected
from scheduler_application.paging import PageRequest
from scheduler_application.ports.reading import LedgerView, Reader, RunView, TaskRunView, TriggerView, WorkflowView
from scheduler_application.ports.time import Clock
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
        span = timedelta(minutes=1)
        page = await self._reader.ledger(
            actor.project,
            PageRequest(LEDGER_ROWS),
            workflow=workflow.id,
            due_from=None if at is None else at - span,
            due_to=None if at is None else at + span,
        )
        facts = [_ledger_fact(row) for row in page.items]
        if at is not None:
            facts = facts or [_nothing_due(workflow, triggers, at)]
        else:
            facts = (
                _standing(workflow)
                + await self._missed_deadlines(workflow, actor)
                + [_trigger_fact(trigger, self._clock.now()) for trigger in sorted(triggers, key=_by_hand)]
                + facts
            )
        return _explained(facts, f"nothing is known of {workflow.name}: it has no trigger and was never due")

    async def _missed_deadlines(self, workflow: WorkflowView, actor: Actor) -> list[dict[str, Any]]:
        """What was expected of the workflow by its last deadlines and did not happen."""
        facts = []
        for one in await self._reader.expectations(actor.project, workflow.id):
            if one.error is not None:
                text = f"the deadlines of {one.name} cannot be judged: {one.error}"
                facts.append(_fact("expectation_quarantined", text, expectation=one.name))
            elif one.last_at is not None and one.last_result == Verdict.MISSED:
                by = one.last_at.isoformat()
                text = f"{one.name} was missed: no run of {workflow.name} had {_CAME_TO[one.state]} by {by}"
                facts.append(_fact("expectation_missed", text, expectation=one.name, by=by))
        return facts

    async def _run(self, run_id: str, task: str | None, actor: Actor) -> Explanation:
        run = await self._reader.run(actor.project, run_id)
        if run is None:
            raise NotFound("there is no such run")
        tasks = [one for one in run.tasks or [] if task in (None, one.task)]
        if task is not None and not tasks:
            raise NotFound(f"the run has no task '{task[:100]}'")
        facts = [_origin(run)] if task is None else []
        facts += await self._waiting(run)
        if run.state not in FINAL_RUN_STATES or task is not None:
            facts += [await self._task_fact(run, one, actor) for one in tasks if task is not None or _is_open(one)]
        else:
            facts += [_failure(one) for one in tasks if one.error is not None and one.state != TaskState.SKIPPED]
        return _explained(facts, f"the run is {run.state}")

    @staticmethod
    async def _waiting(run: RunView) -> list[dict[str, Any]]:
        if run.state != RunState.PENDING:
            return []
        return [_fact("slot", f"it waits for a slot of the concurrency of {run.workflow}", run_id=run.id)]

    async def _task_fact(self, run: RunView, task: TaskRunView, actor: Actor) -> dict[str, Any]:
        label = task.task if task.item_index is None else f"{task.task}[{task.item_index}]"
        about = {"task_run_id": task.id, "task": task.task, "state": task.state}
        match task.state:
            case TaskState.BLOCKED:
                text = f"{label} waits for what it needs"
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
        return _fact(f"task_{task.state}", text, run_id=run.id, **about)

    async def _queue_text(self, label: str, task: TaskRunView, actor: Actor) -> str:
        queue = next((one for one in await self._reader.queues(actor.project) if one.name == task.queue), None)
        if queue is None or queue.workers == 0:
            return f"{label} waits: no live worker serves the queue {task.queue}"
        busy = f"{queue.running} of {queue.slots} slots are taken and {queue.ready} task runs wait"
        return f"{label} waits for a worker of the queue {task.queue} since {task.ready_at}: {busy}"


def _explained(facts: list[dict[str, Any]], otherwise: str) -> Explanation:
    return Explanation(facts[0]["text"] if facts else otherwise, facts)


def _fact(code: str, text: str, **about: Any) -> dict[str, Any]:
    return {"code": code, "text": text, **about}


def _ledger_fact(row: LedgerView) -> dict[str, Any]:
    due = row.due_at.isoformat()
    started = f" as run {row.run_id}" if row.run_id is not None else ""
    text = f"{row.trigger} was due at {due}: {row.outcome}{started} ({row.rule})"
    return _fact(row.outcome, text, due_at=due, rule=row.rule, run_id=row.run_id, trigger=row.trigger)


def _nothing_due(workflow: WorkflowView, triggers: Sequence[TriggerView], at: datetime) -> dict[str, Any]:
    upcoming = [
        trigger
        for trigger in triggers
        if trigger.next_at is not None and abs(trigger.next_at - at) <= timedelta(minutes=1)
    ]
    if upcoming:
        text = f"{upcoming[0].name} is due at {upcoming[0].next_at} and has not been decided yet"
        return _fact("undecided", text, trigger=upcoming[0].name)
    return _fact("not_due", f"no trigger of {workflow.name} was due within a minute of {at.isoformat()}")


def _standing(workflow: WorkflowView) -> list[dict[str, Any]]:
    if workflow.live_version is None:
        return [_fact("not_deployed", f"{workflow.name} is not deployed: nothing starts it")]
    if not workflow.enabled:
        return [_fact("disabled", f"{workflow.name} is disabled: nothing starts it")]
    return []


def _by_hand(trigger: TriggerView) -> bool:
    """What the clock decides comes first."""
    return trigger.kind == "manual"


def _trigger_fact(trigger: TriggerView, now: datetime) -> dict[str, Any]:
    about = {"trigger": trigger.name, "next_at": None if trigger.next_at is None else trigger.next_at.isoformat()}
    if trigger.error is not None:
        return _fact("quarantined", f"{trigger.name} cannot be evaluated: {trigger.error}", **about)
    if trigger.paused:
        return _fact("paused", f"{trigger.name} is paused", **about)
    if trigger.kind == "manual":
        return _fact("manual", f"{trigger.name} fires by hand only", **about)
    if trigger.next_at is None:
        return _fact("over", f"{trigger.name} has no due time any more", **about)
    if trigger.next_at < now:
        return _fact(
            "late", f"{trigger.name} has been due since {trigger.next_at}: no dispatcher has decided it", **about
        )
    return _fact("next", f"{trigger.name} is due next at {trigger.next_at.isoformat()}", **about)


def _origin(run: RunView) -> dict[str, Any]:
    if run.due_at is not None:
        return _fact(
            "fired", f"it was started because {run.trigger} was due at {run.due_at.isoformat()}", run_id=run.id
        )
    if run.parent_run_id is not None:
        return _fact("child", f"it was started by run {run.parent_run_id}", run_id=run.id)
    return _fact("started", f"it was started by {run.started_by} at {run.created_at.isoformat()}", run_id=run.id)


def _is_open(task: TaskRunView) -> bool:
    return task.finished_at is None


def _failure(task: TaskRunView) -> dict[str, Any]:
    return _fact(
        f"task_{task.state}", f"{task.task} {task.state}: {_message(task)}", task_run_id=task.id, task=task.task
    )


def _message(task: TaskRunView) -> str:
    return str((task.error or {}).get("message", "no reason is recorded"))
