"""What people do to workers."""

from dataclasses import dataclass

from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, NotFound
from scheduler_application.ports.messaging import Signals
from scheduler_application.ports.persistence import Store
from scheduler_application.ports.reading import Reader, WorkerView


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    worker_id: str


class DrainWorker:
    """The worker takes nothing more, finishes what it has and leaves. It is told at once, and by its next heartbeat at
    the latest."""

    def __init__(self, store: Store, reader: Reader, signals: Signals) -> None:
        self._store = store
        self._reader = reader
        self._signals = signals

    async def execute(self, command: WorkerCommand, actor: Actor) -> WorkerView:
        """Raises `NotFound`, and `Conflict` (``already_gone``)."""
        del actor  # workers serve every project
        worker = await self._find(command.worker_id)
        if worker.state in ("gone", "lost"):
            raise Conflict(f"the worker is {worker.state}", code="already_gone")
        await self._store.transact(lambda tx: tx.workers.set_state(worker.id, "draining"))
        await self._signals.command(worker.id, {"kind": "drain"})
        return await self._find(command.worker_id)

    async def _find(self, worker_id: str) -> WorkerView:
        for worker in await self._reader.workers():
            if worker.id == worker_id:
                return worker
        raise NotFound("there is no such worker")
