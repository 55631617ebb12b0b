"""The relay: what may be claimed and has no hint gets one. A ready row without a hint *is* the outbox. For the
leader."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from scheduler_application.leading import Leadership
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import UnhintedTask
from scheduler_application.ports.time import Clock
from scheduler_application.run.announce import Announcer

UNHINTED_AFTER = timedelta(seconds=2)
"""Whoever made a task run ready publishes its hint at once; one that has none after this was left behind."""

HINT_LOST_AFTER = timedelta(seconds=15)

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
    """The oldest task run of a lane, and when (monotonic) the whole lane is repeated if it still is the oldest then."""

    id: str
    repeat_at: float
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
        sweeps = self._clock.monotonic() - self._swept_at >= HINT_LOST_AFTER.total_seconds()
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
        self._heads = {lane: head for lane, head in self._heads.items() if now < head.repeat_at + LONGEST_PAUSE_SECONDS}
        for lane, rows in lanes.items():
            head = self._heads.get(lane)
            if head is None or head.id != rows[0].id:
                found += rows[:DRAINING_RELAYED]
                self._heads[lane] = _Head(rows[0].id, now, HINT_LOST_AFTER.total_seconds())
            elif now >= head.repeat_at:
                found += rows
                pause = min(head.pause * 2, LONGEST_PAUSE_SECONDS)
                self._heads[lane] = _Head(head.id, now + pause, pause)
        return found
