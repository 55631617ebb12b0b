"""Pausing triggers. What a paused trigger would have fired is recorded when it is resumed, never lost in silence."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import NotFound
from scheduler_application.ports.messaging import Signals
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.reading import Reader, TriggerView
from scheduler_application.ports.time import Clock
from scheduler_application.workflow.authoring import existing


@dataclass(frozen=True, slots=True)
class PauseCommand:
    """``trigger`` is a trigger's name; ``None`` means all triggers of the workflow."""

    workflow: str
    trigger: str | None = None


class _Switch(ABC):
    def __init__(self, store: Store, reader: Reader, clock: Clock, signals: Signals) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._signals = signals

    async def execute(self, command: PauseCommand, actor: Actor) -> list[TriggerView]:
        """The triggers of the workflow afterwards; raises `NotFound`. Switching twice is switching once."""

        async def switch(tx: Transaction) -> str:
            row = await existing(tx, command.workflow, actor, lock=True)
            found = [t for t in await tx.triggers.of_workflow(row["id"]) if t["active"]]
            chosen = [t for t in found if command.trigger in (None, t["name"])]
            if command.trigger is not None and not chosen:
                raise NotFound(f"the workflow has no trigger '{command.trigger[:100]}'")
            for trigger in chosen:
                await self._switch(tx, trigger, self._clock.now())
            workflow_id: str = row["id"]
            return workflow_id

        workflow_id = await self._store.transact(switch)
        await self._signals.wake_dispatchers()
        return await self._reader.triggers(actor.project, workflow_id)

    @abstractmethod
    async def _switch(self, tx: Transaction, trigger: dict[str, Any], now: datetime) -> None: ...


class PauseTriggers(_Switch):
    """The clock no longer starts runs by these triggers; by hand they still may be started."""

    async def _switch(self, tx: Transaction, trigger: dict[str, Any], now: datetime) -> None:
        del now
        await tx.triggers.update(trigger["id"], {"paused": True})


class ResumeTriggers(_Switch):
    """The clock starts runs again from now on; the firing pass records the due times of the pause as skipped by it."""

    async def _switch(self, tx: Transaction, trigger: dict[str, Any], now: datetime) -> None:
        if trigger["paused"]:
            await tx.triggers.update(trigger["id"], {"paused": False, "skip_until": now})
