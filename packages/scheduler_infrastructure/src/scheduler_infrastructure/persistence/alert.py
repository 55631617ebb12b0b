"""Alerts: raised once for a deadline, open until they are resolved."""

from collections.abc import Sequence
from datetime import datetime

from scheduler_application.ports.rows import NewAlert, ResolvedAlert
from scheduler_infrastructure.persistence.engine import Connection, Statement


class SqlAlerts:
    """`AlertWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, alerts: Sequence[NewAlert]) -> set[str]:
        return {row["id"] for row in await self._connection.fetch_many(_ADD, alerts)}

    async def resolve(self, source_ids: Sequence[str], now: datetime) -> list[ResolvedAlert]:
        if not source_ids:
            return []
        return [ResolvedAlert(**row) for row in await self._connection.fetch(_RESOLVE, list(source_ids), now)]


_COLUMNS = ", ".join(NewAlert._fields)

_ADD = Statement(
    postgres=f"""
        insert into alerts ({_COLUMNS})
        select a.* from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[], $6::uuid[],
            $7::text[], $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[]) as a
        on conflict do nothing returning id""",  # noqa: S608 - columns are ours
    sqlite=f"""
        insert into alerts ({_COLUMNS})
        select {", ".join(f"r.value ->> {place}" for place in range(len(NewAlert._fields)))}
        from json_each($1) as r where true on conflict do nothing returning id""",  # noqa: S608 - columns are ours
)

_RESOLVE = Statement(
    postgres="""
        update alerts set resolved_at = $2 where source_id = any($1::uuid[]) and resolved_at is null
        returning id, project_id""",
    sqlite="""
        update alerts set resolved_at = $2
        where source_id in (select value from json_each($1)) and resolved_at is null returning id, project_id""",
)
