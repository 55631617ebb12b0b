"""Finished runs in bulk, as the system would have left them: in history, in partitions of their weeks.

Each is a copy of a run that the system itself carried out, beside identity, workflow, state and times. A partition is
filled before it has indexes, which it gets when it is attached: built at once they take less time.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg

from scheduler_infrastructure.persistence.engine import Database
from scheduler_infrastructure.persistence.partitions import (
    LEDGER,
    OF_FINISHED,
    RUN_HISTORY,
    TASK_RUN_HISTORY,
    Partitioned,
    bound,
    end_of,
    make,
    name_of,
    width,
)

SPREAD = timedelta(days=29)
"""The runs are spread evenly over so long, the last one an hour ago."""

RARE_SHARE = 10
"""Only the oldest tenth has runs that failed, one in a hundred of them."""

A_PAGE = 60
"""More rows than a page of a list shows."""

_COMMAND_SECONDS = 900.0
_SESSION = (
    "set synchronous_commit = off; set statement_timeout = 0; set maintenance_work_mem = '256MB';"
    " set max_parallel_maintenance_workers = 0"
)


class Filling(NamedTuple):
    """``workflows`` take turns; ``template`` is the id of a finished run of one task."""

    template: str
    workflows: list[str]
    trigger_id: str


async def fill(url: str, filling: Filling, runs: int) -> None:
    """Writes ``runs`` finished runs with a task run and a decision of the ledger each, an attempt for one in a hundred
    and a chunk of a log for one in ten; newest statistics included."""
    moment = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = _Rows(filling, runs, moment - SPREAD - timedelta(hours=1))
    await asyncio.gather(_fill_runs(url, rows), _fill_the_others(url, rows))


async def fail_a_page(connection: asyncpg.Connection, filling: Filling) -> None:
    """What a list of failed runs shows where there is no history: runs that failed just now."""
    columns = (await _columns(connection))["runs"]
    now = "clock_timestamp()"
    changed = {
        "id": _identity(f"(extract(epoch from {now}) * 1000)::bigint", "8002"),
        "workflow_id": f"'{filling.workflows[_FAILING % len(filling.workflows)]}'::uuid",
        "state": "'failed'",
        **dict.fromkeys(("created_at", "started_at", "finished_at"), now),
    }
    await connection.execute(
        f"insert into runs ({', '.join(columns)})"  # noqa: S608 - names are the schema's
        f" select {', '.join(changed.get(name, f'old.{name}') for name in columns)} from runs old"
        f" cross join generate_series(1, {A_PAGE}) as n where old.id = '{filling.template}'"
    )


async def make_partitions(database: Database, now: datetime) -> None:
    """Those that a leader has made in so much time, however many runs there were."""
    weeks = [now - timedelta(weeks=back) for back in range(6)]
    for kind in OF_FINISHED:
        made = True
        while made:
            async with database.transaction() as transaction:
                made = await make(transaction, kind, weeks)


_FAILING = 7
"""Of a hundred old runs the one that failed."""


class _Rows:
    """SQL for the rows of the ``n``-th run, ``n`` from 0 on, the first of which ``began`` then."""

    def __init__(self, filling: Filling, runs: int, began: datetime) -> None:
        self.filling = filling
        self.runs = runs
        self.began = began
        self._apart = SPREAD.total_seconds() * 1_000 / runs
        self._milliseconds = f"({began.timestamp() * 1_000:.0f} + n * {self._apart}::float8)::bigint"
        self._at = f"to_timestamp({self._milliseconds} / 1000.0)"
        workflows = ", ".join(f"'{workflow}'" for workflow in filling.workflows)
        self._workflow = f"((array[{workflows}])[1 + n % {len(filling.workflows)}])::uuid"
        self._run_id = _identity(self._milliseconds, "8000")
        self._task_run_id = _identity(self._milliseconds, "8001")
        self._project = f"(select project_id from runs where id = '{filling.template}')"  # noqa: S608 - ours
        self._numbers = f"generate_series(0, {runs - 1}) as n"

    def changed(self, kind: Partitioned) -> dict[str, str]:
        """The values of a run or a task run that are not the template's."""
        rare = f"n < {self.runs // RARE_SHARE} and n % 100 = {_FAILING}"
        times = dict.fromkeys(("created_at", "started_at", "ready_at", "hinted_at", "finished_at"), self._at)
        own = {"state": f"case when {rare} then 'failed' else 'succeeded' end", **times}
        if kind is RUN_HISTORY:
            return {"id": self._run_id, "workflow_id": self._workflow, **own}
        return {"id": self._task_run_id, "run_id": self._run_id, **own}

    def numbers_of(self, start: datetime, end: datetime) -> str:
        """The numbers of the runs of a span of time: about so many, of which those count whose id is of that time."""
        first, last = (moment.timestamp() * 1_000 for moment in (start, end))
        begin, stop = (int((bound - self.began.timestamp() * 1_000) / self._apart) for bound in (first, last))
        return (
            f"(select n from generate_series({max(0, begin - 1)}, {min(self.runs - 1, stop + 1)}) as n"  # noqa: S608
            f" where {self._milliseconds} >= {first:.0f} and {self._milliseconds} < {last:.0f}) as numbers"
        )

    @property
    def ledger(self) -> str:
        due_at = f"{self._at} + n * interval '1 microsecond'"
        return (
            f"select '{self.filling.trigger_id}'::uuid, {due_at}, {self._project}, {self._workflow},"  # noqa: S608 - ours
            f" 'fired', 'on_time', {self._run_id}, {self._at}, 1 from {self._numbers}"
        )

    @property
    def attempts(self) -> str:
        return (
            f"select {self._task_run_id}, 1, 1, null, 'failed', null, {self._at}, {self._at}"  # noqa: S608 - ours
            f" from {self._numbers} where n % 100 = 0"
        )

    @property
    def log_chunks(self) -> str:
        return (
            f"select {self._task_run_id}, 1, 1, {self._run_id}, {self._project}, 'stdout', {self._at},"  # noqa: S608
            f" convert_to('line ' || n, 'utf8'), false from {self._numbers} where n % 10 = 0"
        )


async def _fill_runs(url: str, rows: _Rows) -> None:
    connection = await _connect(url)
    await _fill_weeks(connection, RUN_HISTORY, "runs", "id", rows)
    await connection.close()


async def _fill_the_others(url: str, rows: _Rows) -> None:
    connection = await _connect(url)
    await _fill_weeks(connection, TASK_RUN_HISTORY, "task_runs", "run_id", rows)
    await _refill_ledger(connection, rows)
    await _execute(connection, f"insert into attempts {rows.attempts}")
    await _execute(connection, f"insert into log_chunks {rows.log_chunks}")
    for table in ("runs", "task_runs", "ledger", "attempts", "log_chunks"):
        await _execute(connection, f"vacuum (analyze) {table}")
    await connection.close()


async def _fill_weeks(connection: asyncpg.Connection, kind: Partitioned, live: str, key: str, rows: _Rows) -> None:
    columns = (await _columns(connection))[live]
    changed = rows.changed(kind)
    values = ", ".join(changed.get(name, f"old.{name}") for name in columns)
    end = end_of(kind, rows.began)
    while end - width(kind) < rows.began + SPREAD:
        start, name = end - width(kind), name_of(kind, end)
        await _execute(connection, f"create table {name} (like {kind.table} including defaults including constraints)")
        await _execute(
            connection,
            f"insert into {name} ({', '.join(columns)}) select {values} from {live} old"  # noqa: S608 - ours
            f" cross join {rows.numbers_of(start, end)} where old.{key} = '{rows.filling.template}'",
        )
        await _attach(connection, kind, name, f"for values from ({bound(kind, start)}) to ({bound(kind, end)})")
        end += width(kind)
    await _execute(connection, f"analyze {kind.table}")


async def _refill_ledger(connection: asyncpg.Connection, rows: _Rows) -> None:
    """Its first partition, which has no beginning and holds what is older than the system."""
    name, bounds = await connection.fetchrow(
        "select c.relname, pg_get_expr(c.relpartbound, c.oid) from pg_inherits i join pg_class c on c.oid = i.inhrelid"
        " where i.inhparent = 'ledger'::regclass and pg_get_expr(c.relpartbound, c.oid) like '%(MINVALUE)%'"
    )
    await _execute(
        connection, f"create table ledger_filled (like {LEDGER.table} including defaults including constraints)"
    )
    await _execute(connection, f"insert into ledger_filled {rows.ledger}")
    await _execute(connection, f"alter table {LEDGER.table} detach partition {name}")
    await _execute(connection, f"insert into ledger_filled select * from {name}")  # noqa: S608 - ours
    await _execute(connection, f"drop table {name}")
    await _execute(connection, f"alter table ledger_filled rename to {name}")
    await _attach(connection, LEDGER, name, bounds)


async def _attach(connection: asyncpg.Connection, kind: Partitioned, name: str, bounds: str) -> None:
    await _execute(connection, f"alter table {kind.table} attach partition {name} {bounds}")
    await _execute(connection, f"vacuum (analyze) {name}")


async def _connect(url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(url)
    await connection.execute(_SESSION)
    return connection


async def _execute(connection: asyncpg.Connection, sql: str) -> None:
    await connection.execute(sql, timeout=_COMMAND_SECONDS)


async def _columns(connection: asyncpg.Connection) -> dict[str, Sequence[str]]:
    """The columns of the live tables, in their order."""
    rows = await connection.fetch(
        "select table_name, column_name from information_schema.columns where table_schema = 'public'"
        " and table_name in ('runs', 'task_runs') order by ordinal_position"
    )
    return {
        table: [row["column_name"] for row in rows if row["table_name"] == table] for table in ("runs", "task_runs")
    }


def _identity(milliseconds: str, kind: str) -> str:
    """SQL for a version 7 UUID of its time and number."""
    return (
        f"(lpad(to_hex({milliseconds}), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '{kind}'"
        " || lpad(to_hex(n), 12, '0'))::uuid"
    )
