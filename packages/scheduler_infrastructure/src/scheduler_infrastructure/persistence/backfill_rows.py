"""Backfills: what people and the leader write of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from scheduler_application.ports.rows import HeldBackfill, NewBackfill
from scheduler_domain.run.states import RunEvent, run_sources
from scheduler_domain.schedule.backfill import (
    BACKFILL_TRANSITIONS,
    FINAL_BACKFILL_STATES,
    BackfillEvent,
    BackfillState,
    backfill_sources,
)
from scheduler_infrastructure.persistence.engine import Connection, Statement, both
from scheduler_infrastructure.persistence.tables import backfills

_STOPPABLE = ", ".join(f"'{state}'" for state in run_sources(RunEvent.CANCEL))


class SqlBackfills:
    """`BackfillWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert(self, row: NewBackfill) -> bool:
        return await self._connection.insert_new(backfills, {**row._asdict(), "started": 0, "skipped": 0})

    async def unfinished(self, project_id: str) -> int:
        number: int = (await self._connection.fetch(_UNFINISHED, project_id))[0]["number"]
        return number

    async def overlapping(self, row: NewBackfill) -> str | None:
        found = await self._connection.fetch(_OVERLAPPING, row.trigger_id, row.from_at, row.to_at, row.id)
        return found[0]["id"] if found else None

    async def open(self, limit: int) -> list[str]:
        return [row["id"] for row in await self._connection.fetch(_OPEN, limit)]

    async def lock(self, backfill_id: str) -> HeldBackfill | None:
        rows = await self._connection.fetch(_LOCK, backfill_id)
        return _held(rows[0]) if rows else None

    async def live_runs(self, backfill_id: str) -> int:
        live: int = (await self._connection.fetch(_LIVE, backfill_id))[0]["live"]
        return live

    async def stoppable_runs(self, backfill_id: str, limit: int) -> list[str]:
        return [row["id"] for row in await self._connection.fetch(_STOPPABLE_RUNS, backfill_id, limit)]

    async def covered(self, trigger_id: str, besides: str | None, due_ats: Sequence[datetime]) -> set[datetime]:
        rows = await self._connection.fetch(_COVERED, trigger_id, besides, list(due_ats))
        return {row["due_at"] for row in rows}

    async def advance(self, backfill_id: str, next_at: datetime | None, started: int, skipped: int) -> None:
        await self._connection.fetch(_ADVANCE, backfill_id, next_at, started, skipped)

    async def move(self, backfill_id: str, event: BackfillEvent, reason: str | None, now: datetime) -> None:
        for source in backfill_sources(event):
            target = BACKFILL_TRANSITIONS[source][event]
            finished_at = now if target in FINAL_BACKFILL_STATES else None
            await self._connection.fetch(_MOVE, backfill_id, source, target, reason, finished_at)


def _held(row: Any) -> HeldBackfill:
    flags = {name: bool(row[name]) for name in ("only_missing", "active", "enabled")}
    return HeldBackfill(**{**row, **flags, "state": BackfillState(row["state"])})


_UNFINISHED = both("select count(*) as number from backfills where project_id = $1 and finished_at is null")

_OVERLAPPING = both(
    """
    select id from backfills
    where trigger_id = $1 and finished_at is null and from_at < $3 and to_at > $2 and id <> $4 order by id limit 1"""
)

_OPEN = both("select id from backfills where state in ('running', 'cancelling') order by id limit $1")

_HELD_COLUMNS = (
    "b.id, b.project_id, b.workflow_id, b.trigger_id, b.to_at, b.only_missing, b.max_parallel, b.priority, b.state, "
    "b.next_at, t.name as trigger, t.kind, t.expression, t.timezone, t.policy, t.anchor_at, t.active, "
    "w.live_version_id as version_id, w.enabled"
)
_HELD = (
    f"select {_HELD_COLUMNS} from backfills b join triggers t on t.id = b.trigger_id "  # noqa: S608 - columns are ours
    "join workflows w on w.id = b.workflow_id where b.id = $1"
)

_LOCK = Statement(postgres=f"{_HELD} for update of b", sqlite=_HELD)

_LIVE = both("select count(*) as live from runs where backfill_id = $1 and finished_at is null")

_STOPPABLE_RUNS = both(
    f"""
    select id from runs where backfill_id = $1 and finished_at is null and state in ({_STOPPABLE})
    order by id limit $2"""  # noqa: S608 - states from the table
)

# A run that was ended with its backfill leaves a hole, which the next backfill is there to fill.
_COVERED = Statement(
    postgres="""
        select due_at from ledger where trigger_id = $1 and due_at = any($3::timestamptz[]) and run_id is not null
        union
        select r.due_at from backfills b join all_runs r on r.backfill_id = b.id
        where b.trigger_id = $1 and ($2::uuid is null or b.id <> $2) and r.due_at = any($3::timestamptz[])
            and r.state <> 'cancelled'""",
    sqlite="""
        select due_at from ledger
        where trigger_id = $1 and due_at in (select value from json_each($3)) and run_id is not null
        union
        select r.due_at from backfills b join all_runs r on r.backfill_id = b.id
        where b.trigger_id = $1 and ($2 is null or b.id <> $2) and r.due_at in (select value from json_each($3))
            and r.state <> 'cancelled'""",
)

_ADVANCE = both("update backfills set next_at = $2, started = started + $3, skipped = skipped + $4 where id = $1")

_MOVE = both("update backfills set state = $3, reason = $4, finished_at = $5 where id = $1 and state = $2")
