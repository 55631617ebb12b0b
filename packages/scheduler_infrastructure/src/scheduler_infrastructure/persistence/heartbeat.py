"""Heartbeats: found by the token of a ping or by name, and those whose grace is over."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, select, update

from scheduler_application.ports.rows import HeartbeatRow
from scheduler_infrastructure.persistence.engine import Connection, Statement
from scheduler_infrastructure.persistence.tables import heartbeats


class SqlHeartbeats:
    """`HeartbeatWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert(self, row: dict[str, Any]) -> bool:
        return await self._connection.insert_new(heartbeats, row)

    async def find(self, project_id: str, name: str) -> HeartbeatRow | None:
        return await self._one(_ROWS.where(heartbeats.c.project_id == project_id, heartbeats.c.name == name))

    async def by_token(self, token_hash: str) -> HeartbeatRow | None:
        return await self._one(_ROWS.where(heartbeats.c.token_hash == token_hash))

    async def update(self, heartbeat_id: str, values: dict[str, Any]) -> None:
        await self._connection.run(update(heartbeats).where(heartbeats.c.id == heartbeat_id).values(**values))

    async def delete(self, heartbeat_id: str) -> None:
        await self._connection.run(delete(heartbeats).where(heartbeats.c.id == heartbeat_id))

    async def due(self, now: datetime, limit: int) -> list[HeartbeatRow]:
        return [HeartbeatRow(**row) for row in await self._connection.fetch(_DUE, now, limit)]

    async def set_down(self, heartbeat_ids: Sequence[str]) -> None:
        await self._connection.fetch(_SET_DOWN, list(heartbeat_ids))

    async def _one(self, query: Select[Any]) -> HeartbeatRow | None:
        rows = await self._connection.rows(query.with_for_update())
        return HeartbeatRow(**rows[0]) if rows else None


_ROWS = select(*(heartbeats.c[name] for name in HeartbeatRow._fields))

_COLUMNS = ", ".join(HeartbeatRow._fields)

_DUE = Statement(
    postgres=f"""
        select {_COLUMNS} from heartbeats where next_at is not null and next_at <= $1
        order by next_at limit $2 for update skip locked""",  # noqa: S608 - columns are ours
    sqlite=f"""
        select {_COLUMNS} from heartbeats where next_at is not null and next_at <= $1
        order by next_at limit $2""",  # noqa: S608 - columns are ours
)

_SET_DOWN = Statement(
    postgres="update heartbeats set state = 'down', next_at = null where id = any($1::uuid[])",
    sqlite="""
        update heartbeats set state = 'down', next_at = null where id in (select value from json_each($1))""",
)
