"""A worker goes on with what its own outcomes make ready: claimed in the transaction that records them, so that a step
of a chain costs one commit and no message."""

from collections.abc import Sequence
from typing import Protocol

from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.rows import UnhintedTask
from scheduler_application.run.claim import ClaimedTask, ClaimTasks, Fence
from scheduler_application.run.progress import Progress


class LocalWorker(Protocol):
    """The worker of this process, as far as it has free slots."""

    worker_id: str

    def choose(self, ready: Sequence[UnhintedTask]) -> Sequence[UnhintedTask]:
        """What it would begin at once, the highest priority first. Room is kept for as many until `receive`."""
        ...

    def receive(self, chosen: int, claimed: Sequence[ClaimedTask]) -> None:
        """Of ``chosen`` task runs these are claimed, and the claim is committed."""
        ...

    def doubt(self, fences: Sequence[Fence], reason: BaseException) -> None:
        """The transaction that claimed these ended with ``reason``; it may have been committed all the same."""
        ...


class HandOver:
    """What one transaction hands over to the worker, over all of its tries: `claim` in each of them, and once after
    them `commit` or `fail`."""

    def __init__(self, claims: ClaimTasks, worker: LocalWorker) -> None:
        self._claims = claims
        self._worker = worker
        self._chosen = 0
        self._claimed: Sequence[ClaimedTask] = ()
        self._tried: set[Fence] = set()

    @property
    def tried(self) -> bool:
        """Whether any try of the transaction claimed something."""
        return bool(self._tried)

    async def claim(self, tx: Transaction, progress: Progress) -> None:
        """Claims what of ``progress.ready`` the worker has room for, and takes it out."""
        self._release()
        chosen = self._worker.choose(progress.ready) if progress.ready else ()
        self._chosen = len(chosen)
        if not chosen and not self._tried:
            return
        fences = {(row.id, row.claim_no) for row in chosen}
        self._claimed = await self._claims.within(tx, self._worker.worker_id, fences, self._tried)
        taken = {task.row.id for task in self._claimed}
        progress.ready = [row for row in progress.ready if row.id not in taken]

    def commit(self) -> None:
        """The last try is committed."""
        self._claims.count(self._claimed)
        self._release(self._claimed)

    def fail(self, reason: BaseException) -> None:
        """No try is known to be committed; the last one ended with ``reason``."""
        if self._tried:
            self._worker.doubt(sorted(self._tried), reason)
        self._release()

    def _release(self, claimed: Sequence[ClaimedTask] = ()) -> None:
        if self._chosen or claimed:
            self._worker.receive(self._chosen, claimed)
        self._chosen = 0
        self._claimed = ()
