"""The relay: what may be claimed and has no hint gets one. A ready row without a hint *is* the outbox. For the
leader."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from scheduler_application.leading import Leadership
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import UnhintedTask
from scheduler_application.ports.time import Clock
from scheduler_application.run.announce import MARK_AFTER_SECONDS, Announcer

UNHINTED_AFTER = timedelta(seconds=3)
"""Whoever made a task run ready publishes its hint at once; one that has none after this was left behind."""

HINT_LOST_AFTER = timedelta(seconds=15)

SWEPT_EVERY_SECONDS = 3.0
"""A lost hint is found so much later at most. Seldom looks would double the wait for one that was just too young."""

LANE_PAUSE_SECONDS = HINT_LOST_AFTER.total_seconds() + MARK_AFTER_SECONDS
"""Between two repeats of a lane. What was just repeated counts as hinted anew when it is marked; before all of it can
be due again nobody knows whether the lane stands still."""

UNMARKED_AFTER_SECONDS = 6.0
"""A repeat that is not marked by then, its retries included, has reached nobody: it is made again, and does not wait as
one that may have been claimed."""

RELAYED_AT_ONCE = 20_000

DRAINING_RELAYED = 1_000
"""How many of a lane's oldest hints are repeated while the lane is draining: a backlog explains the others' wait."""


LONGEST_PAUSE_SECONDS = 600.0
"""A lane that stands still is repeated ever more rarely, up to this: where all workers are busy for hours, its hints
are not lost."""


class Relayed(NamedTuple):
    """How many hints were handed to the publisher, and whether any task run may be claimed or is running: while none
    is, nothing can need a hint before something else happens."""

    hints: int
    any_open: bool


class _Head(NamedTuple):
    """The oldest task run of a lane when the lane was repeated, and then: by the store's clock, and monotonic. While it
    still is the oldest, the lane stands, and is repeated whole after ``pause``."""

    id: str
    repeated_at: datetime
    repeated: float
    pause: float


class _Seen(NamedTuple):
    unhinted: Sequence[UnhintedTask]
    unclaimed: Sequence[UnhintedTask]
    any_open: bool


class RelayHints:
    """Publishes again what a crash, a lost message or a broker that was away left without a hint."""

    def __init__(self, store: Store, clock: Clock, announcer: Announcer) -> None:
        self._store = store
        self._clock = clock
        self._announcer = announcer
        self._swept_at = 0.0
        self._heads: dict[tuple[str, int], _Head] = {}

    async def execute(self, leadership: Leadership) -> Relayed:
        """Raises `LeadershipLost`, `Unavailable`."""
        if self._announcer.is_busy:
            # The store shows the hints of the last passes as missing until they are marked: a backlog would be given
            # its own again and again, and take longer for it.
            await self._store.transact(leadership.check)
            return Relayed(0, any_open=True)
        sweeps = self._clock.monotonic() - self._swept_at >= SWEPT_EVERY_SECONDS
        seen = await self._store.transact(lambda tx: self._look(tx, leadership, sweeps=sweeps))
        found = list(seen.unhinted)
        if sweeps:
            self._swept_at = self._clock.monotonic()
            found += self._lost(seen.unclaimed)
        self._announcer.hint(found)
        return Relayed(len(found), seen.any_open)

    async def _look(self, tx: Transaction, leadership: Leadership, *, sweeps: bool) -> _Seen:
        await leadership.check(tx)
        if not await tx.claims.any_open():
            return _Seen((), (), any_open=False)
        now = self._clock.now()
        unhinted = await tx.claims.unhinted(now - UNHINTED_AFTER, RELAYED_AT_ONCE)
        unclaimed = await tx.claims.unclaimed(now - HINT_LOST_AFTER, RELAYED_AT_ONCE) if sweeps else ()
        return _Seen(unhinted, unclaimed, any_open=True)

    def _lost(self, unclaimed: Sequence[UnhintedTask]) -> list[UnhintedTask]:
        """All of a lane whose oldest task run is still the same; of a lane that moves only the oldest ones."""
        lanes: dict[tuple[str, int], list[UnhintedTask]] = {}
        for row in unclaimed:
            lanes.setdefault((row.queue, row.priority), []).append(row)
        found: list[UnhintedTask] = []
        now = self._clock.monotonic()
        self._heads = {
            lane: head for lane, head in self._heads.items() if now < head.repeated + 2 * LONGEST_PAUSE_SECONDS
        }
        for lane, rows in lanes.items():
            head = self._heads.get(lane)
            if head is not None and now - head.repeated < _pause_before(head, rows[0]):
                continue
            stands = head is not None and head.id == rows[0].id
            found += rows if stands else rows[:DRAINING_RELAYED]
            pause = _next_pause(head, rows[0]) if head is not None and stands else HINT_LOST_AFTER.total_seconds()
            self._heads[lane] = _Head(rows[0].id, self._clock.now(), now, pause)
        return found


def _pause_before(head: _Head, oldest: UnhintedTask) -> float:
    """Seconds between the lane's last repeat and the next one."""
    if head.id != oldest.id:
        return LANE_PAUSE_SECONDS
    return max(head.pause, LANE_PAUSE_SECONDS) if _arrived(head, oldest) else UNMARKED_AFTER_SECONDS


def _next_pause(head: _Head, oldest: UnhintedTask) -> float:
    """Twice the last, where the last repeat reached the broker: one that was away, and may come back empty, must not
    wait for what was told to nobody."""
    return min(head.pause * 2, LONGEST_PAUSE_SECONDS) if _arrived(head, oldest) else head.pause


def _arrived(head: _Head, oldest: UnhintedTask) -> bool:
    """Whether the broker took the last repeat of ``head``, which still is the oldest."""
    return oldest.hinted_at is not None and oldest.hinted_at >= head.repeated_at
