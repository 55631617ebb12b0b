"""Triggers and the ledger: what firing reads and writes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from scheduler_application.ports.rows import DueTrigger, LedgerRow, TriggerMove
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
        if len(rows) == limit:
            shared = await self._connection.fetch(_DUE_IN_TURNS, now, limit)
            first = {row["id"] for row in shared}
            rows = [*shared, *(row for row in rows if row["id"] not in first)][:limit]
        return [DueTrigger(**{**row, "enabled": bool(row["enabled"])}) for row in rows]

    async def next_due_at(self) -> datetime | None:
        return await self._moment(_NEXT_DUE)

    async def next_fire_at(self) -> datetime | None:
        return await self._moment(_NEXT_FIRE)

    async def next_wake_at(self) -> datetime | None:
        return await self._moment(_NEXT_WAKE)

    async def advance(self, moves: Sequence[TriggerMove]) -> None:
        await self._connection.fetch_many(_ADVANCE, moves)

    async def live_runs(self, trigger_ids: Sequence[str]) -> dict[str, int]:
        rows = await self._connection.fetch(_LIVE_RUNS, list(trigger_ids))
        return {row["trigger_id"]: row["live"] for row in rows}

    async def quarantine(self, trigger_id: str, error: str) -> None:
        await self.update(trigger_id, {"due_at": None, "next_at": None, "error": error[:1000]})

    async def record(self, rows: Sequence[LedgerRow]) -> None:
        await self._connection.fetch_many(_RECORD, rows)

    async def _moment(self, question: Statement) -> datetime | None:
        moment: datetime | None = (await self._connection.fetch(question))[0]["next_at"]
        return moment


_DUE_COLUMNS = (
    "t.id, t.project_id, t.workflow_id, t.name, t.kind, t.expression, t.timezone, t.policy, t.anchor_at, t.due_at, "
    "t.skip_until, f.starts_at as frozen_at, coalesce(f.lifted_at, f.ends_at) as frozen_until, w.labels, "
    "w.live_version_id as version_id, w.enabled"
)

_IS_DUE = "t.active and not t.paused and t.next_at is not null"

_DUE_ROWS = f"""
    select {_DUE_COLUMNS} from triggers t join workflows w on w.id = t.workflow_id
        left join freezes f on f.id = t.frozen_by"""  # noqa: S608 - columns are ours

_DUE = Statement(
    postgres=f"""
        {_DUE_ROWS} where {_IS_DUE} and t.next_at <= $1
        order by t.next_at limit $2 for update of t skip locked""",
    sqlite=f"{_DUE_ROWS} where {_IS_DUE} and t.next_at <= $1 order by t.next_at limit $2",
)

# When more is due than one pass decides, each project has its share of the pass, so that the backlog of one does not
# delay another. The first part goes from project to project along an index: it costs projects, not schedules.
_DUE_IN_TURNS = Statement(
    postgres=f"""
        with recursive timed as (
            (select t.project_id from triggers t where {_IS_DUE} order by t.project_id limit 1)
            union all
            select (select t.project_id from triggers t where {_IS_DUE} and t.project_id > p.project_id
                order by t.project_id limit 1) from timed p where p.project_id is not null
        ), behind as materialized (
            select p.project_id from timed p where exists (
                select from triggers t where t.project_id = p.project_id and {_IS_DUE} and t.next_at <= $1)
        ), chosen as materialized (
            select d.id, d.next_at, row_number() over (partition by b.project_id order by d.next_at) as turn
            from behind b cross join lateral (
                select t.id, t.next_at from triggers t
                where t.project_id = b.project_id and {_IS_DUE} and t.next_at <= $1 order by t.next_at
                limit (select greatest(1, $2::int / count(*)) from behind)) d
            order by turn, d.next_at limit $2
        )
        {_DUE_ROWS} join chosen c on c.id = t.id where {_IS_DUE} and t.next_at <= $1
        order by c.turn, c.next_at for update of t skip locked""",  # noqa: S608 - texts are ours
    sqlite=f"""
        {_DUE_ROWS} join (
            select t.id, t.next_at, row_number() over (partition by t.project_id order by t.next_at) as turn
            from triggers t where {_IS_DUE} and t.next_at <= $1 order by turn, t.next_at limit $2
        ) c on c.id = t.id order by c.turn, c.next_at""",  # noqa: S608 - texts are ours
)

# Each part reads the first entry of its own partial index.
_FIRES = "select min(next_at) as at from triggers where active and not paused and next_at is not null"

_WAKES = """
    select min(wake_at) as at from task_runs where state in ('waiting', 'retrying') and wake_at is not null
    union all
    select min(deadline_at) from runs where deadline_at is not null and finished_at is null and state <> 'cancelling'
    union all
    select min(next_at) from expectations where active and next_at is not null
    union all
    select min(next_at) from heartbeats where next_at is not null"""


def _first_of(moments: str) -> Statement:
    return both(f"select min(moments.at) as next_at from ({moments}) as moments")  # noqa: S608 - texts are ours


_NEXT_FIRE = _first_of(_FIRES)
_NEXT_WAKE = _first_of(_WAKES)
_NEXT_DUE = _first_of(f"{_FIRES} union all {_WAKES}")

_ADVANCE = Statement(
    postgres="""
        update triggers t set due_at = m.due_at, next_at = m.next_at, frozen_by = null,
            last_due_at = coalesce(m.last_due_at, t.last_due_at)
        from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[])
            as m (id, due_at, next_at, last_due_at)
        where t.id = m.id""",
    sqlite="""
        update triggers set due_at = r.value ->> 1, next_at = r.value ->> 2, frozen_by = null,
            last_due_at = coalesce(r.value ->> 3, last_due_at)
        from json_each($1) as r where triggers.id = r.value ->> 0""",
)

_LIVE_RUNS = Statement(
    postgres="""
        select trigger_id, count(*)::int as live from runs
        where trigger_id = any($1::uuid[]) and finished_at is null group by trigger_id""",
    sqlite="""
        select trigger_id, count(*) as live from runs
        where trigger_id in (select value from json_each($1)) and finished_at is null group by trigger_id""",
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
