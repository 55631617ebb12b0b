"""Task runs as the graph advances: counters go down, decisions are written. The runs concerned are locked."""

from collections.abc import Sequence
from datetime import datetime

from scheduler_application.ports.rows import BlockedTask, CountDown, GroupCount, Resolution, SettledTask
from scheduler_domain.run.states import FINAL_TASK_STATES, TaskState
from scheduler_infrastructure.persistence.engine import Connection, Row, Statement, both
from scheduler_infrastructure.persistence.planning import seen_by_key

TASK_STATES = {state.value: state for state in TaskState}

FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL_TASK_STATES))


class SqlGraph:
    """`GraphWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def roots(self, run_ids: Sequence[str]) -> list[BlockedTask]:
        return [_blocked(row) for row in await self._connection.fetch(_ROOTS, list(run_ids))]

    async def count_down(self, counts: Sequence[CountDown]) -> list[BlockedTask]:
        rows = await self._connection.fetch_many(_COUNT_DOWN, counts)
        return [_blocked(row) for row in rows if row["needs_left"] == 0]

    async def count_groups(self, counts: Sequence[GroupCount]) -> list[BlockedTask]:
        rows = await self._connection.fetch_many(_COUNT_GROUPS, counts)
        return [_blocked(row) for row in rows if row["needs_left"] == 0]

    async def next_items(self, group_id: str, limit: int) -> list[BlockedTask]:
        return [_blocked(row) for row in await self._connection.fetch(_NEXT_ITEMS, group_id, limit)]

    async def resolve(self, resolutions: Sequence[Resolution], now: datetime) -> set[str]:
        return {row["id"] for row in await self._connection.fetch_many(_RESOLVE, resolutions, now)}

    async def results(self, wanted: Sequence[tuple[str, str]]) -> list[SettledTask]:
        return [_settled(row) for row in await self._connection.fetch_many(_RESULTS, wanted)]

    async def item_results(self, group_ids: Sequence[str]) -> list[SettledTask]:
        return [_settled(row) for row in await self._connection.fetch(_ITEM_RESULTS, list(group_ids))]


def _blocked(row: Row) -> BlockedTask:
    return BlockedTask(
        row["id"],
        row["run_id"],
        row["task"],
        row["item_index"],
        row["group_id"],
        row["claim_no"],
        row["attempt"],
        row["needs_failed"],
        row["needs_skipped"],
        TASK_STATES[row["state"]],
        row["item"],
        bool(row["cancel_requested"]),
    )


def _settled(row: Row) -> SettledTask:
    state = TASK_STATES[row["state"]]
    return SettledTask(
        row["run_id"],
        row["task"],
        row["item_index"],
        state,
        row["output"],
        row["group_id"],
    )


_COLUMNS = (
    "id, run_id, task, item_index, group_id, claim_no, attempt, needs_left, needs_failed, needs_skipped, state, item, "
    "cancel_requested"
)
_OF_T = ", ".join(f"t.{column}" for column in _COLUMNS.split(", "))

# The task run itself, none of its items. Not a mere -1: of that the planner has statistics, and may go by them through
# the task runs of all runs.
_WHOLE_D = "case when d.task is null then null else -1 end"

_ROOTS = Statement(
    postgres=f"""
        select {_COLUMNS} from task_runs
        where run_id = any($1::uuid[]) and state = 'blocked' and needs_left = 0""",  # noqa: S608 - columns are ours
    sqlite=f"""
        select {_COLUMNS} from task_runs
        where run_id in (select value from json_each($1)) and state = 'blocked' and needs_left = 0""",  # noqa: S608
)

_COUNT_DOWN = Statement(
    postgres=f"""
        update task_runs t set needs_left = t.needs_left - d.done, needs_failed = t.needs_failed + d.failed,
            needs_skipped = t.needs_skipped + d.skipped
        from unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::int[]) as d (run_id, task, done, failed, skipped)
        where t.run_id = d.run_id and t.task = d.task and t.item_index = {_WHOLE_D}
            and {seen_by_key("t.state = 'blocked'")}
        returning {_OF_T}""",  # noqa: S608 - columns are ours
    sqlite=f"""
        update task_runs set needs_left = needs_left - (r.value ->> 2), needs_failed = needs_failed + (r.value ->> 3),
            needs_skipped = needs_skipped + (r.value ->> 4)
        from json_each($1) as r
        where run_id = r.value ->> 0 and task = r.value ->> 1 and item_index = -1 and state = 'blocked'
        returning {_COLUMNS}""",  # noqa: S608 - columns are ours
    by_key=True,
)

_COUNT_GROUPS = Statement(
    postgres=f"""
        update task_runs t set needs_left = t.needs_left - d.done, needs_failed = t.needs_failed + d.failed
        from unnest($1::uuid[], $2::int[], $3::int[]) as d (id, done, failed)
        where t.id = d.id and {seen_by_key("t.state = 'waiting'")}
        returning {_OF_T}""",  # noqa: S608 - columns are ours
    sqlite=f"""
        update task_runs set needs_left = needs_left - (r.value ->> 1), needs_failed = needs_failed + (r.value ->> 2)
        from json_each($1) as r where task_runs.id = r.value ->> 0 and state = 'waiting'
        returning {_COLUMNS.replace("id, run_id", "task_runs.id, run_id", 1)}""",  # noqa: S608 - columns are ours
    by_key=True,
)

_NEXT_ITEMS = both(
    f"""
    select {_COLUMNS} from task_runs where group_id = $1 and state = 'blocked' order by item_index limit $2"""  # noqa: S608
)

# The guard is the states from which a decision may be made at all; which of them it was, the locked run's row in hand
# says.
_RESOLVE = Statement(
    postgres=f"""
        update task_runs t set state = d.state, wake_at = d.wake_at, output = coalesce(d.output, t.output),
            error = d.error, needs_left = coalesce(d.items, t.needs_left),
            needs_failed = case when d.items is null then t.needs_failed else 0 end,
            child_run_id = coalesce(d.child_run_id, t.child_run_id),
            ready_at = case when d.state = 'ready' then $8 else t.ready_at end,
            started_at = case when d.state = 'waiting' then $8 else t.started_at end,
            finished_at = case when d.state in ({FINAL}) then $8 end
        from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::int[], $7::uuid[])
            as d (id, state, wake_at, output, error, items, child_run_id)
        where t.id = d.id and {seen_by_key("t.state in ('blocked', 'waiting', 'retrying')")}
        returning t.id""",  # noqa: S608 - states from the table
    sqlite=f"""
        update task_runs set state = r.value ->> 1, wake_at = r.value ->> 2,
            output = coalesce(r.value ->> 3, output), error = r.value ->> 4,
            needs_left = coalesce(r.value ->> 5, needs_left),
            needs_failed = case when r.value ->> 5 is null then needs_failed else 0 end,
            child_run_id = coalesce(r.value ->> 6, child_run_id),
            ready_at = case when r.value ->> 1 = 'ready' then $2 else ready_at end,
            started_at = case when r.value ->> 1 = 'waiting' then $2 else started_at end,
            finished_at = case when r.value ->> 1 in ({FINAL}) then $2 end
        from json_each($1) as r
        where task_runs.id = r.value ->> 0 and state in ('blocked', 'waiting', 'retrying')
        returning task_runs.id""",  # noqa: S608 - states from the table
    by_key=True,
)

_RESULTS = Statement(
    postgres=f"""
        select t.run_id, t.task, t.item_index, t.state, t.output, t.group_id from task_runs t
        join unnest($1::uuid[], $2::text[]) as d (run_id, task) on t.run_id = d.run_id and t.task = d.task
            and t.item_index = {_WHOLE_D}""",  # noqa: S608 - ours
    sqlite="""
        select t.run_id, t.task, t.item_index, t.state, t.output, t.group_id from json_each($1) as r
        join task_runs t on t.run_id = r.value ->> 0 and t.task = r.value ->> 1 and t.item_index = -1""",
    by_key=True,
)

_ITEM_RESULTS = Statement(
    postgres="""
        select run_id, task, item_index, state, output, group_id from task_runs
        where group_id = any($1::uuid[]) order by group_id, item_index""",
    sqlite="""
        select run_id, task, item_index, state, output, group_id from task_runs
        where group_id in (select value from json_each($1)) order by group_id, item_index""",
)
