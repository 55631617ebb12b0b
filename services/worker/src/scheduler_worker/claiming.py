"""From hints to attempts: claims are committed in groups, and a claim whose answer was lost is looked up later."""

import asyncio
import heapq
from collections.abc import Callable, Collection, Sequence

import structlog

from scheduler_application.batching import Batcher
from scheduler_application.errors import ApplicationError, Unavailable
from scheduler_application.ports.rows import UnhintedTask
from scheduler_application.ports.time import Clock
from scheduler_application.run.claim import ClaimedTask, ClaimTasks
from scheduler_worker.attempt import Attempt
from scheduler_worker.slots import Slots

Fence = tuple[str, int]
"""(task run, ``claim_no`` before the claim)."""

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
        self._slots.fill(0, self._received([task for task in claimed if _hint_of(task) in self._in_doubt]))

    def _received(self, claimed: Sequence[ClaimedTask]) -> Sequence[Attempt]:
        for task in claimed:
            self._in_doubt.pop(_hint_of(task), None)
        return self._receive(claimed)

    async def _claim(self, groups: Sequence[Sequence[Fence]]) -> Sequence[list[ClaimedTask]]:
        hints = [hint for group in groups for hint in group]
        try:
            claimed = await self._claims.execute(self._worker_id, hints)
        except Exception:
            # Whatever it is: the claim may be committed all the same.
            self._in_doubt.update(dict.fromkeys(hints, self._clock.monotonic()))
            raise
        found = {_hint_of(task): task for task in claimed}
        return [[found.pop(hint) for hint in group if hint in found] for group in groups]


def _hint_of(task: ClaimedTask) -> Fence:
    return task.row.id, task.row.claim_no - 1


class HandOver:
    """Claims at once what this process itself made ready: a chain of tasks needs no way through the broker."""

    def __init__(self, claimer: Claimer, slots: Slots, queues: Collection[str]) -> None:
        self._claimer = claimer
        self._slots = slots
        self._queues = frozenset(queues)
        self._claims: set[asyncio.Task[None]] = set()

    def take(self, ready: Sequence[UnhintedTask]) -> Sequence[UnhintedTask]:
        """Takes what there is room for, the highest priority first, and returns the rest (`Announcer.hand_over_to`)."""
        room = 0 if self._slots.spoken_for else self._slots.room
        served = [row for row in ready if row.queue in self._queues] if room else []
        if not served:
            return ready
        taken = heapq.nsmallest(room, served, key=lambda row: row.priority)
        fences = {(row.id, row.claim_no) for row in taken}
        claim = asyncio.create_task(self._claim(sorted(fences)))
        self._claims.add(claim)
        claim.add_done_callback(self._claims.discard)
        return [row for row in ready if (row.id, row.claim_no) not in fences]

    async def _claim(self, fences: Sequence[Fence]) -> None:
        try:
            await self._claimer.claim(fences)
        except ApplicationError as error:
            _log.warning("ready task runs are left to the relay", count=len(fences), reason=str(error))
