"""Idempotency keys of writes other than starting runs (whose key is in the run's own transaction).

These writes may be repeated safely; the key makes the repeat's *answer* the same.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.errors import Conflict, Rejected
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.time import Clock

ABANDONED_AFTER = timedelta(seconds=60)
"""A request that began this long ago and never finished died with its process."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    status: int
    body: bytes


class IdempotencyKeys:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def begin(self, actor: Actor, key: str, route: str, request_hash: str) -> StoredAnswer | None:
        """``None`` when the request is new and must be carried out. Raises `Rejected` (``idempotency_mismatch``) when
        the key was used for another request, `Conflict` (``idempotency_in_progress``) while the first is under way."""
        now = self._clock.now()
        row = {
            "project_id": actor.project,
            "principal": actor.principal,
            "key": key,
            "route": route,
            "request_hash": request_hash,
            "created_at": now,
        }
        tries = 0

        async def reserve(tx: Transaction) -> dict[str, Any] | None:
            nonlocal tries
            tries += 1
            return await tx.idempotency.begin(row, now - ABANDONED_AFTER)

        held = await self._store.transact(reserve)
        # Tried again: the reservation may be that of an earlier try, which was committed although its answer was lost.
        if held is None or (tries > 1 and held["status"] is None and held["created_at"] == now):
            return None
        if held["route"] != route or held["request_hash"] != request_hash:
            raise Rejected(
                "this idempotency key was used for another request",
                code="idempotency_mismatch",
            )
        if held["status"] is None:
            raise Conflict(
                "the first request with this idempotency key is under way",
                code="idempotency_in_progress",
            )
        return StoredAnswer(held["status"], held["body"])

    async def finish(self, actor: Actor, key: str, route: str, status: int, body: bytes) -> None:
        del route  # the reservation has it
        await self._store.transact(lambda tx: tx.idempotency.finish(actor.project, actor.principal, key, status, body))

    async def abandon(self, actor: Actor, key: str, route: str) -> None:
        """The request failed and may be sent again."""
        del route
        await self._store.transact(lambda tx: tx.idempotency.abandon(actor.project, actor.principal, key))
