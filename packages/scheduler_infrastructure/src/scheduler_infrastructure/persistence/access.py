"""API keys and idempotency keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from scheduler_infrastructure.persistence.engine import Connection
from scheduler_infrastructure.persistence.tables import api_keys, idempotency_keys


class SqlAccess:
    """`AccessWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def api_key(self, key_id: str) -> tuple[str, str] | None:
        query = select(api_keys.c.secret_hash, api_keys.c.project_id).where(
            api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)
        )
        rows = await self._connection.rows(query)
        return (rows[0]["secret_hash"], rows[0]["project_id"]) if rows else None

    async def has_admin(self) -> bool:
        return bool(await self._connection.rows(select(api_keys.c.id).limit(1)))

    async def insert_key(self, key_id: str, project_id: str, name: str, secret_hash: str, now: datetime) -> bool:
        row = {
            "id": key_id,
            "project_id": project_id,
            "name": name,
            "secret_hash": secret_hash,
            "created_at": now,
        }
        return await self._connection.insert_new(api_keys, row)


class SqlIdempotency:
    """`IdempotencyWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def begin(self, row: dict[str, Any], stale_before: datetime) -> dict[str, Any] | None:
        keys = idempotency_keys.c
        own = (
            keys.project_id == row["project_id"],
            keys.principal == row["principal"],
            keys.key == row["key"],
        )
        abandoned = (
            keys.status.is_(None),
            keys.run_id.is_(None),
            keys.created_at < stale_before,
        )
        await self._connection.run(delete(idempotency_keys).where(*own, *abandoned))
        while not await self._connection.insert_new(idempotency_keys, row):
            found = await self._connection.rows(select(idempotency_keys).where(*own))
            if found:
                return dict(found[0])
        return None

    async def finish(self, project_id: str, principal: str, key: str, status: int, body: bytes) -> None:
        keys = idempotency_keys.c
        own = (
            keys.project_id == project_id,
            keys.principal == principal,
            keys.key == key,
        )
        await self._connection.run(update(idempotency_keys).where(*own).values(status=status, body=body))

    async def abandon(self, project_id: str, principal: str, key: str) -> None:
        keys = idempotency_keys.c
        own = (
            keys.project_id == project_id,
            keys.principal == principal,
            keys.key == key,
            keys.status.is_(None),
        )
        await self._connection.run(delete(idempotency_keys).where(*own))
