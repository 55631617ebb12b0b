"""The runs that one transaction has locked, and what still is to be worked off about them. `advance` works it off."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler_application.errors import Conflict, NotFound
from scheduler_application.json_values import json_text
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.rows import (
    BlockedTask,
    CancelledTask,
    LockedRun,
    Resolution,
    RunChange,
    SettledTask,
    Slot,
)
from scheduler_application.ports.time import Clock, Ids, Randomness
from scheduler_application.run.begin import Beginning, RunRequest, begin_runs
from scheduler_application.run.definitions import UNREADABLE_VERSION, Definitions, Version
from scheduler_application.run.progress import Progress
from scheduler_application.run.unreadable import unknown_task, unreadable_version
from scheduler_domain.run.outcome import TaskError
from scheduler_domain.run.planning import UNREADABLE
from scheduler_domain.run.states import (
    FINAL_TASK_STATES,
    RunEvent,
    RunState,
    TaskState,
    advance_run,
    run_sources,
)
from scheduler_domain.workflow.definition import TaskDefinition

MAX_OUTPUT_BYTES = 65_536
"""The most that one task run may hand on."""

MAX_COLLECTED_BYTES = 16 * MAX_OUTPUT_BYTES
"""The most that the items of a ``for_each`` or the tasks of a child run may hand on together."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What the engine needs beside the transaction; one per process. ``variables`` are ``vars`` in expressions."""

    definitions: Definitions
    ids: Ids
    randomness: Randomness
    variables: Mapping[str, Any]


@dataclass(slots=True)
class OpenRun:
    """A locked run and its figures as this transaction changes them. ``unreadable`` says why its version does not tell
    what it is made of, where that is so: `advance` stops such a run, and it fails."""

    row: LockedRun
    version: Version
    state: RunState
    stop_reason: str | None
    left: int
    failed: int
    cancelled: int
    started_at: datetime | None
    finished_at: datetime | None = None
    changed: bool = False
    unreadable: str | None = None

    @property
    def stopping(self) -> bool:
        return self.state is RunState.CANCELLING

    @property
    def slot(self) -> Slot | None:
        return None if self.row.slot_key is None else Slot(self.row.workflow_id, self.row.slot_key)

    def task(self, key: str) -> TaskDefinition:
        task = self.version.definition.tasks.get(key)
        if task is None:
            self._misses(key)
            return unknown_task(key)
        return task

    def successors(self, key: str) -> tuple[str, ...]:
        found = self.version.definition.successors.get(key)
        if found is None:
            self._misses(key)
            return ()
        return found

    def _misses(self, key: str) -> None:
        self.unreadable = self.unreadable or f"version {self.version.number} of the workflow has no task '{key}'"

    def count(self, state: TaskState) -> None:
        """One of the run's tasks has become final."""
        self.left -= 1
        self.failed += state in (TaskState.FAILED, TaskState.TIMED_OUT)
        self.cancelled += state is TaskState.CANCELLED
        self.changed = True

    def stop(self, reason: str) -> None:
        self.state = advance_run(self.state, RunEvent.CANCEL)
        self.stop_reason = reason
        self.changed = True

    @property
    def stoppable(self) -> bool:
        return self.state in run_sources(RunEvent.CANCEL)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is open any more, and it has not been given its final state yet."""
        return self.left == 0 and self.state in (RunState.RUNNING, RunState.CANCELLING)


class OpenRuns:
    """Use: ``lock`` or ``begin`` runs, hand in what became final (``settled``) or whose turn has come (``unblocked``),
    then `advance`.

    ``now`` is what this transaction stamps. It moves on where the transaction has waited for others.
    """

    def __init__(self, tx: Transaction, engine: Engine, clock: Clock) -> None:
        self.tx = tx
        self.engine = engine
        self.now = clock.now()
        self._clock = clock
        self.settled: list[SettledTask] = []
        self.unblocked: list[BlockedTask] = []
        self.progress = Progress()
        self._runs: dict[str, OpenRun] = {}
        self._unreadable: dict[str, str] = {}

    def __getitem__(self, run_id: str) -> OpenRun:
        return self._runs[run_id]

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._runs

    async def lock(self, run_ids: Iterable[str], slots: Iterable[Slot] = ()) -> None:
        """Locks the slots, then the runs, the youngest first: a child run, whose end concerns its parent, is younger
        than it. Those that exist are open from now on."""
        await self.lock_slots(slots)
        wanted = set(run_ids) - self._runs.keys()
        if wanted:
            rows = await self.tx.runs.lock_runs(sorted(wanted, reverse=True))
            await self.engine.definitions.load(self.tx, (row.version_id for row in rows))
            for row in rows:
                await self._open(row)

    async def lock_slots(self, slots: Iterable[Slot]) -> dict[Slot, int]:
        """How many live runs each has. Who had a slot before may have stamped what it did after this transaction
        began, by a clock a little ahead of this one; what follows now must not seem to be earlier."""
        wanted = sorted(set(slots))
        if not wanted:
            return {}
        locked = await self.tx.runs.lock_slots(wanted)
        self.now = max(self.now, self._clock.now(), *(slot.left_at for slot in locked.values() if slot.left_at))
        return {slot: state.live for slot, state in locked.items()}

    async def begin(self, requests: Sequence[RunRequest]) -> Beginning:
        """Begins new runs, opens them, and stops those that their concurrency ends for them."""
        requested_at = self.now
        live = await self.lock_slots(request.slot for request in requests if request.slot is not None)
        beginning = await begin_runs(self.tx, requests, live, requested_at, self.now, self.engine.ids)
        for begun in beginning.begun:
            if begun.locked is not None:
                await self._open(begun.locked)
                self.progress.ready += begun.ready
                self.unblocked += begun.roots
                self.progress.changed_run(begun.locked.project_id, begun.locked.id, begun.locked.state)
        if beginning.make_room:
            await self.lock(beginning.make_room)
            await self.stop(beginning.make_room, "cancel")
        return beginning

    async def stop(self, run_ids: Iterable[str], reason: str, error: TaskError | None = None) -> None:
        """Stops open runs whose slots are locked: what is idle of them is settled next, what runs is ended by its
        worker, their child runs are left in ``progress.to_cancel``. Runs that are final or being stopped are left
        alone."""
        stopped = [run_id for run_id in run_ids if run_id in self._runs and self._runs[run_id].stoppable]
        if not stopped:
            return
        await self.tx.runs.stop_runs(stopped, reason, error_text(error))
        for run_id in stopped:
            run = self._runs[run_id]
            run.stop(reason)
            self.progress.changed_run(run.row.project_id, run_id, run.state)
        self.cancelled(await self.tx.upkeep.cancel_idle(stopped, self.now))
        self.progress.to_end += await self.tx.upkeep.running_in(stopped)

    async def stop_unreadable(self) -> bool:
        """Stops the open runs that their version does not explain any more; whether there were any."""
        found = [run for run in self._runs.values() if run.unreadable is not None and run.stoppable]
        for run in found:
            self.progress.put_aside["run"] += 1
            await self.stop([run.row.id], UNREADABLE, TaskError(UNREADABLE_VERSION, run.unreadable or ""))
        return bool(found)

    def cancelled(self, tasks: Iterable[CancelledTask]) -> None:
        """Task runs of open runs were cancelled while nothing of them ran; that is settled next."""
        state = TaskState.CANCELLED
        for task in tasks:
            self.settled.append(SettledTask(task.run_id, task.task, task.item_index, state, None, task.group_id))
            self.changed_task(task.run_id, task.id, task.task, state)
            if task.child_run_id is not None:
                self.progress.to_cancel.append(task.child_run_id)

    async def admit(self, slot: Slot, limit: int) -> int:
        """Lets pending runs of a locked slot run, the oldest first; how many there were."""
        admitted = await self.tx.runs.admit(slot, limit, self.now)
        await self.lock(admitted)
        for run_id in admitted:
            run = self._runs[run_id]
            run.state, run.started_at = RunState.RUNNING, self.now
            self.progress.changed_run(run.row.project_id, run_id, run.state)
        self.unblocked += await self.tx.graph.roots(admitted) if admitted else []
        return len(admitted)

    async def resolve(self, rows: Mapping[str, BlockedTask], resolutions: Sequence[Resolution]) -> None:
        """Writes decisions about task runs of open runs; what they made final is settled next."""
        written = await self.tx.graph.resolve(resolutions, self.now)
        for resolution in resolutions:
            if resolution.id not in written:
                continue
            row = rows[resolution.id]
            self.changed_task(row.run_id, row.id, row.task, resolution.state)
            if resolution.state in FINAL_TASK_STATES:
                self.settled.append(
                    SettledTask(
                        row.run_id,
                        row.task,
                        row.item_index,
                        resolution.state,
                        resolution.output,
                        row.group_id,
                    )
                )

    def changed_task(self, run_id: str, task_run_id: str, task: str, state: TaskState) -> None:
        """Tells watchers, after the commit."""
        self.progress.changed_task(self._runs[run_id].row.project_id, run_id, task_run_id, task, state)

    def finished(self) -> list[OpenRun]:
        """Open runs that have no open task left."""
        return [run for run in self._runs.values() if run.is_over]

    async def save(self) -> None:
        """Writes the figures and states that changed."""
        changes = [
            RunChange(
                run.row.id,
                run.left,
                run.failed,
                run.cancelled,
                run.state,
                run.started_at,
                run.finished_at,
            )
            for run in self._runs.values()
            if run.changed
        ]
        if changes:
            await self.tx.runs.save_runs(changes, self.now)

    async def _open(self, row: LockedRun) -> None:
        if row.started_at is not None:
            # The transaction that let it run may have begun after this one, and had the locks before it.
            self.now = max(self.now, row.started_at)
        unreadable = self._unreadable.get(row.version_id)
        if unreadable is None:
            try:
                version = await self.engine.definitions.get(self.tx, row.version_id)
            except (Conflict, NotFound) as error:
                unreadable = self._unreadable[row.version_id] = str(error)
        if unreadable is not None:
            version = unreadable_version(row.version_id, row.workflow_id)
        self._runs[row.id] = OpenRun(
            row,
            version,
            row.state,
            row.stop_reason,
            row.tasks_left,
            row.tasks_failed,
            row.tasks_cancelled,
            row.started_at,
            unreadable=unreadable,
        )


def error_text(error: TaskError | None) -> str | None:
    return None if error is None else json_text(error.to_json())
