"""What people do to runs: cancel, run again, stop everything of a workflow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, NotFound
from scheduler_application.json_values import json_value
from scheduler_application.leading import Leadership
from scheduler_application.ports.observing import Tracer
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import Reader, RunView, TaskRunView
from scheduler_application.ports.rows import LockedRun
from scheduler_application.ports.time import Clock
from scheduler_application.run.advance import advance
from scheduler_application.run.announce import Announcer
from scheduler_application.run.begin import RunRequest, in_its_slot
from scheduler_application.run.open_runs import Engine, OpenRuns
from scheduler_application.run.progress import Progress
from scheduler_application.run.start import StartedRun
from scheduler_application.run.unreadable import UNREADABLE_VALUE
from scheduler_domain.run.states import (
    FINAL_RUN_STATES,
    FINAL_TASK_STATES,
    RunState,
    TaskState,
)
from scheduler_domain.workflow.definition import Priority, WorkflowDefinition
from scheduler_domain.workflow.graph import topological_order

STOPPED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class RunCommand:
    run_id: str


@dataclass(frozen=True, slots=True)
class TaskRunCommand:
    task_run_id: str


@dataclass(frozen=True, slots=True)
class RerunCommand:
    """``from_failed`` keeps the results of tasks that succeeded and runs the rest, with whatever needs something of it;
    without it everything runs again. Both on the run's own version and with its inputs."""

    run_id: str
    from_failed: bool = False
    traceparent: str | None = None


class StopRuns:
    """Stops runs, whatever is stopping them: what is idle ends in this transaction, what runs is ended by its worker,
    child runs follow."""

    def __init__(self, store: Store, engine: Engine, clock: Clock, announcer: Announcer) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._announcer = announcer

    async def execute(self, run_ids: Iterable[str], reason: str, leadership: Leadership | None = None) -> None:
        """``reason`` is ``cancel`` or ``timeout``. Runs that are final or being stopped are left alone."""
        waiting = list(run_ids)
        while waiting:
            page, waiting = waiting[:STOPPED_AT_ONCE], waiting[STOPPED_AT_ONCE:]
            stop = partial(self._stop, run_ids=page, reason=reason, leadership=leadership)
            progress = await self._store.transact(stop)
            waiting += progress.to_cancel
            progress.to_cancel = []
            self._announcer.tell(progress)

    async def _stop(
        self,
        tx: Transaction,
        run_ids: Sequence[str],
        reason: str,
        leadership: Leadership | None,
    ) -> Progress:
        if leadership is not None:
            await leadership.check(tx)
        runs = OpenRuns(tx, self._engine, self._clock)
        await runs.lock(run_ids, await tx.runs.slots_of(run_ids))
        await runs.stop(run_ids, reason)
        return await advance(runs)


class CancelRun:
    """Cancels one run. Its processes are told at once and are gone after their grace; cancelling twice is one
    cancel."""

    def __init__(self, stop: StopRuns, reader: Reader) -> None:
        self._stop = stop
        self._reader = reader

    async def execute(self, command: RunCommand, actor: Actor) -> RunView:
        """Raises `NotFound`, and `Conflict` (``already_finished``) for a run that is final."""
        run = await _visible_run(self._reader, command.run_id, actor)
        if run.state in FINAL_RUN_STATES:
            raise Conflict(f"the run is {run.state} already", code="already_finished")
        await self._stop.execute([run.id], "cancel")
        return await _visible_run(self._reader, command.run_id, actor)


class StopWorkflow:
    """Cancels every live run of a workflow."""

    def __init__(self, stop: StopRuns, store: Store) -> None:
        self._stop = stop
        self._store = store

    async def execute(self, workflow: str, actor: Actor) -> list[str]:
        """The ids of the runs that are being stopped; raises `NotFound`."""

        async def find(tx: Transaction) -> list[str]:
            row = await tx.workflows.find(actor.project, workflow)
            if row is None:
                raise NotFound(f"there is no workflow '{workflow[:100]}'")
            return await tx.workflows.live_runs(row["id"])

        run_ids = await self._store.transact(find)
        await self._stop.execute(run_ids, "cancel")
        return run_ids


class RerunRun:
    """Runs a finished run again, as a new run of the same version with the same inputs."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        engine: Engine,
        clock: Clock,
        announcer: Announcer,
        tracer: Tracer,
    ) -> None:
        self._store = store
        self._reader = reader
        self._engine = engine
        self._clock = clock
        self._announcer = announcer
        self._tracer = tracer

    async def execute(self, command: RerunCommand, actor: Actor) -> StartedRun:
        """Raises `NotFound`, and `Conflict` (``still_running``, ``nothing_failed``, ``skipped``)."""
        run = await _visible_run(self._reader, command.run_id, actor)
        if run.state not in FINAL_RUN_STATES:
            raise Conflict(f"the run is still {run.state}", code="still_running")
        if command.from_failed and run.state == RunState.SUCCEEDED:
            raise Conflict("nothing of the run failed; rerun it whole", code="nothing_failed")
        command = replace(command, run_id=run.id)
        run_id = self._engine.ids.new()
        trace = self._tracer.start_trace("rerun", command.traceparent)
        state, progress = await self._store.transact(lambda tx: self._begin(tx, command, actor, run_id, trace))
        self._announcer.tell(progress)
        return StartedRun(run_id, state)

    async def _begin(
        self,
        tx: Transaction,
        command: RerunCommand,
        actor: Actor,
        run_id: str,
        trace: str,
    ) -> tuple[str, Progress]:
        runs = OpenRuns(tx, self._engine, self._clock)
        former = await tx.history.former(command.run_id)
        if former is None:
            raise NotFound("there is no such run")
        version = await self._engine.definitions.get(tx, former.version_id)
        carried: dict[str, str | None] = {}
        if command.from_failed:
            results = await tx.history.former_results(former.id)
            succeeded = {row.task: row.output for row in results if row.state is TaskState.SUCCEEDED}
            carried = _carried(version.definition, succeeded)
        request = RunRequest(
            run_id=run_id,
            project_id=former.project_id,
            version=version,
            inputs=_inputs_of(former),
            started_by=actor.principal,
            traceparent=trace,
            scheduled_for=former.scheduled_for,
            rerun_of=former.id,
            carried=carried,
            priority=tuple(Priority)[former.priority],
        )
        begun = (await runs.begin([in_its_slot(request, runs.now, self._engine.variables)])).begun[0]
        if begun.skipped_by is not None:
            raise Conflict(
                "the workflow's concurrency skips a run while another one lives",
                code="skipped",
            )
        return begun.state or "accepted", await advance(runs)


def _inputs_of(run: LockedRun) -> dict[str, Any]:
    try:
        return dict(json_value(run.inputs))
    except (TypeError, ValueError) as error:
        raise Conflict(f"the run's inputs cannot be read: {error}", code=UNREADABLE_VALUE) from None


def _carried(definition: WorkflowDefinition, succeeded: Mapping[str, str | None]) -> dict[str, str | None]:
    """Of the outputs of tasks that succeeded those that may be kept: nothing that the task needs runs again."""
    carried: dict[str, str | None] = {}
    for key in topological_order({task.key: task.needs for task in definition.tasks.values()}):
        if key in succeeded and all(need in carried for need in definition.tasks[key].needs):
            carried[key] = succeeded[key]
    return carried


class CancelTaskRun:
    """Cancels one task run (of a ``for_each``: all its items); its run goes on with what follows."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        engine: Engine,
        clock: Clock,
        announcer: Announcer,
        stop: StopRuns,
    ) -> None:
        self._store = store
        self._reader = reader
        self._engine = engine
        self._clock = clock
        self._announcer = announcer
        self._stop = stop

    async def execute(self, command: TaskRunCommand, actor: Actor) -> TaskRunView:
        """Raises `NotFound`, and `Conflict` (``already_finished``)."""
        seen = await _visible_task_run(self._reader, command.task_run_id, actor)
        if seen.state in FINAL_TASK_STATES:
            raise Conflict(f"the task run is {seen.state} already", code="already_finished")
        progress = await self._store.transact(lambda tx: self._cancel(tx, seen))
        self._announcer.tell(progress)
        await self._stop.execute(progress.to_cancel, "cancel")
        return await _visible_task_run(self._reader, command.task_run_id, actor)

    async def _cancel(self, tx: Transaction, seen: TaskRunView) -> Progress:
        runs = OpenRuns(tx, self._engine, self._clock)
        await runs.lock([seen.run_id], await tx.runs.slots_of([seen.run_id]))
        runs.cancelled(await tx.upkeep.cancel_idle_task(seen.id, runs.now))
        runs.progress.to_end += await tx.upkeep.request_cancel(seen.id)
        return await advance(runs)


class RetryTaskRun:
    """Runs a finished run again from the task runs that did not succeed."""

    def __init__(self, rerun: RerunRun, reader: Reader) -> None:
        self._rerun = rerun
        self._reader = reader

    async def execute(self, command: TaskRunCommand, actor: Actor) -> StartedRun:
        """Raises `NotFound`, and `Conflict` (``still_running``, ``nothing_failed``)."""
        seen = await _visible_task_run(self._reader, command.task_run_id, actor)
        if seen.state == TaskState.SUCCEEDED:
            raise Conflict("the task run succeeded", code="nothing_failed")
        return await self._rerun.execute(RerunCommand(seen.run_id, from_failed=True), actor)


class EnforceRunDeadlines:
    """Stops runs past their timeout, and child runs that the cancel of their parent did not reach. For the leader."""

    def __init__(self, store: Store, stop: StopRuns, clock: Clock) -> None:
        self._store = store
        self._stop = stop
        self._clock = clock

    async def execute(self, leadership: Leadership) -> int:
        """How many runs were stopped; raises `LeadershipLost`, `Unavailable`."""

        async def find(tx: Transaction) -> tuple[list[str], list[str]]:
            await leadership.check(tx)
            overdue = await tx.upkeep.overdue_runs(self._clock.now(), STOPPED_AT_ONCE)
            return overdue, await tx.upkeep.orphans(STOPPED_AT_ONCE)

        overdue, orphans = await self._store.transact(find)
        if overdue:
            await self._stop.execute(overdue, "timeout", leadership)
        if orphans:
            await self._stop.execute(orphans, "cancel", leadership)
        return len(overdue) + len(orphans)


async def _visible_run(reader: Reader, run_id: str, actor: Actor) -> RunView:
    run = await reader.run(actor.project, run_id)
    if run is None:
        raise NotFound("there is no such run")
    return run


async def _visible_task_run(reader: Reader, task_run_id: str, actor: Actor) -> TaskRunView:
    task_run = await reader.task_run(actor.project, task_run_id)
    if task_run is None:
        raise NotFound("there is no such task run")
    return task_run
