"""Workflows and their versions: what deploying and starting read and write."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, false, func, insert, select, update

from scheduler_application.ports.rows import LiveWorkflow, StoredVersion
from scheduler_domain.ids import canonical_uuid
from scheduler_domain.naming import NAME
from scheduler_domain.run.states import LIVE_RUN_STATES
from scheduler_infrastructure.persistence.engine import Connection, Statement
from scheduler_infrastructure.persistence.tables import (
    runs,
    versions,
    workflows,
)


class SqlWorkflows:
    """`WorkflowWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find(self, project_id: str, name_or_id: str, *, lock: bool = False) -> dict[str, Any] | None:
        query = by_name_or_id(select(workflows), project_id, name_or_id)
        rows = await self._connection.rows(query.with_for_update() if lock else query)
        return dict(rows[0]) if rows else None

    async def live(self, project_id: str, names_or_ids: Sequence[str]) -> dict[str, LiveWorkflow]:
        wanted = [name for name in names_or_ids if NAME.fullmatch(name) or canonical_uuid(name)]
        ids = [name for name in wanted if canonical_uuid(name) is not None]
        rows = await self._connection.fetch(_LIVE, project_id, wanted, ids)
        found = {row["name"]: LiveWorkflow(**{**row, "enabled": bool(row["enabled"])}) for row in rows}
        by_id = {workflow.id: workflow for workflow in found.values()}
        pairs = ((name, found.get(name) or by_id.get(canonical_uuid(name) or "")) for name in wanted)
        return {name: workflow for name, workflow in pairs if workflow is not None}

    async def insert(self, row: dict[str, Any]) -> bool:
        return await self._connection.insert_new(workflows, row)

    async def update(self, workflow_id: str, values: dict[str, Any]) -> None:
        await self._connection.run(update(workflows).where(workflows.c.id == workflow_id).values(**values))

    async def delete(self, workflow_id: str, now: datetime) -> None:
        gone = update(workflows).where(workflows.c.id == workflow_id).values(deleted_at=now)
        await self._connection.run(gone)

    async def version(self, version_id: str) -> StoredVersion | None:
        return await self._one_version(select(versions).where(versions.c.id == version_id))

    async def versions(self, version_ids: Sequence[str]) -> list[StoredVersion]:
        rows = await self._connection.fetch(_VERSIONS, list(version_ids))
        return [StoredVersion(*row.values()) for row in rows]

    async def version_by_digest(self, workflow_id: str, digest: str, source: str | None) -> StoredVersion | None:
        same = (versions.c.workflow_id == workflow_id, versions.c.digest == digest, versions.c.source == source)
        query = select(versions).where(*same)
        return await self._one_version(query)

    async def insert_version(self, row: dict[str, Any]) -> None:
        await self._connection.run(insert(versions).values(**row))

    async def last_number(self, workflow_id: str) -> int:
        query = select(func.max(versions.c.number).label("last")).where(versions.c.workflow_id == workflow_id)
        return (await self._connection.rows(query))[0]["last"] or 0

    async def live_runs(self, workflow_id: str) -> list[str]:
        query = select(runs.c.id).where(runs.c.workflow_id == workflow_id, runs.c.state.in_(sorted(LIVE_RUN_STATES)))
        return [row["id"] for row in await self._connection.rows(query)]

    async def live_documents(self, project_id: str, holding: str) -> list[tuple[str, str]]:
        query = (
            select(workflows.c.name, versions.c.content)
            .join(versions, versions.c.id == workflows.c.live_version_id)
            .where(workflows.c.project_id == project_id, workflows.c.deleted_at.is_(None))
            .where(versions.c.content.contains(holding, autoescape=True))
            .order_by(workflows.c.name)
        )
        return [(row["name"], row["content"]) for row in await self._connection.rows(query)]

    async def _one_version(self, query: Select[Any]) -> StoredVersion | None:
        rows = await self._connection.rows(query)
        if not rows:
            return None
        row = rows[0]
        return StoredVersion(row["id"], row["workflow_id"], row["number"], row["content"], row["source"])


def by_name_or_id(query: Select[Any], project_id: str, name_or_id: str) -> Select[Any]:
    """Narrows a query over workflows to one of the project; a name wins over an id that looks the same."""
    own = query.where(workflows.c.project_id == project_id, workflows.c.deleted_at.is_(None))
    workflow_id = canonical_uuid(name_or_id)
    if workflow_id is not None:
        return own.where(workflows.c.id == workflow_id)
    # What cannot be a name (it may hold what PostgreSQL refuses to read) is nobody's name.
    return own.where(workflows.c.name == name_or_id if NAME.fullmatch(name_or_id) else false())


_VERSIONS = Statement(
    postgres="select id, workflow_id, number, content, source from versions where id = any($1::uuid[])",
    sqlite="""
        select id, workflow_id, number, content, source from versions
        where id in (select value from json_each($1))""",
    by_key=True,
)

_LIVE = Statement(
    postgres="""
        select id, name, project_id, enabled, live_version_id as version_id from workflows
        where project_id = $1 and deleted_at is null and (name = any($2::text[]) or id = any($3::uuid[]))""",
    sqlite="""
        select id, name, project_id, enabled, live_version_id as version_id from workflows
        where project_id = $1 and deleted_at is null and (name in (select value from json_each($2)) or id in (select
        value from json_each($3)))""",
    by_key=True,
)
