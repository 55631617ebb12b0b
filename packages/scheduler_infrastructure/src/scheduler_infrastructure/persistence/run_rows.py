"""Runs, their slots and their first task runs: what starting and ending writes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from scheduler_application.ports.rows import HeldKey, LockedRun, LockedSlot, NewRun, NewTaskRun, RunChange, Slot
from scheduler_domain.run.states import RunEvent, RunState, run_sources
from scheduler_infrastructure.persistence.engine import Connection, Statement, both, rows_of
from scheduler_infrastructure.persistence.planning import seen_by_key

RUN_STATES = {state.value: state for state in RunState}

_STOPPABLE = ", ".join(f"'{state}'" for state in run_sources(RunEvent.CANCEL))
_ADMITTABLE = ", ".join(f"'{state}'" for state in run_sources(RunEvent.ADMIT))


class SqlRuns:
    """`RunWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock_slots(self, slots: Sequence[Slot]) -> dict[Slot, LockedSlot]:
        await self._connection.fetch_many(_MAKE_SLOTS, slots)
        rows = await self._connection.fetch_many(_LOCK_SLOTS, slots)
        return {Slot(row["workflow_id"], row["slot_key"]): LockedSlot(row["live"], row["left_at"]) for row in rows}

    async def set_slots(self, live: dict[Slot, int], left_at: datetime | None = None) -> None:
        await self._connection.fetch_many(_SET_SLOTS, [(*slot, count, left_at) for slot, count in live.items()])

    async def slots_of(self, run_ids: Sequence[str]) -> list[Slot]:
        rows = await self._connection.fetch(_SLOTS_OF, list(run_ids))
        return [Slot(row["workflow_id"], row["slot_key"]) for row in rows]

    async def insert_runs(self, rows: Sequence[NewRun]) -> set[str]:
        fired = any(row.trigger_id is not None for row in rows)
        statement = _INSERT_FIRED_RUNS if fired else _INSERT_RUNS
        return {row["id"] for row in await self._connection.fetch_many(statement, rows)}

    async def insert_task_runs(self, rows: Sequence[NewTaskRun]) -> None:
        await self._connection.fetch_many(_INSERT_TASK_RUNS, rows)

    async def lock_runs(self, run_ids: Sequence[str]) -> list[LockedRun]:
        rows = await self._connection.fetch(_LOCK_RUNS, list(run_ids))
        return [LockedRun._make(row.values())._replace(state=RUN_STATES[row["state"]]) for row in rows]

    async def save_runs(self, changes: Sequence[RunChange], now: datetime) -> None:
        del now  # each change carries its own instants
        await self._connection.fetch_many(_SAVE_RUNS, changes)

    async def stop_runs(self, run_ids: Sequence[str], reason: str, error: str | None) -> None:
        await self._connection.fetch(_STOP_RUNS, list(run_ids), reason, error)

    async def admit(self, slot: Slot, limit: int, now: datetime) -> list[str]:
        return [row["id"] for row in await self._connection.fetch(_ADMIT, *slot, limit, now)]

    async def runs_of_slot(self, slot: Slot) -> list[str]:
        return [row["id"] for row in await self._connection.fetch(_RUNS_OF_SLOT, *slot)]

    async def reserve_keys(
        self, rows: Sequence[tuple[str, str, str, str, str, str, datetime]]
    ) -> dict[tuple[str, str, str], HeldKey]:
        await self._connection.fetch_many(_RESERVE_KEYS, rows)
        found = [dict(row) for row in await self._connection.fetch_many(_FIND_KEYS, [row[:3] for row in rows])]
        await self._look_up_former(found)
        return {
            (row["project_id"], row["principal"], row["key"]): HeldKey(
                row["route"], row["request_hash"], row["run_id"], row["state"]
            )
            for row in found
        }

    async def _look_up_former(self, keys: Sequence[dict[str, Any]]) -> None:
        """Adds the states of runs that have moved into history since their keys were used."""
        missing = [key["run_id"] for key in keys if key["run_id"] is not None and key["state"] is None]
        if missing:
            states = {row["id"]: row["state"] for row in await self._connection.fetch(_FORMER_STATES, missing)}
            for key in keys:
                key["state"] = key["state"] or states.get(key["run_id"])

    async def release_key(self, project_id: str, principal: str, key: str, run_id: str) -> None:
        await self._connection.fetch(_RELEASE_KEY, project_id, principal, key, run_id)


_MAKE_SLOTS = Statement(
    postgres="""
        insert into slots (workflow_id, slot_key, live)
        select s.workflow_id, s.slot_key, 0 from unnest($1::uuid[], $2::text[]) as s (workflow_id, slot_key)
        order by 1, 2 on conflict do nothing""",
    sqlite="""
        insert into slots (workflow_id, slot_key, live)
        select r.value ->> 0, r.value ->> 1, 0 from json_each($1) as r where true on conflict do nothing""",
    by_key=True,
)

# Always in one order, so that two transactions with several keys never wait for each other in a circle.
_LOCK_SLOTS = Statement(
    postgres="""
        select s.workflow_id, s.slot_key, s.live, s.left_at from slots s
        join unnest($1::uuid[], $2::text[]) as w (workflow_id, slot_key) using (workflow_id, slot_key)
        order by s.workflow_id, s.slot_key for update of s""",
    sqlite="""
        select s.workflow_id, s.slot_key, s.live, s.left_at from json_each($1) as r
        join slots s on s.workflow_id = r.value ->> 0 and s.slot_key = r.value ->> 1""",
    by_key=True,
)

_SET_SLOTS = Statement(
    postgres="""
        update slots s set live = w.live, left_at = coalesce(w.left_at, s.left_at)
        from unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[]) as w (workflow_id, slot_key, live, left_at)
        where s.workflow_id = w.workflow_id and s.slot_key = w.slot_key and s.live <> w.live""",
    sqlite="""
        update slots set live = r.value ->> 2, left_at = coalesce(r.value ->> 3, left_at) from json_each($1) as r
        where slots.workflow_id = r.value ->> 0 and slots.slot_key = r.value ->> 1""",
    by_key=True,
)

_SLOTS_OF = Statement(
    postgres="""
        select distinct workflow_id, slot_key from runs where id = any($1::uuid[]) and slot_key is not null""",
    sqlite="""
        select distinct workflow_id, slot_key from runs
        where id in (select value from json_each($1)) and slot_key is not null""",
)

_RUN_COLUMNS = ", ".join(NewRun._fields)

# A due time that was decided before has its run, or had one: the run may be out of the reach of the unique key.
_UNDECIDED = """
    r.trigger_id is null or not exists (
        select 1 from ledger l where l.trigger_id = r.trigger_id and l.due_at = r.due_at)"""


def _inserting(condition: str, *, by_key: bool) -> Statement:
    values = ", ".join(f"r.value ->> {place} as {name}" for place, name in enumerate(NewRun._fields))
    return Statement(
        postgres=f"""
            insert into runs ({_RUN_COLUMNS}, tasks_failed, tasks_cancelled)
            select r.*, 0, 0 from {rows_of(NewRun._fields)} as r
            where {condition}
            on conflict do nothing returning id""",  # noqa: S608 - the columns are ours
        sqlite=f"""
            insert into runs ({_RUN_COLUMNS}, tasks_failed, tasks_cancelled)
            select r.*, 0, 0 from (select {values} from json_each($1) as r) as r where {condition}
            on conflict do nothing returning id""",  # noqa: S608 - the columns are ours
        folds=True,
        by_key=by_key,
    )


_INSERT_RUNS = _inserting("true", by_key=True)
_INSERT_FIRED_RUNS = _inserting(_UNDECIDED, by_key=False)

_TASK_COLUMNS = ", ".join(NewTaskRun._fields)

# "on conflict" only meets a transaction that is tried again after its commit's answer was lost.
_INSERT_TASK_RUNS = Statement(
    postgres=f"""
        insert into task_runs ({_TASK_COLUMNS}, needs_failed, needs_skipped, claim_no, attempt, worker_losses,
            cancel_requested)
        select r.*, 0, 0, 0, 1, 0, false from {rows_of(NewTaskRun._fields)} as r
        on conflict do nothing""",  # noqa: S608 - the columns are ours
    sqlite=f"""
        insert into task_runs ({_TASK_COLUMNS}, needs_failed, needs_skipped, claim_no, attempt, worker_losses,
            cancel_requested)
        select {", ".join(f"r.value ->> {index}" for index in range(len(NewTaskRun._fields)))}, 0, 0, 0, 1, 0, false
        from json_each($1) as r where true on conflict do nothing""",  # noqa: S608 - the columns are ours
    folds=True,
    by_key=True,
)

_LOCKED_COLUMNS = ", ".join(LockedRun._fields)

_LOCK_RUNS = Statement(
    postgres=f"select {_LOCKED_COLUMNS} from runs where id = any($1::uuid[]) order by id desc for update",  # noqa: S608
    sqlite=f"select {_LOCKED_COLUMNS} from runs where id in (select value from json_each($1))",  # noqa: S608
    by_key=True,
)

_SAVE_RUNS = Statement(
    postgres=f"""
        update runs r set tasks_left = c.tasks_left, tasks_failed = c.tasks_failed, tasks_cancelled = c.tasks_cancelled,
            state = c.state, started_at = c.started_at, finished_at = c.finished_at
        from {rows_of(RunChange._fields)} as c
        where r.id = c.id and {seen_by_key("r.finished_at is null")}""",  # noqa: S608 - the columns are ours
    sqlite="""
        update runs set tasks_left = r.value ->> 1, tasks_failed = r.value ->> 2, tasks_cancelled = r.value ->> 3,
            state = r.value ->> 4, started_at = r.value ->> 5, finished_at = r.value ->> 6
        from json_each($1) as r where runs.id = r.value ->> 0 and runs.finished_at is null""",
    folds=True,
    by_key=True,
)

_STOP_RUNS = Statement(
    postgres=f"""
        update runs set state = 'cancelling', stop_reason = $2, error = $3
        where id = any($1::uuid[]) and state in ({_STOPPABLE})""",  # noqa: S608 - states from the table
    sqlite=f"""
        update runs set state = 'cancelling', stop_reason = $2, error = $3
        where id in (select value from json_each($1)) and state in ({_STOPPABLE})""",  # noqa: S608 - states from the table
)

# Written at once, not with the runs' figures: a second run that ends in this transaction must not admit the same one
# again.
_ADMIT = both(
    f"""
    update runs set state = 'running', started_at = $4 where state in ({_ADMITTABLE}) and id in (
        select id from runs where workflow_id = $1 and slot_key = $2 and finished_at is null and state = 'pending'
        order by id limit $3)
    returning id"""  # noqa: S608 - states from the table
)

_RUNS_OF_SLOT = both(
    """
    select id from runs
    where workflow_id = $1 and slot_key = $2 and finished_at is null and state in ('pending', 'running') order by id
    limit 1000"""
)

_RESERVE_KEYS = Statement(
    postgres="""
        insert into idempotency_keys (project_id, principal, key, route, request_hash, run_id, created_at)
        select k.* from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[],
        $7::timestamptz[])
            as k order by 1, 2, 3
        on conflict do nothing""",
    sqlite="""
        insert into idempotency_keys (project_id, principal, key, route, request_hash, run_id, created_at)
        select r.value ->> 0, r.value ->> 1, r.value ->> 2, r.value ->> 3, r.value ->> 4, r.value ->> 5, r.value ->> 6
        from json_each($1) as r where true on conflict do nothing""",
    by_key=True,
)

_FIND_KEYS = Statement(
    postgres="""
        select k.project_id, k.principal, k.key, k.route, k.request_hash, k.run_id, r.state from idempotency_keys k
        join unnest($1::uuid[], $2::text[], $3::text[]) as w (project_id, principal, key)
            using (project_id, principal, key)
        left join runs r on r.id = k.run_id""",
    sqlite="""
        select k.project_id, k.principal, k.key, k.route, k.request_hash, k.run_id, r.state from json_each($1) as w
        join idempotency_keys k
            on k.project_id = w.value ->> 0 and k.principal = w.value ->> 1 and k.key = w.value ->> 2
        left join runs r on r.id = k.run_id""",
    by_key=True,
)

_FORMER_STATES = Statement(
    postgres="select id, state from run_history where id = any($1::uuid[])",
    sqlite="select id, state from runs where id in (select value from json_each($1))",
)

_RELEASE_KEY = both(
    "delete from idempotency_keys where project_id = $1 and principal = $2 and key = $3 and run_id = $4"
)
