"""Cancelling, timers, and what lost workers left: task runs that change for a reason other than their own outcome."""

from collections.abc import Sequence
from datetime import datetime

from scheduler_application.ports.rows import CancelledTask, OwnedTask, ParentTask, RunningTask, UnhintedTask, WakingTask
from scheduler_infrastructure.persistence.engine import Connection, Statement, both
from scheduler_infrastructure.persistence.graph_rows import TASK_STATES


class SqlUpkeep:
    """`UpkeepWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def cancel_idle(self, run_ids: Sequence[str], now: datetime) -> list[CancelledTask]:
        rows = await self._connection.fetch(_CANCEL_IDLE, list(run_ids), now)
        return [CancelledTask(**row) for row in rows]

    async def cancel_idle_task(self, task_run_id: str, now: datetime) -> list[CancelledTask]:
        rows = await self._connection.fetch(_CANCEL_IDLE_TASK, task_run_id, now)
        return [CancelledTask(**row) for row in rows]

    async def request_cancel(self, task_run_id: str) -> list[RunningTask]:
        rows = await self._connection.fetch(_REQUEST_CANCEL, task_run_id)
        return [
            RunningTask(*(row[name] for name in RunningTask._fields)) for row in rows if row["worker_id"] is not None
        ]

    async def running_in(self, run_ids: Sequence[str]) -> list[RunningTask]:
        return [RunningTask(**row) for row in await self._connection.fetch(_RUNNING_IN, list(run_ids))]

    async def waking(self, now: datetime, limit: int) -> list[WakingTask]:
        rows = await self._connection.fetch(_WAKING, now, limit)
        return [WakingTask(**{**row, "state": TASK_STATES[row["state"]]}) for row in rows]

    async def wake(self, task_run_ids: Sequence[str], now: datetime) -> list[UnhintedTask]:
        rows = await self._connection.fetch(_WAKE, list(task_run_ids), now)
        return [UnhintedTask(**row) for row in rows]

    async def next_attempt(self, task_run_ids: Sequence[str]) -> set[str]:
        return {row["id"] for row in await self._connection.fetch(_NEXT_ATTEMPT, list(task_run_ids))}

    async def overdue_runs(self, now: datetime, limit: int) -> list[str]:
        return [row["id"] for row in await self._connection.fetch(_OVERDUE, now, limit)]

    async def orphans(self, limit: int) -> list[str]:
        return [row["id"] for row in await self._connection.fetch(_ORPHANS, limit)]

    async def parents(self, task_run_ids: Sequence[str]) -> list[ParentTask]:
        return [ParentTask(**row) for row in await self._connection.fetch(_PARENTS, list(task_run_ids))]

    async def owned_by(self, worker_ids: Sequence[str], limit: int) -> list[OwnedTask]:
        return [OwnedTask(**row) for row in await self._connection.fetch(_OWNED_BY, list(worker_ids), limit)]


_CANCELLED = "id, run_id, task, item_index, group_id, child_run_id"
_CANCELLED_OF_T = ", ".join(f"t.{column}" for column in _CANCELLED.split(", "))

# A waiting task run with items left is a group: it ends when its running items have ended.
_IDLE = "(state in ('blocked', 'ready', 'queued', 'retrying') or (state = 'waiting' and needs_left = 0))"

# Locked by id first: a claim locks the same rows in that order, and neither must wait for the other in a circle.
_CANCEL_IDLE = Statement(
    postgres=f"""
        with idle as materialized (
            select id from task_runs where run_id = any($1::uuid[]) and {_IDLE} order by id for update)
        update task_runs t set state = 'cancelled', finished_at = $2, wake_at = null
        from idle where t.id = idle.id returning {_CANCELLED_OF_T}""",  # noqa: S608 - columns are ours
    sqlite=f"""
        update task_runs set state = 'cancelled', finished_at = $2, wake_at = null
        where run_id in (select value from json_each($1)) and {_IDLE} returning {_CANCELLED}""",  # noqa: S608
)

_CANCEL_IDLE_TASK = Statement(
    postgres=f"""
        with idle as materialized (
            select id from task_runs where (id = $1 or group_id = $1) and {_IDLE} order by id for update)
        update task_runs t set state = 'cancelled', finished_at = $2, wake_at = null
        from idle where t.id = idle.id returning {_CANCELLED_OF_T}""",  # noqa: S608 - columns are ours
    sqlite=f"""
        update task_runs set state = 'cancelled', finished_at = $2, wake_at = null
        where (id = $1 or group_id = $1) and {_IDLE} returning {_CANCELLED}""",  # noqa: S608 - columns are ours
)

_REQUEST_CANCEL = both(
    """
    update task_runs set cancel_requested = true where (id = $1 or group_id = $1) and state in ('running', 'waiting')
    returning id, claim_no, worker_id, run_id"""
)

_RUNNING_IN = Statement(
    postgres="""
        select id, claim_no, worker_id, run_id from task_runs where run_id = any($1::uuid[]) and state = 'running'""",
    sqlite="""
        select id, claim_no, worker_id, run_id from task_runs
        where run_id in (select value from json_each($1)) and state = 'running'""",
)

_WAKING_COLUMNS = (
    "t.id, t.run_id, t.task, t.item_index, t.group_id, t.claim_no, t.attempt, t.state, t.item, "
    "r.workflow_id, r.slot_key"
)

_WAKING = both(
    f"""
    select {_WAKING_COLUMNS} from task_runs t join runs r on r.id = t.run_id
    where t.state in ('waiting', 'retrying') and t.wake_at is not null and t.wake_at <= $1
    order by t.wake_at limit $2"""  # noqa: S608 - columns are ours
)

_WAKE = Statement(
    postgres="""
        update task_runs set state = 'ready', attempt = attempt + 1, wake_at = null, ready_at = $2, hinted_at = null
        where id = any($1::uuid[]) and state = 'retrying' returning id, claim_no, queue, priority""",
    sqlite="""
        update task_runs set state = 'ready', attempt = attempt + 1, wake_at = null, ready_at = $2, hinted_at = null
        where id in (select value from json_each($1)) and state = 'retrying' returning id, claim_no, queue, priority""",
)

_NEXT_ATTEMPT = Statement(
    postgres="""
        update task_runs set attempt = attempt + 1 where id = any($1::uuid[]) and state = 'retrying' returning id""",
    sqlite="""
        update task_runs set attempt = attempt + 1
        where id in (select value from json_each($1)) and state = 'retrying' returning id""",
)

_OVERDUE = both(
    """
    select id from runs where deadline_at is not null and finished_at is null and deadline_at <= $1
        and state in ('pending', 'running') order by deadline_at limit $2"""
)

# A parent that is not among the live ones has moved into history, or is gone: its run is over, and nobody waits.
_ORPHANS = both(
    """
    select c.id from runs c left join task_runs t on t.id = c.parent_task_run_id
    where c.parent_task_run_id is not null and c.state in ('pending', 'running')
        and (t.id is null or t.state = 'cancelled') limit $1"""
)

_PARENTS = Statement(
    postgres="""
        select id, run_id, task, item_index, group_id, claim_no, attempt, child_run_id, started_at from task_runs
        where id = any($1::uuid[]) and state = 'waiting' and child_run_id is not null""",
    sqlite="""
        select id, run_id, task, item_index, group_id, claim_no, attempt, child_run_id, started_at from task_runs
        where id in (select value from json_each($1)) and state = 'waiting' and child_run_id is not null""",
)

_OWNED_COLUMNS = (
    "t.id, t.run_id, t.task, t.item_index, t.group_id, t.claim_no, t.attempt, t.worker_losses, t.worker_id, t.queue, "
    "t.priority, t.started_at, r.workflow_id, r.slot_key"
)

_OWNED_BY = Statement(
    postgres=f"""
        select {_OWNED_COLUMNS} from task_runs t join runs r on r.id = t.run_id
        where t.worker_id = any($1::uuid[]) and t.state = 'running' order by t.id limit $2""",  # noqa: S608
    sqlite=f"""
        select {_OWNED_COLUMNS} from task_runs t join runs r on r.id = t.run_id
        where t.worker_id in (select value from json_each($1)) and t.state = 'running'
        order by t.id limit $2""",  # noqa: S608 - columns are ours
)
