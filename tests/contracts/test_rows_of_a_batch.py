"""Rows that PostgreSQL reads from arrays: what is sent once for all of them is read for each."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from scheduler_infrastructure.clock import MachineClock
from scheduler_infrastructure.persistence.engine import Statement, make_database, rows_of

COLUMNS = ("id", "item", "priority", "ready_at")
ROWS = Statement(f"select r.* from {rows_of(COLUMNS)} as r", "", folds=True)
IDS = [f"00000000-0000-7000-8000-00000000000{place}" for place in range(4)]
AT = datetime(2026, 3, 29, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "rows",
    [
        [(IDS[0], "x", 1, AT)],
        [(IDS[0], None, 1, None)],
        [(task, "x", 1, AT) for task in IDS],
        [(task, None, 1, None) for task in IDS],
        [(IDS[0], "x", 1, AT), (IDS[1], None, 1, AT), (IDS[2], "x", 2, AT)],
        [(IDS[0], None, 1, AT), (IDS[1], None, 2, AT), (IDS[2], "x", 3, None)],
        [(IDS[0], "x", 1, None), (IDS[1], "y", 1, AT), (IDS[2], "x", 1, None)],
    ],
    ids=["one", "one with nulls", "all the same", "all null", "null between", "null before", "same at the ends"],
)
async def test_rows_come_back_as_they_were_sent(postgres_url: str, rows: list[tuple[Any, ...]]) -> None:
    database = make_database(postgres_url, MachineClock(), pool_size=1)
    async with database.transaction() as connection:
        found = await connection.fetch_many(ROWS, rows)
    await database.close()
    assert [tuple(str(value) if name == "id" else value for name, value in row.items()) for row in found] == rows


async def test_what_is_the_same_in_every_row_is_a_constant_of_the_plan(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("set plan_cache_mode = force_custom_plan")
    plan = await connection.fetch(f"explain verbose {ROWS.postgres}", IDS, ["x"], [1, 2, 3, 4], [])
    await connection.close()
    (output,) = {row[0].split("Output: ")[1] for row in plan if "Output: u." in row[0]}
    assert output == "u.id, 'x'::text, u.priority, u.ready_at"
