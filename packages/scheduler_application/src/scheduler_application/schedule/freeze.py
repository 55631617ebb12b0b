"""Freeze windows: spans in which the clock starts nothing in a project, or in its workflows with a label.

What would have fired is remembered, and decided by each trigger's misfire policy when the freeze is over.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler_application.actor import Actor
from scheduler_application.errors import NotFound, Rejected
from scheduler_application.ports.messaging import Signals
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import FreezeView, Reader
from scheduler_application.ports.rows import Freeze
from scheduler_application.ports.time import Clock, Ids
from scheduler_domain.naming import NAME, NAME_RULE

LONGEST_FREEZE = timedelta(days=366)
MAX_REASON = 500
MAX_FREEZES = 1_000
"""How many freezes of a project may be ahead or hold at a time."""


@dataclass(frozen=True, slots=True)
class FreezeCommand:
    """``label`` is ``None`` for the whole project; ``starts_at`` is now where it is absent."""

    reason: str
    ends_at: datetime
    starts_at: datetime | None = None
    label: str | None = None


class FreezeSchedules:
    """Due times of a freeze that begins at once are held from the next firing pass on."""

    def __init__(self, store: Store, reader: Reader, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._ids = ids

    async def execute(self, command: FreezeCommand, actor: Actor) -> FreezeView:
        """Raises `Rejected`: ``invalid_window``, ``invalid_label``, ``missing_reason``, ``too_many_freezes``."""
        now = self._clock.now()
        freeze = Freeze(
            self._ids.new(),
            actor.project,
            command.label,
            command.reason.strip(),
            command.starts_at or now,
            command.ends_at,
            None,
            now,
            actor.principal,
        )
        _check(freeze, now)

        async def insert(tx: Transaction) -> None:
            if await tx.freezes.ahead(actor.project, now) >= MAX_FREEZES:
                raise Rejected(
                    f"the project has {MAX_FREEZES} freezes that are not over; lift some", code="too_many_freezes"
                )
            await tx.freezes.insert(freeze)

        await self._store.transact(insert)
        return await self._seen(freeze.id, actor)

    async def _seen(self, freeze_id: str, actor: Actor) -> FreezeView:
        view = await self._reader.freeze(actor.project, freeze_id)
        if view is None:
            raise NotFound("there is no such freeze")
        return view


class LiftFreeze:
    """Ends a freeze before its time: what it held is decided at once."""

    def __init__(self, store: Store, reader: Reader, clock: Clock, signals: Signals) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._signals = signals

    async def execute(self, freeze_id: str, actor: Actor) -> FreezeView:
        """Raises `NotFound`. A freeze that is over stays as it is."""
        now = self._clock.now()
        await self._store.transact(lambda tx: tx.freezes.lift(actor.project, freeze_id, now))
        view = await self._reader.freeze(actor.project, freeze_id)
        if view is None:
            raise NotFound("there is no such freeze")
        await self._signals.wake_dispatchers()
        return view


def _check(freeze: Freeze, now: datetime) -> None:
    if not freeze.reason or len(freeze.reason) > MAX_REASON:
        raise Rejected(f"a freeze says why, in 1 to {MAX_REASON} characters", code="missing_reason")
    if freeze.label is not None and not NAME.fullmatch(freeze.label):
        raise Rejected(f"the label is not a name: {NAME_RULE}", code="invalid_label")
    if not max(now, freeze.starts_at) < freeze.ends_at <= freeze.starts_at + LONGEST_FREEZE:
        raise Rejected(
            "a freeze ends in the future, after it starts, and lasts at most 366 days", code="invalid_window"
        )
