"""After the commit: tell workers, watchers and the leader. What is lost here is found by the relay; only hints are
tried again, for as long as it takes to connect anew."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from scheduler_application.errors import ApplicationError
from scheduler_application.pausing import Sleep
from scheduler_application.ports.messaging import (
    Hint,
    HintPublisher,
    Lane,
    LiveUpdates,
    Signals,
)
from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import RunningTask, UnhintedTask
from scheduler_application.ports.time import Clock
from scheduler_application.run.progress import Progress
from scheduler_domain.ids import TaskRunId
from scheduler_domain.workflow.definition import Priority

MAX_UNTOLD = 100_000
"""How many hints and changes may wait to be told; what is over is left to the relay and to polling watchers."""

MARKED_AT_ONCE = 2_000

MANY_ON_THE_WAY = 2_000
"""More hints than this that are not marked yet make an announcer busy."""

MARK_AFTER_SECONDS = 2.0
"""What is claimed by then needs no mark. It is well before the relay takes a hint for one that was never published."""

RETRY_SECONDS = 0.25

MOST_RETRIES = 11
"""Until the relay takes over, so that nobody waits for it who came shortly before a connection was back."""

CLOSE_SECONDS = 5.0

_PRIORITIES = tuple(Priority)

LocalTaker = Callable[[Sequence[UnhintedTask]], Sequence[UnhintedTask]]
"""A worker of this process: takes what it has free slots for and returns the rest."""


class _Missed(NamedTuple):
    """Hints that the broker did not take, and how often they were tried again."""

    lane: Lane
    hints: Sequence[Hint]
    retries: int = 0


class Announcer:
    """Tells what transactions set in motion, in the background and in batches; one per process."""

    def __init__(
        self,
        publisher: HintPublisher,
        signals: Signals,
        live: LiveUpdates,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        *,
        wakes_leader: bool = True,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._publisher = publisher
        self._signals = signals
        self._live = live
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._wakes_leader = wakes_leader
        self._take_locally: LocalTaker | None = None
        self._hints: list[UnhintedTask] = []
        self._changes: list[object] = []
        self._commands: list[RunningTask] = []
        self._wake = False
        self._task: asyncio.Task[None] | None = None
        self._marking: asyncio.Task[None] | None = None
        self._unmarked: list[Hint] = []
        self._retrying: asyncio.Task[None] | None = None
        self._missed: list[_Missed] = []
        self._telling = 0
        self._being_marked = 0
        self._sleep = sleep
        self._closed = False

    def hand_over_to(self, worker: LocalTaker) -> None:
        """Ready task runs are offered to this process's own worker first: a chain needs no round trip through the
        broker."""
        self._take_locally = worker

    def tell(self, progress: Progress) -> None:
        """Returns at once."""
        for ended in progress.ended:
            self._metrics.run_ended(ended.state, ended.seconds)
        for kind, count in progress.put_aside.items():
            self._metrics.put_aside(kind, count)
        self._commands += progress.to_end
        if len(self._changes) < MAX_UNTOLD:
            self._changes += progress.changes
        self._wake = self._wake or progress.wake_at is not None
        self.hint(progress.ready)

    def hint(self, ready: Sequence[UnhintedTask]) -> None:
        """These task runs may be claimed."""
        if self._take_locally is not None and ready:
            ready = self._take_locally(ready)
        if len(self._hints) < MAX_UNTOLD:
            self._hints += ready
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._tell_all())

    @property
    def is_busy(self) -> bool:
        """Whether many hints are on their way: what the store shows without a mark may be among them."""
        return len(self._hints) + self._telling + len(self._unmarked) + self._being_marked > MANY_ON_THE_WAY

    async def idle(self) -> None:
        """Returns when everything that was handed in has been told."""
        while tasks := self._tasks():
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Tells what is left, within the publish deadlines, and then nothing more."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        late = self._tasks()
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _tasks(self) -> "set[asyncio.Task[None]]":
        return {task for task in (self._task, self._marking, self._retrying) if task is not None}

    async def _tell_all(self) -> None:
        try:
            while self._hints or self._changes or self._commands or self._wake:
                await self._tell_once()
        finally:
            self._telling = 0
            self._task = None

    async def _tell_once(self) -> None:
        hints, self._hints = self._hints, []
        self._telling = len(hints)
        changes, self._changes = self._changes, []
        commands, self._commands = self._commands, []
        wake, self._wake = self._wake, False
        lanes: dict[Lane, list[Hint]] = defaultdict(list)
        for row in hints:
            lanes[Lane(row.queue, _PRIORITIES[row.priority])].append(Hint(TaskRunId(row.id), row.claim_no))
        told = await asyncio.gather(*(self._publish(lane, found) for lane, found in lanes.items()))
        self._missed += [_Missed(*lane) for lane, is_told in zip(lanes.items(), told, strict=True) if not is_told]
        if self._missed and self._retrying is None and not self._closed:
            self._retrying = asyncio.create_task(self._publish_again())
        for command in commands:
            await self._signals.command(command.worker_id, cancel_command(command))
        if wake and self._wakes_leader:
            await self._signals.wake_dispatchers()
        if changes:
            await self._live.publish(changes)  # type: ignore[arg-type]
        self._telling = 0

    async def _publish(self, lane: Lane, hints: Sequence[Hint]) -> bool:
        """Whether the broker has them; then they are marked a while later."""
        try:
            await self._publisher.publish(lane, hints)
        except ApplicationError:
            self._metrics.published(len(hints), failed=True)
            return False
        self._metrics.published(len(hints), failed=False)
        self._unmarked += hints
        if self._marking is None and not self._closed:
            self._marking = asyncio.create_task(self._mark_all())
        return True

    async def _publish_again(self) -> None:
        try:
            while self._missed:
                await self._sleep(RETRY_SECONDS)
                tried, self._missed = self._missed, []
                lanes_away: set[Lane] = set()
                for lane, hints, retries in tried:
                    # One that fails speaks for its lane: nobody waits for a deadline after another.
                    if lane in lanes_away or not await self._publish(lane, hints):
                        lanes_away.add(lane)
                        if retries + 1 < MOST_RETRIES:
                            self._missed.append(_Missed(lane, hints, retries + 1))
        finally:
            self._retrying = None

    async def _mark_all(self) -> None:
        try:
            while self._unmarked:
                # Most are claimed by then, and what is claimed needs no mark.
                await self._sleep(MARK_AFTER_SECONDS)
                hints, self._unmarked = self._unmarked, []
                for start in range(0, len(hints), MARKED_AT_ONCE):
                    self._being_marked = len(hints) - start
                    await self._mark(hints[start : start + MARKED_AT_ONCE])
                self._being_marked = 0
        finally:
            self._being_marked = 0
            self._marking = None

    async def _mark(self, hints: Sequence[Hint]) -> None:
        pairs = [(str(hint.task_run_id), hint.claim_no) for hint in hints]

        async def mark(tx: Transaction) -> None:
            await tx.claims.mark_hinted(pairs, self._clock.now())

        try:
            await self._store.transact(mark)
        except ApplicationError:
            return


def cancel_command(task: RunningTask) -> dict[str, object]:
    """What tells a worker to end an attempt."""
    return {"kind": "cancel", "task_run_id": task.id, "claim_no": task.claim_no}
