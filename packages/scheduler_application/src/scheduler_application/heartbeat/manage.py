"""The life of a heartbeat: made, changed, paused, given another address, taken away."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, NotFound, Rejected
from scheduler_application.heartbeat.settings import HeartbeatSettings, read_settings
from scheduler_application.heartbeat.show import seen
from scheduler_application.heartbeat.tokens import new_token
from scheduler_application.ports.messaging import Signals
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import HeartbeatView, Reader
from scheduler_application.ports.rows import HeartbeatRow
from scheduler_application.ports.time import Clock, Ids
from scheduler_domain.naming import NAME
from scheduler_domain.schedule.deadlines import HeartbeatState


@dataclass(frozen=True, slots=True)
class CreateHeartbeatCommand:
    """``content`` has ``name``, ``every`` or ``schedule``, ``timezone`` and ``grace`` as a person writes them."""

    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EditHeartbeatCommand:
    """``content`` replaces all settings of the heartbeat ``name``; it may repeat the name."""

    name: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HeartbeatCommand:
    name: str


@dataclass(frozen=True, slots=True)
class NewAddress:
    """A heartbeat and the token of its ping address, which nobody can be told again."""

    heartbeat: HeartbeatView
    token: str


class CreateHeartbeat:
    """The first ping is due one interval, or at the first time of the schedule, after now."""

    def __init__(self, store: Store, reader: Reader, clock: Clock, ids: Ids, signals: Signals) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._signals = signals

    async def execute(self, command: CreateHeartbeatCommand, actor: Actor) -> NewAddress:
        """Raises `InvalidDefinition` with every problem, `Conflict` (``already_exists``)."""
        settings = read_settings(command.content)
        token = new_token()
        now = self._clock.now()
        heartbeat_id = self._ids.new()
        row: dict[str, Any] = {
            "id": heartbeat_id,
            "project_id": actor.project,
            "token_hash": token.hash,
            "state": HeartbeatState.NEW.value,
            "message_truncated": False,
            "created_at": now,
        }
        row |= _values(settings, now) | _awaited(settings, heartbeat_id, now)

        async def create(tx: Transaction) -> None:
            if await tx.heartbeats.insert(row):
                return
            known = await tx.heartbeats.find(actor.project, settings.name)
            # It is its own where an earlier try was committed and its answer lost.
            if known is None or known.id != heartbeat_id:
                raise Conflict(f"there is a heartbeat '{settings.name}' already", code="already_exists")

        await self._store.transact(create)
        await self._signals.wake_dispatchers()
        return NewAddress(await seen(self._reader, self._clock, settings.name, actor), token.text)


class EditHeartbeat:
    """Other times count from now; settings that stay the same move no deadline."""

    def __init__(self, store: Store, reader: Reader, clock: Clock, signals: Signals) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._signals = signals

    async def execute(self, command: EditHeartbeatCommand, actor: Actor) -> HeartbeatView:
        """Raises `NotFound`, `InvalidDefinition`, `Rejected` (``name_mismatch``)."""
        settings = read_settings(command.content, command.name)
        if settings.name != command.name:
            detail = f"the address names '{command.name[:100]}', the body '{settings.name}'"
            raise Rejected(detail, code="name_mismatch")
        now = self._clock.now()

        async def edit(tx: Transaction) -> None:
            row = await existing(tx, command.name, actor)
            if settings == _settings_of(row):
                return
            values = _values(settings, now)
            if row.next_at is not None:
                values |= _awaited(settings, row.id, now)
            await tx.heartbeats.update(row.id, values)

        await self._store.transact(edit)
        await self._signals.wake_dispatchers()
        return await seen(self._reader, self._clock, command.name, actor)


class RotateHeartbeat:
    """Gives it another address; the one before is dead from now on."""

    def __init__(self, store: Store, reader: Reader, clock: Clock) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock

    async def execute(self, command: HeartbeatCommand, actor: Actor) -> NewAddress:
        """Raises `NotFound`."""
        token = new_token()
        now = self._clock.now()

        async def rotate(tx: Transaction) -> None:
            row = await existing(tx, command.name, actor)
            await tx.heartbeats.update(row.id, {"token_hash": token.hash, "updated_at": now})

        await self._store.transact(rotate)
        return NewAddress(await seen(self._reader, self._clock, command.name, actor), token.text)


class DeleteHeartbeat:
    """Takes it away, with its address and its open alerts; alerts that were stay as history."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def execute(self, command: HeartbeatCommand, actor: Actor) -> None:
        """Raises `NotFound`."""
        now = self._clock.now()

        async def delete(tx: Transaction) -> None:
            row = await existing(tx, command.name, actor)
            await tx.heartbeats.delete(row.id)
            await tx.alerts.resolve([row.id], now)

        await self._store.transact(delete)


class _Switch(ABC):
    def __init__(self, store: Store, reader: Reader, clock: Clock, signals: Signals) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._signals = signals

    async def execute(self, command: HeartbeatCommand, actor: Actor) -> HeartbeatView:
        """Raises `NotFound`; switching twice is switching once."""
        now = self._clock.now()

        async def switch(tx: Transaction) -> None:
            await self._switch(tx, await existing(tx, command.name, actor), now)

        await self._store.transact(switch)
        await self._signals.wake_dispatchers()
        return await seen(self._reader, self._clock, command.name, actor)

    @abstractmethod
    async def _switch(self, tx: Transaction, row: HeartbeatRow, now: datetime) -> None: ...


class PauseHeartbeat(_Switch):
    """Nothing is awaited of it: pings are noted, and silence raises nothing. Its open alerts end."""

    async def _switch(self, tx: Transaction, row: HeartbeatRow, now: datetime) -> None:
        if row.state == HeartbeatState.PAUSED:
            return
        paused = {"state": HeartbeatState.PAUSED.value, "next_at": None, "updated_at": now}
        await tx.heartbeats.update(row.id, paused)
        await tx.alerts.resolve([row.id], now)


class ResumeHeartbeat(_Switch):
    """It is new again: the next ping is due counted from now."""

    async def _switch(self, tx: Transaction, row: HeartbeatRow, now: datetime) -> None:
        if row.state != HeartbeatState.PAUSED:
            return
        awaited = _awaited(_settings_of(row), row.id, now)
        await tx.heartbeats.update(row.id, {"state": HeartbeatState.NEW.value, "updated_at": now, **awaited})


async def existing(tx: Transaction, name: str, actor: Actor) -> HeartbeatRow:
    """The heartbeat's row, locked; raises `NotFound`."""
    # What cannot be a name (it may hold what PostgreSQL refuses to read) is nobody's name.
    row = await tx.heartbeats.find(actor.project, name) if NAME.fullmatch(name) else None
    if row is None:
        raise NotFound(f"there is no heartbeat '{name[:100]}'")
    return row


def _settings_of(row: HeartbeatRow) -> HeartbeatSettings:
    return HeartbeatSettings(row.name, row.kind, row.expression, row.timezone, row.grace_seconds)


def _values(settings: HeartbeatSettings, now: datetime) -> dict[str, Any]:
    return {
        "name": settings.name,
        "kind": settings.kind,
        "expression": settings.expression,
        "timezone": settings.timezone,
        "grace_seconds": settings.grace,
        "updated_at": now,
    }


def _awaited(settings: HeartbeatSettings, heartbeat_id: str, since: datetime) -> dict[str, Any]:
    """When the next ping is due, and when its grace is over."""
    due_at = settings.due_after(since, heartbeat_id)
    if due_at is None:
        raise Rejected("the schedule has no time any more", code="never_fires")
    return {"due_at": due_at, "next_at": due_at + timedelta(seconds=settings.grace)}
