"""How many at once: attempts that execute, and a buffer of claimed ones that is never longer than a tenth of a second.

The buffer is what makes short tasks fast: while a claim is under way the slots work off what is there. It follows the
rate at which attempts ended just now, so it is empty where tasks take long, and nobody waits behind them.

By the same measure a slot takes several short attempts at once, as a `Lane`, where their executor serves lanes: it
executes them one after the other without asking here in between. Those that cannot follow quickly come back.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import count

from scheduler_application.ports.execution import Lane
from scheduler_application.ports.time import Clock
from scheduler_worker.attempt import Attempt

RATE_WINDOW_SECONDS = 0.25
BUFFERED_SECONDS = 0.1
MAX_BUFFERED = 500
MAX_UNREPORTED = 500
"""How many outcomes may wait to be recorded; beyond it nothing more is claimed until the store has caught up."""

LONGEST_WAIT_SECONDS = 1.0
"""An attempt that waited for a slot for so long goes back, so that a worker with a free slot can have it."""


LANE_SECONDS = 0.01
MAX_LANE = 8
SHORT_LIMIT_SECONDS = 5.0
"""An attempt whose time limit is shorter has no company: the limit counts from its start, and it might wait."""


class CompletionRate:
    """How many attempts ended a second, over the last quarter of one."""

    def __init__(self) -> None:
        self._ended: deque[float] = deque()

    def add(self, now: float) -> None:
        self._ended.append(now)
        self._forget(now)

    def per_second(self, now: float) -> float:
        self._forget(now)
        return len(self._ended) / RATE_WINDOW_SECONDS

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0] <= now - RATE_WINDOW_SECONDS:
            self._ended.popleft()


def buffer_size(rate: float) -> int:
    """How many claimed attempts may wait where ``rate`` end a second."""
    return min(int(rate * BUFFERED_SECONDS), MAX_BUFFERED)


def lane_length(rate: float, slots: int) -> int:
    """How many attempts one of ``slots`` may take at once where ``rate`` end a second in all."""
    return max(1, min(int(rate / slots * LANE_SECONDS), MAX_LANE))


class Slots:
    """Starts claimed attempts, the highest priority first, as slots become free. ``start`` returns at once;
    ``serving_lanes`` names the executors that take a lane."""

    def __init__(
        self, total: int, clock: Clock, start: Callable[[Attempt], None], serving_lanes: Collection[str] = ()
    ) -> None:
        self._total = total
        self._clock = clock
        self._start = start
        self._serving_lanes = serving_lanes
        self._waiting: list[tuple[int, int, Attempt]] = []
        self._order = count()
        self._rate = CompletionRate()
        self._reserved = 0
        self._taken = 0
        self._running = 0
        self._unreported = 0
        self._closed = False
        self._changed = asyncio.Event()
        self.spoken_for = False
        """Whether hints from outside wait for room: what this process made ready itself then lets them go first."""
        self.filled = asyncio.Event()
        """Set while attempts wait for a slot."""

    @property
    def room(self) -> int:
        """How many more may be claimed now. The buffer is filled when half of it is used: claims stay few and large."""
        if self._closed or self._unreported >= MAX_UNREPORTED:
            return 0
        buffer = buffer_size(self._rate.per_second(self._clock.monotonic()))
        beyond_slots = self._running + len(self._waiting) + self._reserved - self._total
        return 0 if beyond_slots > buffer // 2 else buffer - beyond_slots

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits or is being recorded."""
        return not (self._running or self._waiting or self._unreported or self._reserved)

    async def opened(self) -> None:
        """Returns when there is room."""
        while not self.room:
            self._changed.clear()
            await self._changed.wait()

    async def emptied(self) -> None:
        """Returns when nothing runs, waits or is being recorded."""
        while not self.idle:
            self._changed.clear()
            await self._changed.wait()

    def reserve(self, number: int) -> None:
        """Room for a claim that is under way."""
        self._reserved += number

    def fill(self, reserved: int, attempts: Sequence[Attempt]) -> None:
        """The claim for which ``reserved`` was kept brought ``attempts``."""
        self._reserved -= reserved
        for attempt in attempts:
            self._push(attempt)
        self._begin()
        self._changed.set()

    def ended(self, attempt: Attempt) -> None:
        """It was started and does not execute any more; its outcome is not recorded yet."""
        self._unreported += 1
        self._rate.add(self._clock.monotonic())
        self._leave(attempt)

    def give_back(self, attempt: Attempt) -> None:
        """It was started and has not begun: it waits for a slot again."""
        self._push(attempt)
        self._leave(attempt)

    def reported(self) -> None:
        """The outcome of an attempt that had ended is recorded or given up."""
        self._unreported -= 1
        self._begin()
        self._changed.set()

    def close(self) -> None:
        """Nothing more begins; what waits is for `clear`."""
        self._closed = True

    def overdue(self) -> list[Attempt]:
        """Takes out what has waited too long for a slot."""
        return self._take_out(lambda attempt: self._clock.monotonic() - attempt.claimed_at >= LONGEST_WAIT_SECONDS)

    def next_overdue(self) -> float | None:
        """Seconds until something has waited too long; ``None`` where nothing waits."""
        if not self._waiting:
            return None
        oldest = min(attempt.claimed_at for _, _, attempt in self._waiting)
        return max(oldest + LONGEST_WAIT_SECONDS - self._clock.monotonic(), 0.0)

    def clear(self) -> list[Attempt]:
        """Takes out everything that waits for a slot."""
        return self._take_out(lambda _attempt: True)

    def remove(self, attempt: Attempt) -> bool:
        """Takes out one attempt; false where it has been started."""
        return bool(self._take_out(lambda waiting: waiting is attempt))

    def _take_out(self, chosen: Callable[[Attempt], bool]) -> list[Attempt]:
        taken = [attempt for _, _, attempt in self._waiting if chosen(attempt)]
        if taken:
            self._waiting = [entry for entry in self._waiting if entry[2] not in taken]
            heapq.heapify(self._waiting)
            self._unreported += len(taken)  # Each of them gets an outcome now.
            self._note()
        return taken

    def _push(self, attempt: Attempt) -> None:
        heapq.heappush(self._waiting, (attempt.claimed.row.priority, next(self._order), attempt))

    def _leave(self, attempt: Attempt) -> None:
        self._running -= 1
        if attempt.lane is not None:
            attempt.lane.left -= 1
            self._taken -= not attempt.lane.left
        attempt.lane = None
        self._begin()
        self._changed.set()

    def _begin(self) -> None:
        while self._waiting and self._taken < self._total and not self._closed:
            self._taken += 1
            lane = Lane()
            for attempt in self._next_lane():
                attempt.lane = lane
                lane.left += 1
                self._running += 1
                self._start(attempt)
        self._note()

    def _next_lane(self) -> list[Attempt]:
        """The next attempt, and those behind it that may share its slot; the other free slots keep their part."""
        first = heapq.heappop(self._waiting)[2]
        if not self._waiting or not self._takes_company(first):
            return [first]
        free = self._total - self._taken + 1
        rate = self._rate.per_second(self._clock.monotonic())
        length = min(lane_length(rate, self._total), -(-(len(self._waiting) + 1) // free))
        lane = [first]
        while len(lane) < length and self._waiting and self._may_follow(self._waiting[0][2], first):
            lane.append(heapq.heappop(self._waiting)[2])
        return lane

    def _may_follow(self, attempt: Attempt, first: Attempt) -> bool:
        return attempt.claimed.row.version_id == first.claimed.row.version_id and self._takes_company(attempt)

    def _takes_company(self, attempt: Attempt) -> bool:
        task = attempt.claimed.task
        return task.executor in self._serving_lanes and (task.timeout is None or task.timeout >= SHORT_LIMIT_SECONDS)

    def _note(self) -> None:
        if self._waiting:
            self.filled.set()
        else:
            self.filled.clear()
