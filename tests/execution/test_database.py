"""Statements as tasks, on SQLite and on a real PostgreSQL."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from scheduler_domain.run.outcome import Failed, Outcome, Succeeded, TimedOut
from scheduler_infrastructure.execution.database import DatabaseExecutor
from scheduler_infrastructure.execution.output import MAX_OUTPUT_BYTES
from tests.support.attempts import CollectedLog, an_attempt, stop


class Database:
    def __init__(self, executor: DatabaseExecutor, folder: Path, url: str) -> None:
        self.executor, self.folder, self.url = executor, folder, url

    async def __call__(self, sql: str, parameters: dict[str, Any] | None = None, **changes: Any) -> Outcome:
        settings = {"connection": changes.pop("connection", "main"), "sql": sql, "parameters": parameters or {}}
        attempt = an_attempt("database", settings, self.folder, **{"timeout": 20.0, **changes})
        return await self.executor.execute(attempt, CollectedLog())

    async def rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        outcome = await self(sql, parameters)
        assert isinstance(outcome, Succeeded), outcome
        rows: list[dict[str, Any]] = outcome.output["rows"]
        return rows


async def opened(folder: Path, url: str) -> AsyncIterator[Database]:
    executor = DatabaseExecutor({"main": url})
    await executor.open()
    yield Database(executor, folder, url)
    await executor.close()


@pytest.fixture
async def postgres(tmp_path: Path, postgres_url: str) -> AsyncIterator[Database]:
    async for database in opened(tmp_path, postgres_url):
        yield database


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    async for database in opened(tmp_path, f"sqlite:///{tmp_path}/data.db"):
        yield database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def error_of(outcome: Outcome) -> tuple[str, bool]:
    assert isinstance(outcome, Failed), outcome
    return outcome.error.code, outcome.retryable


async def test_changes_are_committed_and_counted(database: Database) -> None:
    assert await database("create table done(day text, n integer)") == Succeeded(
        {"rows": [], "row_count": 0, "truncated": False}
    )
    inserted = await database("insert into done values (:day, :n), (:day, 2)", {"day": "monday", "n": 1})
    assert inserted == Succeeded({"rows": [], "row_count": 2, "truncated": False})
    assert await database.rows("select * from done order by n") == [
        {"day": "monday", "n": 1},
        {"day": "monday", "n": 2},
    ]
    returned = await database.rows("update done set n = n + 10 where n = :n returning n", {"n": 2})
    assert returned == [{"n": 12}]
    assert len(await database.rows("select * from done where n = 12")) == 1


async def test_values_cannot_change_the_statement(database: Database) -> None:
    hostile = "'); drop table done; --"
    await database("create table done(day text)")
    await database("insert into done values (:day)", {"day": hostile})
    assert await database.rows("select day from done") == [{"day": hostile}]


@pytest.mark.parametrize("sql", ["select 1; select 2", "create table a(x int); drop table a"])
async def test_one_statement_only(database: Database, sql: str) -> None:
    assert error_of(await database(sql)) == ("sql_error", False)


async def test_a_semicolon_at_the_end_is_no_second_statement(database: Database) -> None:
    assert await database.rows("select 1 as n;") == [{"n": 1}]


@pytest.mark.parametrize(("sql", "parameters"), [("select :a", {}), ("select 1", {"a": 1}), ("select :a", {"b": 1})])
async def test_parameters_must_match(database: Database, sql: str, parameters: dict[str, Any]) -> None:
    assert error_of(await database(sql, parameters)) == ("parameter_mismatch", False)


async def test_a_connection_that_nobody_named_is_refused(database: Database) -> None:
    assert error_of(await database("select 1", connection="other")) == ("unknown_connection", False)


@pytest.mark.parametrize("sql", ["", ";", "selec 1", "select * from nowhere", "select 1/*\x00*/", "select ?", "\\!ls"])
async def test_wrong_statements_are_told(database: Database, sql: str) -> None:
    assert error_of(await database(sql)) == ("sql_error", False)


async def test_two_columns_of_one_name_are_refused(database: Database) -> None:
    outcome = await database("select 1 as n, 2 as n")
    assert error_of(outcome) == ("sql_error", False)
    assert "'n'" in str(outcome)


async def test_many_rows_are_cut_at_the_bound(database: Database) -> None:
    sql = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000) select i from n"
    outcome = await database(sql)
    assert isinstance(outcome, Succeeded)
    assert outcome.output["truncated"] is True
    assert outcome.output["row_count"] == len(outcome.output["rows"]) > 1000
    assert len(json.dumps(outcome.output, separators=(",", ":"))) <= MAX_OUTPUT_BYTES


async def test_a_row_that_is_too_large_leaves_a_mark(database: Database) -> None:
    text = "x" * 70_000
    outcome = await database("select cast(:text as text) as t", {"text": text})
    assert outcome == Succeeded({"rows": [], "row_count": 0, "truncated": True})


async def test_values_of_postgresql_become_json(postgres: Database) -> None:
    sql = """
        select null as a, true as b, 1::bigint as c, 1.5::float8 as d, 'NaN'::float8 as e, 2.50::numeric as f,
               12345678901234567890.5::numeric as g, 3::numeric as h, '\\x00ff'::bytea as i, date '2027-01-02' as j,
               timestamptz '2027-01-02 03:04:05+02' as k, interval '1 day 2 hours 3.5 seconds' as l,
               '01890000-0000-7000-8000-000000000000'::uuid as m, '{"x": [1]}'::jsonb as n, '{1,2}'::int[] as o,
               '10.0.0.1'::inet as p, int4range(1, 5) as q, 'NaN'::numeric as r, row(1, 'a') as s, '[1]'::json as t
    """
    assert (await postgres.rows(sql))[0] == {
        "a": None, "b": True, "c": 1, "d": 1.5, "e": "NaN", "f": 2.5, "g": "12345678901234567890.5", "h": 3,
        "i": "AP8=", "j": "2027-01-02", "k": "2027-01-02T01:04:05+00:00", "l": "P1DT7203.5S",
        "m": "01890000-0000-7000-8000-000000000000", "n": {"x": [1]}, "o": [1, 2], "p": "10.0.0.1",
        "q": "<Range [1, 5)>", "r": "NaN", "s": [1, "a"], "t": [1],
    }  # fmt: skip


async def test_values_of_sqlite_become_json(sqlite: Database) -> None:
    rows = await sqlite.rows("select null as a, 1 as b, 1.5 as c, 'ä' as d, x'00ff' as e, 9e999 as f")
    assert rows == [{"a": None, "b": 1, "c": 1.5, "d": "ä", "e": "AP8=", "f": "Infinity"}]


async def test_postgresql_reads_parameters_as_the_types_it_wants(postgres: Database) -> None:
    await postgres(
        "create table typed(a date, b timestamptz, c interval, d uuid, e jsonb, f int[], g numeric, h text, i boolean,"
        " j bytea, k varchar(5), l bigint)"
    )
    given = {
        "a": "2027-01-02", "b": "2027-01-02T03:04:05Z", "c": "90 minutes", "d": "01890000-0000-7000-8000-000000000000",
        "e": {"x": [1, None]}, "f": [1, 2, None], "g": 1.25, "h": 7, "i": True, "j": "\\x00ff", "k": "abc", "l": 2**40,
    }  # fmt: skip
    names = ", ".join(f":{name}" for name in given)
    assert isinstance(await postgres(f"insert into typed values ({names})", given), Succeeded)
    row = (await postgres.rows("select * from typed where a = :a and l = :l", {"a": given["a"], "l": given["l"]}))[0]
    assert row["b"] == "2027-01-02T03:04:05+00:00"
    assert (row["c"], row["e"], row["f"], row["g"], row["h"]) == ("PT5400S", given["e"], [1, 2, None], 1.25, "7")
    assert (row["i"], row["j"], row["k"], row["l"]) == (True, "AP8=", "abc", 2**40)
    assert await postgres.rows("select l from typed where l = any(:ls) limit :n", {"ls": [2**40, 5], "n": 1})
    assert error_of(await postgres("select * from typed where a = :a", {"a": "tomorrowish"}))[0] == "sql_error"
    nothing = await postgres.rows("select :x::date as x", {"x": None})
    assert nothing == [{"x": None}]


async def test_parameters_of_sqlite_keep_their_kind(sqlite: Database) -> None:
    given = {"a": 1, "b": 1.5, "c": "x", "d": None, "e": True, "f": {"k": [1]}}
    row = (await sqlite.rows("select :a as a, :b as b, :c as c, :d as d, :e as e, :f as f", given))[0]
    assert row == {"a": 1, "b": 1.5, "c": "x", "d": None, "e": 1, "f": '{"k":[1]}'}


async def test_what_cannot_run_in_a_transaction_runs_without_one(postgres: Database) -> None:
    made = f"orrery_made_outside_{uuid4().hex}"
    for sql in ("vacuum", f"create database {made}", f"drop database {made}"):
        assert isinstance(await postgres(sql), Succeeded), sql


async def running_on(url: str, marker: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        sql = (
            "select count(*) from pg_stat_activity where state = 'active' and query like $1 and pid <> pg_backend_pid()"
            " and datname = current_database()"
        )
        found: int = await connection.fetchval(sql, f"%{marker}%")
        return found
    finally:
        await connection.close()


async def until_running(url: str, marker: str, count: int) -> None:
    async with asyncio.timeout(10):
        while await running_on(url, marker) != count:
            continue


async def test_a_stop_ends_the_statement_on_the_server(postgres: Database) -> None:
    settings = {"connection": "main", "sql": "select pg_sleep(1000) /* stopped */"}
    attempt = an_attempt("database", settings, postgres.folder)
    running = asyncio.create_task(postgres.executor.execute(attempt, CollectedLog()))
    await until_running(postgres.url, "/* stopped */", 1)
    stop(attempt, "cancel")
    await running
    await until_running(postgres.url, "/* stopped */", 0)


async def test_a_statement_that_takes_too_long_changes_nothing(postgres: Database) -> None:
    await postgres("create table changed(n int)")
    sql = "insert into changed select 1 from (select pg_sleep(5)) as slow"
    assert await postgres(sql, timeout=0.3) == TimedOut(0.3)
    assert await postgres.rows("select * from changed") == []


async def test_an_interrupted_statement_on_sqlite_changes_nothing(sqlite: Database) -> None:
    await sqlite("create table changed(n int)")
    sql = "insert into changed with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
    assert await sqlite(sql, timeout=0.3) == TimedOut(0.3)
    assert await sqlite.rows("select count(*) as n from changed") == [{"n": 0}]


async def test_a_locked_sqlite_file_may_be_tried_again(sqlite: Database) -> None:
    await sqlite("create table done(n int)")
    other = sqlite3.connect(sqlite.url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("begin immediate")
    outcome = await sqlite("insert into done values (1)")
    other.close()
    assert error_of(outcome) == ("sql_error", True)


async def test_another_file_cannot_be_attached(sqlite: Database) -> None:
    assert error_of(await sqlite("attach database '/tmp/other.db' as other")) == ("sql_error", False)


@pytest.mark.parametrize(
    ("url", "retryable"),
    [
        ("postgresql://postgres:hunter2@127.0.0.1:9/x", True),
        ("postgresql://postgres:hunter2@127.0.0.1:bad/x", True),
        ("sqlite:////nonexistent/folder/data.db", True),
    ],
)
async def test_a_database_that_is_not_there_is_a_connect_error(tmp_path: Path, url: str, retryable: bool) -> None:
    async for database in opened(tmp_path, url):
        outcome = await database("select 1")
        assert error_of(outcome) == ("connect_error", retryable)
        assert "hunter2" not in str(outcome)


def test_a_connection_of_an_unknown_kind_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="'main'") as raised:
        DatabaseExecutor({"main": "mysql://root:hunter2@x/y"})
    assert "hunter2" not in str(raised.value)


async def test_a_database_or_a_user_that_does_not_exist_is_not_tried_again(tmp_path: Path, postgres_url: str) -> None:
    async for database in opened(tmp_path, postgres_url + "_not_there"):
        assert error_of(await database("select 1")) == ("connect_error", False)
