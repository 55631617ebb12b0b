"""Calendars: what people keep, what firing asks, and what the leader reads again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, false, select, update

from scheduler_application.ports.rows import CalendarKey, CalendarRevision, CalendarRow
from scheduler_domain.naming import NAME
from scheduler_infrastructure.persistence.engine import Connection, Statement
from scheduler_infrastructure.persistence.tables import calendars


class SqlCalendars:
    """`CalendarWrites` over an open transaction. What cannot be a name (it may hold what PostgreSQL refuses to read) is
    nobody's name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, project_id: str, name: str, *, lock: bool = False) -> dict[str, Any] | None:
        named = calendars.c.name == name if NAME.fullmatch(name) else false()
        query = select(calendars).where(calendars.c.project_id == project_id, named)
        rows = await self._connection.rows(query.with_for_update() if lock else query)
        return dict(rows[0]) if rows else None

    async def insert(self, row: dict[str, Any]) -> bool:
        return await self._connection.insert_new(calendars, row)

    async def update(self, calendar_id: str, values: dict[str, Any]) -> None:
        await self._connection.run(update(calendars).where(calendars.c.id == calendar_id).values(**values))

    async def delete(self, calendar_id: str) -> None:
        await self._connection.run(delete(calendars).where(calendars.c.id == calendar_id))

    async def definitions(self, project_id: str) -> dict[str, str]:
        query = select(calendars.c.name, calendars.c.definition).where(calendars.c.project_id == project_id)
        return {row["name"]: row["definition"] for row in await self._connection.rows(query)}

    async def revisions(self, keys: Sequence[CalendarKey]) -> dict[CalendarKey, CalendarRevision]:
        rows = await self._connection.fetch_many(_REVISIONS, _possible(keys))
        return {CalendarKey(row["project_id"], row["name"]): _revision(row) for row in rows}

    async def load(self, keys: Sequence[CalendarKey]) -> dict[CalendarKey, CalendarRow]:
        rows = await self._connection.fetch_many(_LOAD, _possible(keys))
        return {
            CalendarKey(row["project_id"], row["name"]): CalendarRow(_revision(row), row["definition"], row["days"])
            for row in rows
        }

    async def take_due(self, now: datetime, until: datetime) -> dict[str, Any] | None:
        first = select(calendars).where(calendars.c.refresh_at <= now).order_by(calendars.c.refresh_at).limit(1)
        rows = await self._connection.rows(first.with_for_update(skip_locked=True))
        if not rows:
            return None
        await self.update(rows[0]["id"], {"refresh_at": until})
        return dict(rows[0])

    async def renew(self, calendar_id: str, version: int, values: dict[str, Any]) -> bool:
        same = (calendars.c.id == calendar_id, calendars.c.version == version)
        return await self._connection.run(update(calendars).where(*same).values(**values)) > 0


def _possible(keys: Sequence[CalendarKey]) -> list[CalendarKey]:
    return [key for key in keys if NAME.fullmatch(key.name)]


def _revision(row: Any) -> CalendarRevision:
    return CalendarRevision(row["id"], row["version"])


def _wanted(columns: str) -> Statement:
    """The calendars that are asked for by project and name."""
    return Statement(
        postgres=f"""
            select {columns} from unnest($1::uuid[], $2::text[]) as w (project_id, name)
            join calendars c on c.project_id = w.project_id and c.name = w.name""",  # noqa: S608 - columns are ours
        sqlite=f"""
            select {columns} from json_each($1) as r
            join calendars c on c.project_id = r.value ->> 0 and c.name = r.value ->> 1""",  # noqa: S608 - as above
    )


_REVISIONS = _wanted("c.project_id, c.name, c.id, c.version")
_LOAD = _wanted("c.project_id, c.name, c.id, c.version, c.definition, c.days")
