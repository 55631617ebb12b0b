"""A worker's lease: one row that covers all its attempts. Its identity is new at every start."""

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import WorkerRow


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """``alive`` is false when the lease had already run out: then nothing that the worker holds is its own any more.
    ``to_end`` are (task run, fence) that it must end."""

    alive: bool
    draining: bool
    to_end: Sequence[tuple[str, int]]


class RegisterWorker:
    """For workers, once at the start."""

    def __init__(self, store: Store, lease_seconds: float) -> None:
        self._store = store
        self._lease_seconds = lease_seconds

    async def execute(self, worker: WorkerRow) -> None:
        """Raises `Unavailable`."""
        await self._store.transact(lambda tx: tx.workers.register(worker, self._lease_seconds))


class Heartbeat:
    """For workers, every few seconds: renews the lease by the store's clock, and brings the commands that a message
    may have lost."""

    def __init__(self, store: Store, lease_seconds: float) -> None:
        self._store = store
        self._lease_seconds = lease_seconds

    async def execute(self, worker_id: str) -> HeartbeatAnswer:
        """Raises `Unavailable`; the caller trusts its lease only from the start of the last call that succeeded."""

        async def beat(tx: Transaction) -> HeartbeatAnswer:
            state = await tx.workers.renew(worker_id, self._lease_seconds)
            if state is None:
                return HeartbeatAnswer(alive=False, draining=True, to_end=())
            return HeartbeatAnswer(
                alive=True,
                draining=state == "draining",
                to_end=await tx.workers.to_cancel(worker_id),
            )

        return await self._store.transact(beat)


class LeaveWorker:
    """For workers, once at the end: whatever is still recorded as theirs is recovered at once, not when the lease
    ends."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def execute(self, worker_id: str) -> None:
        await self._store.transact(lambda tx: tx.workers.set_state(worker_id, "gone"))
