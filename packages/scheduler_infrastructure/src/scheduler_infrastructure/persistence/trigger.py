"""Triggers and the ledger: what firing reads and writes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from scheduler_application.ports.rows import DueTrigger, LedgerRow
from scheduler_infrastructure.persistence.engine import Connection, Statement, both
from scheduler_infrastructure.persistence.tables import triggers


class SqlTriggers:
    """`TriggerWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def of_workflow(self, workflow_id: str) -> list[dict[str, Any]]:
        query = select(triggers).where(triggers.c.workflow_id == workflow_id).order_by(triggers.c.name)
        return [dict(row) for row in await self._connection.rows(query)]

    async def insert(self, rows: Sequence[dict[str, Any]]) -> None:
        for row in rows:
            await self._connection.run(insert(triggers).values(**row))

    async def update(self, trigger_id: str, values: dict[str, Any]) -> None:
        await self._connection.run(update(triggers).where(triggers.c.id == trigger_id).values(**values))

    async def due(self, now: datetime, limit: int) -> list[DueTrigger]:
        rows = await self._connection.fetch(_DUE, now, limit)
        return [DueTrigger(**{**row, "enabled": bool(row["enabled"])}) for row in rows]

    async def next_due_at(self) -> datetime | None:
        moment: datetime | None = (await self._connection.fetch(_NEXT_DUE))[0]["next_at"]
        return moment

    async def advance(self, moves: Sequence[tuple[str, datetime | None, datetime | None]]) -> None:
        await self._connection.fetch_many(_ADVANCE, moves)

    async def quarantine(self, trigger_id: str, error: str) -> None:
        await self.update(trigger_id, {"next_at": None, "error": error[:1000]})

    async def record(self, rows: Sequence[LedgerRow]) -> None:
        await self._connection.fetch_many(_RECORD, rows)


_DUE_COLUMNS = (
    "t.id, t.project_id, t.workflow_id, t.name, t.kind, t.expression, t.timezone, t.misfire, t.anchor_at, t.next_at, "
    "t.skip_until, w.live_version_id as version_id, w.enabled"
)

_DUE = Statement(
    postgres=f"""
        select {_DUE_COLUMNS} from triggers t join workflows w on w.id = t.workflow_id
        where t.active and not t.paused and t.next_at is not null and t.next_at <= $1
        order by t.next_at limit $2 for update of t skip locked""",  # noqa: S608 - columns are ours
    sqlite=f"""
        select {_DUE_COLUMNS} from triggers t join workflows w on w.id = t.workflow_id
        where t.active and not t.paused and t.next_at is not null and t.next_at <= $1
        order by t.next_at limit $2""",  # noqa: S608 - columns are ours
)

# Each part reads the first entry of its own partial index.
_NEXT_DUE = both(
    """
    select min(moments.at) as next_at from (
        select min(next_at) as at from triggers where active and not paused and next_at is not null
        union all
        select min(wake_at) from task_runs where state in ('waiting', 'retrying') and wake_at is not null
        union all
        select min(deadline_at) from runs where deadline_at is not null and finished_at is null and state <>
        'cancelling'
        union all
        select min(next_at) from expectations where active and next_at is not null
        union all
        select min(next_at) from heartbeats where next_at is not null
    ) as moments"""
)

_ADVANCE = Statement(
    postgres="""
        update triggers t set next_at = m.next_at, last_due_at = coalesce(m.last_due_at, t.last_due_at)
        from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) as m (id, next_at, last_due_at)
        where t.id = m.id""",
    sqlite="""
        update triggers set next_at = r.value ->> 1, last_due_at = coalesce(r.value ->> 2, last_due_at)
        from json_each($1) as r where triggers.id = r.value ->> 0""",
)

_RECORD = Statement(
    postgres="""
        insert into ledger (trigger_id, due_at, project_id, workflow_id, outcome, rule, run_id, decided_at, epoch)
        select l.* from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::uuid[], $5::text[], $6::text[],
        $7::uuid[],
            $8::timestamptz[], $9::bigint[]) as l
        on conflict do nothing""",
    sqlite="""
        insert into ledger (trigger_id, due_at, project_id, workflow_id, outcome, rule, run_id, decided_at, epoch)
        select r.value ->> 0, r.value ->> 1, r.value ->> 2, r.value ->> 3, r.value ->> 4, r.value ->> 5, r.value ->> 6,
            r.value ->> 7, r.value ->> 8
        from json_each($1) as r where true on conflict do nothing""",
)
