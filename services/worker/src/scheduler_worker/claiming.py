"""From hints to attempts: claims are committed in groups, and a claim whose answer was lost is looked up later."""

import asyncio
import heapq
from collections.abc import Callable, Collection, Sequence

import structlog

from scheduler_application.batching import Batcher
from scheduler_application.errors import ApplicationError, Unavailable
from scheduler_application.ports.rows import UnhintedTask
from scheduler_application.ports.time import Clock
from scheduler_application.run.claim import ClaimedTask, ClaimTasks, Fence
from scheduler_worker.attempt import Attempt
from scheduler_worker.slots import Slots

IN_DOUBT_SECONDS = 30.0
"""How long a claim that got no answer may still turn out to have been committed."""

MAX_GROUPS = 100
"""How many claims share a transaction; `Slots.room` bounds what they name together."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Claimer:
    """Claims for one worker identity. ``receive`` makes attempts of what was claimed and leaves out what it knows."""

    def __init__(
        self,
        claims: ClaimTasks,
        worker_id: str,
        slots: Slots,
        clock: Clock,
        receive: Callable[[Sequence[ClaimedTask]], Sequence[Attempt]],
    ) -> None:
        self._claims = claims
        self._worker_id = worker_id
        self._slots = slots
        self._clock = clock
        self._receive = receive
        self._batcher: Batcher[Sequence[Fence], list[ClaimedTask]] = Batcher(self._claim, limit=MAX_GROUPS)
        self._in_doubt: dict[Fence, float] = {}

    async def claim(self, hints: Sequence[Fence]) -> None:
        """Claims what of ``hints`` still may be claimed and hands it to the slots. Raises `Unavailable`."""
        self._slots.reserve(len(hints))
        attempts: Sequence[Attempt] = ()
        try:
            attempts = self._received(await self._batcher.submit(hints))
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - whatever it is: one row that cannot be claimed must not stop the worker
            if len(hints) == 1:
                _log.exception("a task run cannot be claimed", task_run_id=hints[0][0])
        else:
            return
        finally:
            self._slots.fill(len(hints), attempts)
        # One of them cannot be claimed, whatever the reason; the others can.
        for hint in hints if len(hints) > 1 else ():
            await self.claim([hint])

    @property
    def in_doubt(self) -> bool:
        """Whether `recall` has anything to look up."""
        return bool(self._in_doubt)

    async def recall(self) -> None:
        """Takes in what was claimed by calls that got no answer. Raises `Unavailable`."""
        oldest = self._clock.monotonic() - IN_DOUBT_SECONDS
        self._in_doubt = {hint: since for hint, since in self._in_doubt.items() if since >= oldest}
        if not self._in_doubt:
            return
        claimed = await self._claims.recall(self._worker_id, list(self._in_doubt))
        # Only what is in doubt still: another look may have been quicker, and its attempt may be over already.
        self.receive(0, [task for task in claimed if _hint_of(task) in self._in_doubt])

    def receive(self, reserved: int, claimed: Sequence[ClaimedTask]) -> None:
        """Takes in what was claimed elsewhere, for which room for ``reserved`` was kept."""
        self._slots.fill(reserved, self._received(claimed))

    def doubt(self, hints: Sequence[Fence]) -> None:
        """A claim of ``hints`` got no answer, and may be committed all the same."""
        self._in_doubt.update(dict.fromkeys(hints, self._clock.monotonic()))

    def _received(self, claimed: Sequence[ClaimedTask]) -> Sequence[Attempt]:
        for task in claimed:
            self._in_doubt.pop(_hint_of(task), None)
        return self._receive(claimed)

    async def _claim(self, groups: Sequence[Sequence[Fence]]) -> Sequence[list[ClaimedTask]]:
        hints = [hint for group in groups for hint in group]
        try:
            claimed = await self._claims.execute(self._worker_id, hints)
        except Exception:
            self.doubt(hints)
            raise
        found = {_hint_of(task): task for task in claimed}
        return [[found.pop(hint) for hint in group if hint in found] for group in groups]


def _hint_of(task: ClaimedTask) -> Fence:
    return task.row.id, task.row.claim_no - 1


class LocalIntake:
    """Takes in what this process itself made ready, without the way through the broker: what outcomes make ready within
    their transaction (`LocalWorker`), what else is made ready in a claim of its own (`Announcer.hand_over_to`)."""

    def __init__(self, claimer: Claimer, worker_id: str, slots: Slots, queues: Collection[str]) -> None:
        self._claimer = claimer
        self.worker_id = worker_id
        self._slots = slots
        self._queues = frozenset(queues)
        self._claims: set[asyncio.Task[None]] = set()

    def choose(self, ready: Sequence[UnhintedTask]) -> Sequence[UnhintedTask]:
        """As `LocalWorker.choose`."""
        chosen = self._fitting(ready)
        self._slots.reserve(len(chosen))
        return chosen

    def receive(self, chosen: int, claimed: Sequence[ClaimedTask]) -> None:
        """As `LocalWorker.receive`."""
        self._claimer.receive(chosen, claimed)

    def doubt(self, fences: Sequence[Fence], reason: BaseException) -> None:
        """As `LocalWorker.doubt`."""
        self._claimer.doubt(fences)
        if not isinstance(reason, (Unavailable, asyncio.CancelledError)):
            _log.error("outcomes could not be recorded with claims", count=len(fences), exc_info=reason)

    def take(self, ready: Sequence[UnhintedTask]) -> Sequence[UnhintedTask]:
        """Takes what there is room for and returns the rest."""
        taken = self._fitting(ready)
        if not taken:
            return ready
        fences = {(row.id, row.claim_no) for row in taken}
        claim = asyncio.create_task(self._claim(sorted(fences)))
        self._claims.add(claim)
        claim.add_done_callback(self._claims.discard)
        return [row for row in ready if (row.id, row.claim_no) not in fences]

    def _fitting(self, ready: Sequence[UnhintedTask]) -> Sequence[UnhintedTask]:
        """What there is room for, the highest priority first."""
        room = 0 if self._slots.spoken_for else self._slots.room
        served = [row for row in ready if row.queue in self._queues] if room else []
        return heapq.nsmallest(room, served, key=lambda row: row.priority)

    async def _claim(self, fences: Sequence[Fence]) -> None:
        try:
            await self._claimer.claim(fences)
        except ApplicationError as error:
            _log.warning("ready task runs are left to the relay", count=len(fences), reason=str(error))
