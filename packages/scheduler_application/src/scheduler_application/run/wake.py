"""Timers: retries whose pause is over, waits that end, runs past their deadline. For the leader."""

from collections.abc import Sequence

from scheduler_application.leading import Leadership
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import BlockedTask, Resolution, Slot, WakingTask
from scheduler_application.ports.time import Clock
from scheduler_application.run.advance import advance
from scheduler_application.run.announce import Announcer
from scheduler_application.run.open_runs import Engine, OpenRuns
from scheduler_application.run.progress import Progress
from scheduler_domain.run.states import TaskEvent, TaskState, advance_task

WOKEN_AT_ONCE = 500


class WakeDueTasks:
    """Retrying task runs become ready (or start their next child run), waits end as succeeded."""

    def __init__(self, store: Store, engine: Engine, clock: Clock, announcer: Announcer) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._announcer = announcer

    async def execute(self, leadership: Leadership) -> int:
        """How many were woken; raises `LeadershipLost`, `Unavailable`."""
        total = 0
        while True:
            woken, progress = await self._store.transact(lambda tx: self._wake(tx, leadership))
            self._announcer.tell(progress)
            total += woken
            if woken < WOKEN_AT_ONCE:
                return total

    async def _wake(self, tx: Transaction, leadership: Leadership) -> tuple[int, Progress]:
        await leadership.check(tx)
        runs = OpenRuns(tx, self._engine, self._clock)
        due = await tx.upkeep.waking(runs.now, WOKEN_AT_ONCE)
        if not due:
            return 0, runs.progress
        await runs.lock(
            (task.run_id for task in due),
            [Slot(t.workflow_id, t.slot_key) for t in due if t.slot_key is not None],
        )
        await self._retry(runs, [task for task in due if task.state is TaskState.RETRYING])
        await self._end_waits(runs, [task for task in due if task.state is TaskState.WAITING])
        return len(due), await advance(runs)

    @staticmethod
    async def _retry(runs: OpenRuns, tasks: Sequence[WakingTask]) -> None:
        executed = [task.id for task in tasks if runs[task.run_id].task(task.task).needs_worker]
        if executed:
            runs.progress.ready += await runs.tx.upkeep.wake(executed, runs.now)
        # The engine's own kinds (a child run) take their turn again instead of going to a worker.
        own = [task for task in tasks if not runs[task.run_id].task(task.task).needs_worker]
        if own:
            still = await runs.tx.upkeep.next_attempt([task.id for task in own])
            runs.unblocked += [_as_blocked(task) for task in own if task.id in still]

    @staticmethod
    async def _end_waits(runs: OpenRuns, tasks: Sequence[WakingTask]) -> None:
        if not tasks:
            return
        state = advance_task(TaskState.WAITING, TaskEvent.SUCCEED)
        await runs.resolve(
            {t.id: _as_blocked(t) for t in tasks},
            [Resolution(task.id, state) for task in tasks],
        )


def _as_blocked(task: WakingTask) -> BlockedTask:
    return BlockedTask(
        task.id,
        task.run_id,
        task.task,
        task.item_index,
        task.group_id,
        task.claim_no,
        task.attempt,
        0,
        0,
        task.state,
        task.item,
    )
