"""Recovery: what lost workers left running starts again under a new fence, or fails. For the leader."""

from collections.abc import Sequence

from scheduler_application.leading import Leadership
from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import OwnedTask, Slot
from scheduler_application.ports.time import Clock
from scheduler_application.run.advance import advance
from scheduler_application.run.announce import Announcer
from scheduler_application.run.open_runs import Engine, OpenRuns
from scheduler_application.run.progress import Progress
from scheduler_application.run.record import End, write_ends
from scheduler_domain.run.retry import judge_loss

RECOVERED_AT_ONCE = 500


class RecoverLostWorkers:
    """Marks workers whose lease ran out (by the store's clock) as lost and takes over what they left, page by page."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Clock,
        announcer: Announcer,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._announcer = announcer
        self._metrics = metrics

    async def execute(self, leadership: Leadership) -> int:
        """How many task runs were taken over; raises `LeadershipLost`, `Unavailable`."""
        total = 0
        while True:
            taken, progress = await self._store.transact(lambda tx: self._recover(tx, leadership))
            self._announcer.tell(progress)
            total += taken
            if taken:
                self._metrics.worker_lost(taken)
            if taken < RECOVERED_AT_ONCE:
                return total

    async def _recover(self, tx: Transaction, leadership: Leadership) -> tuple[int, Progress]:
        await leadership.check(tx)
        gone = await tx.workers.expired(RECOVERED_AT_ONCE)
        runs = OpenRuns(tx, self._engine, self._clock)
        if not gone:
            return 0, runs.progress
        seen = await tx.upkeep.owned_by(gone, RECOVERED_AT_ONCE)
        slots = [Slot(task.workflow_id, task.slot_key) for task in seen if task.slot_key is not None]
        await runs.lock((task.run_id for task in seen), slots)
        written = await write_ends(runs, self._judge(runs, seen))
        return len(written), await advance(runs)

    @staticmethod
    def _judge(runs: OpenRuns, tasks: Sequence[OwnedTask]) -> list[End]:
        ends = []
        for owned in tasks:
            run = runs[owned.run_id]
            task = run.task(owned.task)
            verdict = judge_loss(task.on_worker_loss, owned.worker_losses + 1, stopping=run.stopping)
            ends.append(
                End(
                    owned.id,
                    owned.run_id,
                    owned.task,
                    owned.item_index,
                    owned.group_id,
                    owned.claim_no,
                    owned.attempt,
                    owned.worker_id,
                    owned.queue,
                    owned.priority,
                    owned.started_at,
                    verdict,
                    None,
                    lost=True,
                )
            )
        return ends
