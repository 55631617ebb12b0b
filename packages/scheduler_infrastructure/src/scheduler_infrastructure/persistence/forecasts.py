"""What forecasts read: planned triggers, documents of versions, and how long runs took."""

from collections.abc import Sequence
from typing import Any

from scheduler_application.ports.forecasting import PlannedTrigger
from scheduler_infrastructure.persistence.engine import Database, Statement, both
from scheduler_infrastructure.persistence.guard import StoreGuard

_NEWEST_RUNS = 50
"""Among how many of its newest runs, those that still run among them, a workflow's finished ones are looked for."""


class SqlForecasts:
    """`ForecastReader`."""

    def __init__(self, database: Database, guard: StoreGuard) -> None:
        self._database = database
        self._guard = guard

    async def planned_triggers(self, project: str, limit: int) -> list[PlannedTrigger]:
        return [PlannedTrigger(**row) for row in await self._fetch(_PLANNED, project, limit)]

    async def contents(self, version_ids: Sequence[str]) -> dict[str, str]:
        return {row["id"]: row["content"] for row in await self._fetch(_CONTENTS, list(version_ids))}

    async def mean_seconds(self, workflow_ids: Sequence[str], runs: int) -> dict[str, float]:
        rows = await self._fetch(_MEAN_SECONDS, list(workflow_ids), _NEWEST_RUNS, runs)
        return {row["workflow_id"]: row["seconds"] for row in rows if row["seconds"] is not None}

    async def _fetch(self, statement: Statement, *arguments: Any) -> Sequence[Any]:
        async def read() -> Sequence[Any]:
            async with self._database.reading() as connection:
                return await connection.fetch(statement, *arguments)

        return await self._guard.run(read)


_PLANNED = both(
    """
    select t.id, t.workflow_id, w.name as workflow, t.name, t.kind, t.expression, t.timezone, t.policy, t.anchor_at,
        t.due_at, t.next_at, w.live_version_id as version_id
    from triggers t join workflows w on w.id = t.workflow_id
    where t.active and not t.paused and t.next_at is not null and t.project_id = $1 and w.enabled
        and w.live_version_id is not null
    order by t.next_at limit $2"""
)

_CONTENTS = Statement(
    postgres="select id, content from versions where id = any($1::uuid[])",
    sqlite="select id, content from versions where id in (select value from json_each($1))",
)

# Per workflow one short walk along its index, however long its history is.
_MEAN_SECONDS = Statement(
    postgres="""
        select w.id as workflow_id, avg(extract(epoch from f.finished_at - f.started_at))::float8 as seconds
        from unnest($1::uuid[]) as w (id) cross join lateral (
            select n.started_at, n.finished_at
            from (
                select id, started_at, finished_at from all_runs where workflow_id = w.id order by id desc limit $2
            ) as n
            where n.finished_at is not null and n.started_at is not null order by n.id desc limit $3
        ) as f
        group by w.id""",
    sqlite="""
        select w.value as workflow_id, (
            select avg((julianday(f.finished_at) - julianday(f.started_at)) * 86400.0)
            from (
                select n.started_at, n.finished_at
                from (
                    select id, started_at, finished_at from all_runs
                    where workflow_id = w.value order by id desc limit $2
                ) as n
                where n.finished_at is not null and n.started_at is not null order by n.id desc limit $3
            ) as f
        ) as seconds
        from json_each($1) as w""",
)
