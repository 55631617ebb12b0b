"""The hot path of a task run: claimed by one worker, ended by the holder of the fence, hinted."""

from collections.abc import Sequence
from datetime import datetime

from scheduler_application.ports.rows import AttemptEnd, ClaimedRow, PastAttempt, UnhintedTask
from scheduler_domain.run.states import TaskEvent, TaskState, task_sources
from scheduler_infrastructure.persistence.engine import Connection, Statement, both, rows_of
from scheduler_infrastructure.persistence.graph_rows import FINAL, TASK_STATES
from scheduler_infrastructure.persistence.planning import seen_by_key

_CLAIMABLE = ", ".join(f"'{state}'" for state in task_sources(TaskEvent.CLAIM))


class SqlClaims:
    """`ClaimWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, worker_id: str, hints: Sequence[tuple[str, int]], now: datetime) -> list[ClaimedRow]:
        rows = await self._connection.fetch_many(_CLAIM, hints, worker_id, now)
        if self._connection.dialect == "sqlite" and rows:
            rows = await self._connection.fetch(_CLAIMED, [row["id"] for row in rows])
        return [ClaimedRow._make(row.values()) for row in rows]

    async def claimed_before(self, worker_id: str, hints: Sequence[tuple[str, int]]) -> list[ClaimedRow]:
        rows = await self._connection.fetch_many(_CLAIMED_BEFORE, hints, worker_id)
        return [ClaimedRow._make(row.values()) for row in rows]

    async def end_attempts(self, ends: Sequence[AttemptEnd], now: datetime) -> dict[str, TaskState]:
        rows = await self._connection.fetch_many(_END_ATTEMPTS, ends, now)
        return {row["id"]: TASK_STATES[row["state"]] for row in rows}

    async def remember_attempts(self, attempts: Sequence[PastAttempt]) -> None:
        await self._connection.fetch_many(_REMEMBER, attempts)

    async def mark_hinted(self, hints: Sequence[tuple[str, int]], now: datetime) -> None:
        await self._connection.fetch_many(_MARK_HINTED, sorted(hints), now)

    async def unhinted(self, ready_before: datetime, limit: int) -> list[UnhintedTask]:
        return [UnhintedTask(**row) for row in await self._connection.fetch(_UNHINTED, ready_before, limit)]

    async def unclaimed(self, hinted_before: datetime, limit: int) -> list[UnhintedTask]:
        return [UnhintedTask(**row) for row in await self._connection.fetch(_UNCLAIMED, hinted_before, limit)]

    async def any_open(self) -> bool:
        return bool(await self._connection.fetch(_ANY_OPEN))


# Together they are the fields of a `ClaimedRow`, in its order.
_OF_RUN = (
    "r.project_id, r.workflow_id, r.version_id, r.inputs, r.traceparent, r.slot_key, r.trigger_id, r.due_at, "
    "r.scheduled_for, r.created_at, r.started_by, r.tasks_failed"
)
_OF_TASK = (
    "t.id, t.run_id, t.task, t.item_index, t.group_id, t.claim_no, t.attempt, t.worker_losses, t.item, t.queue, "
    "t.priority, t.ready_at, t.started_at"
)

_STILL_CLAIMABLE = seen_by_key(f"t.state in ({_CLAIMABLE})")

# Hints come sorted and name rows that hardly anybody else touches just now, so they are not locked beforehand: that
# would write every row twice. Whoever holds one of them (a mark, a cancel, another claim) lets it go in a moment, and
# two claims that met in a circle would be untied and tried again.
_CLAIM = Statement(
    postgres=f"""
        update task_runs t set state = 'running', claim_no = t.claim_no + 1, worker_id = $3, started_at = $4,
            error = null, cancel_requested = false
        from unnest($1::uuid[], $2::int[]) as h (id, claim_no), runs r
        where t.id = h.id and t.claim_no = h.claim_no and {_STILL_CLAIMABLE} and r.id = t.run_id
            and exists (select from workers w
                where w.id = $3 and w.state = 'active' and w.lease_until > clock_timestamp())
        returning {_OF_TASK}, {_OF_RUN}""",  # noqa: S608 - columns are ours
    sqlite=f"""
        update task_runs set state = 'running', claim_no = claim_no + 1, worker_id = $2, started_at = $3, error = null,
            cancel_requested = false
        from json_each($1) as h
        where task_runs.id = h.value ->> 0 and claim_no = h.value ->> 1 and state in ({_CLAIMABLE})
            and exists (select 1 from workers w
                where w.id = $2 and w.state = 'active' and w.lease_until > clock_timestamp())
        returning task_runs.id""",  # noqa: S608 - states from the table
    by_key=True,
)

# SQLite returns columns of the changed table only.
_CLAIMED = Statement(
    postgres="",
    sqlite=f"""
        select {_OF_TASK}, {_OF_RUN} from json_each($1) as h
        join task_runs t on t.id = h.value join runs r on r.id = t.run_id""",  # noqa: S608 - columns are ours
)

_CLAIMED_BEFORE = Statement(
    postgres=f"""
        select {_OF_TASK}, {_OF_RUN} from unnest($1::uuid[], $2::int[]) as h (id, claim_no)
        join task_runs t on t.id = h.id and t.claim_no = h.claim_no + 1 join runs r on r.id = t.run_id
        where t.state = 'running' and t.worker_id = $3""",  # noqa: S608 - columns are ours
    sqlite=f"""
        select {_OF_TASK}, {_OF_RUN} from json_each($1) as h
        join task_runs t on t.id = h.value ->> 0 and t.claim_no = (h.value ->> 1) + 1 join runs r on r.id = t.run_id
        where t.state = 'running' and t.worker_id = $2""",  # noqa: S608 - columns are ours
)

_GOES_ON = "('ready', 'retrying')"

_ENDS_AS = f"case when t.cancel_requested and e.state in {_GOES_ON} then 'cancelled' else e.state end"

_END_ATTEMPTS = Statement(
    postgres=f"""
        update task_runs t set state = {_ENDS_AS}, output = e.output, error = e.error,
            wake_at = case when t.cancel_requested then null else e.wake_at end,
            worker_losses = t.worker_losses + e.lost::int,
            worker_id = case when {_ENDS_AS} in ({FINAL}) then t.worker_id end,
            ready_at = case when {_ENDS_AS} = 'ready' then $8 else t.ready_at end, hinted_at = null,
            finished_at = case when {_ENDS_AS} in ({FINAL}) then $8 end
        from {rows_of(AttemptEnd._fields)} as e
        where t.id = e.id and {seen_by_key("t.state = 'running' and t.claim_no = e.claim_no")}
        returning t.id, t.state""",  # noqa: S608 - states from the table
    sqlite=f"""
        update task_runs set state = e.state, output = e.output, error = e.error, wake_at = e.wake_at,
            worker_losses = worker_losses + e.lost,
            worker_id = case when e.state in ({FINAL}) then worker_id end,
            ready_at = case when e.state = 'ready' then $2 else ready_at end, hinted_at = null,
            finished_at = case when e.state in ({FINAL}) then $2 end
        from (
            select r.value ->> 0 as id, r.value ->> 1 as claim_no, r.value ->> 3 as output, r.value ->> 4 as error,
                r.value ->> 6 as lost,
                case when c.cancel_requested and r.value ->> 2 in {_GOES_ON} then 'cancelled' else r.value ->> 2 end
                    as state,
                case when c.cancel_requested then null else r.value ->> 5 end as wake_at
            from json_each($1) as r join task_runs c on c.id = r.value ->> 0) as e
        where task_runs.id = e.id and task_runs.state = 'running' and task_runs.claim_no = e.claim_no
        returning task_runs.id, task_runs.state""",  # noqa: S608 - states from the table
    folds=True,
    by_key=True,
)

_REMEMBER = Statement(
    postgres="""
        insert into attempts (task_run_id, claim_no, attempt, worker_id, outcome, error, started_at, finished_at)
        select a.* from unnest($1::uuid[], $2::int[], $3::int[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[],
            $8::timestamptz[]) as a
        on conflict do nothing""",
    sqlite="""
        insert into attempts (task_run_id, claim_no, attempt, worker_id, outcome, error, started_at, finished_at)
        select r.value ->> 0, r.value ->> 1, r.value ->> 2, r.value ->> 3, r.value ->> 4, r.value ->> 5, r.value ->> 6,
            r.value ->> 7
        from json_each($1) as r where true on conflict do nothing""",
    by_key=True,
)

_MARK_HINTED = Statement(
    postgres=f"""
        with still as materialized (
            select t.id from task_runs t
            join unnest($1::uuid[], $2::int[]) as h (id, claim_no) on t.id = h.id and t.claim_no = h.claim_no
            where {_STILL_CLAIMABLE} order by t.id for update of t skip locked)
        update task_runs t set state = 'queued', hinted_at = $3 from still where t.id = still.id""",  # noqa: S608 - states from the table
    sqlite="""
        update task_runs set state = 'queued', hinted_at = $2 from json_each($1) as h
        where task_runs.id = h.value ->> 0 and claim_no = h.value ->> 1 and state in ('ready', 'queued')""",
    by_key=True,
)

_UNHINTED = both(
    """
    select id, claim_no, queue, priority from task_runs where state = 'ready' and ready_at < $1
    order by ready_at limit $2"""
)

_UNCLAIMED = both(
    """
    select id, claim_no, queue, priority, hinted_at from task_runs where state = 'queued' and hinted_at < $1
    order by ready_at, id limit $2"""
)

# Two partial indexes, the first row of either: the cost is that of an idle system, whatever the history.
_ANY_OPEN = both(
    f"""
    select 1 as open from task_runs where state in ({_CLAIMABLE})
    union all select 1 from task_runs where state = 'running' limit 1"""  # noqa: S608 - states from the table
)
