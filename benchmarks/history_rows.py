"""Finished runs in bulk, as the system would have left them: in history, in partitions of their weeks.

Each is a copy of a run that the system itself carried out, beside identity, workflow, state and times.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from scheduler_infrastructure.persistence.engine import Database
from scheduler_infrastructure.persistence.partitions import OF_FINISHED, is_partition, make

SPREAD = timedelta(days=29)
"""The runs are spread evenly over so long, the last one an hour ago."""

RARE_SHARE = 10
"""Only the oldest tenth has runs that failed, one in a hundred of them."""

COPIED_AT_ONCE = 200_000
_COMMAND_SECONDS = 600.0


class Filling(NamedTuple):
    """``workflows`` take turns; ``template`` is the id of a finished run of one task."""

    template: str
    workflows: list[str]
    trigger_id: str


async def fill(connection: asyncpg.Connection, filling: Filling, runs: int) -> None:
    """Writes ``runs`` finished runs with a task run and a decision of the ledger each, an attempt for one in a hundred
    and a chunk of a log for one in ten; newest statistics included."""
    for start in range(0, runs, COPIED_AT_ONCE):
        last = min(start + COPIED_AT_ONCE, runs) - 1
        for statement in _statements(await _columns(connection), filling, runs):
            await connection.execute(statement.format(first=start, last=last), timeout=_COMMAND_SECONDS)
    for table in ("runs", "task_runs", "run_history", "task_run_history", "ledger", "attempts", "log_chunks"):
        await connection.execute(f"analyze {table}", timeout=_COMMAND_SECONDS)
    for table in await connection.fetch("select tablename from pg_tables where schemaname = 'public'"):
        if is_partition(table["tablename"]):
            await connection.execute(f"vacuum {table['tablename']}", timeout=_COMMAND_SECONDS)


async def make_partitions(database: Database, now: datetime) -> None:
    """Those that a leader has made in so much time, however many runs there were."""
    weeks = [now - timedelta(weeks=back) for back in range(6)]
    for kind in OF_FINISHED:
        made = True
        while made:
            async with database.transaction() as transaction:
                made = await make(transaction, kind, weeks)


async def _columns(connection: asyncpg.Connection) -> dict[str, list[str]]:
    """The columns of the live tables, in their order."""
    rows = await connection.fetch(
        "select table_name, column_name from information_schema.columns where table_schema = 'public'"
        " and table_name in ('runs', 'task_runs') order by ordinal_position"
    )
    found: dict[str, list[str]] = {"runs": [], "task_runs": []}
    for row in rows:
        found[row["table_name"]].append(row["column_name"])
    return found


def _statements(columns: dict[str, list[str]], filling: Filling, runs: int) -> list[str]:
    """One for each table, with places for the numbers of the ``first`` and the ``last`` run."""
    apart = SPREAD.total_seconds() * 1_000 / runs
    milliseconds = f"(began.at + n * {apart})::bigint"
    at = f"to_timestamp({milliseconds} / 1000.0)"
    workflows = ", ".join(f"'{workflow}'" for workflow in filling.workflows)
    workflow = f"((array[{workflows}])[1 + n % {len(filling.workflows)}])::uuid"
    state = f"case when n < {runs // RARE_SHARE} and n % 100 = 7 then 'failed' else 'succeeded' end"
    run_id, task_run_id = _identity(milliseconds, "8000"), _identity(milliseconds, "8001")
    times = dict.fromkeys(("created_at", "started_at", "ready_at", "hinted_at", "finished_at"), at)
    of_run = {"id": run_id, "workflow_id": workflow, "state": state, **times}
    of_task = {"id": task_run_id, "run_id": run_id, "state": state, **times}
    age = f"interval '{SPREAD.days} days 1 hour'"
    began = f"extract(epoch from date_trunc('hour', clock_timestamp()) - {age}) * 1000"
    numbers = f"generate_series({{first}}, {{last}}) as n cross join (select {began} as at) as began"

    def copied(table: str, history: str, key: str, changed: dict[str, str]) -> str:
        values = ", ".join(changed.get(name, f"old.{name}") for name in columns[table])
        return (
            f"insert into {history} ({', '.join(columns[table])}) select {values}"  # noqa: S608 - names are the schema's
            f" from {table} old cross join {numbers} where old.{key} = '{filling.template}'"
        )

    project = f"(select project_id from runs where id = '{filling.template}')"  # noqa: S608 - as above
    ledger = f"'{filling.trigger_id}', {at} + n * interval '1 microsecond', {project}, {workflow}, 'fired', 'on_time'"
    log = f"{task_run_id}, 1, 1, {run_id}, {project}, 'stdout', {at}, convert_to('line ' || n, 'utf8'), false"
    return [
        copied("runs", "run_history", "id", of_run),
        copied("task_runs", "task_run_history", "run_id", of_task),
        f"insert into ledger select {ledger}, {run_id}, {at}, 1 from {numbers}",  # noqa: S608 - as above
        f"insert into attempts select {task_run_id}, 1, 1, null, 'failed', null, {at}, {at} from {numbers} where n % 100 = 0",  # noqa: S608, E501
        f"insert into log_chunks select {log} from {numbers} where n % 10 = 0",  # noqa: S608 - as above
    ]


def _identity(milliseconds: str, kind: str) -> str:
    """SQL for a version 7 UUID of its time and number."""
    return (
        f"(lpad(to_hex({milliseconds}), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '{kind}'"
        " || lpad(to_hex(n), 12, '0'))::uuid"
    )
