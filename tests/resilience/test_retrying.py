"""What is worth trying again, for how long, and what comes of it in the end."""

import asyncio
import sqlite3
import time
from pathlib import Path

import asyncpg
import pytest

from scheduler_application.errors import Unavailable
from scheduler_infrastructure.resilience.deadline import deadline
from scheduler_infrastructure.resilience.retrying import ATTEMPTS, is_transient, retry_transient


class Refusal(Exception):
    """A driver's error with its SQL state."""

    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate
        super().__init__(sqlstate)


@pytest.mark.parametrize(
    "state",
    [
        *("25006", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53100", "53200", "53300", "58030"),
        *("08000", "08003", "08006", "08P01"),
    ],
)
async def test_a_passing_refusal_is_tried_again(state: str) -> None:
    tries = iter([Refusal(state), Refusal(state), None])

    async def work() -> str:
        error = next(tries)
        if error is not None:
            raise error
        return "done"

    assert await retry_transient(work, deadline=5) == "done"


@pytest.mark.parametrize(
    "error", [Refusal("23505"), Refusal("42601"), ValueError("no"), sqlite3.OperationalError("no")]
)
async def test_a_lasting_error_is_raised_at_once(error: Exception) -> None:
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(type(error)):
        await retry_transient(work, deadline=5)
    assert calls == 1


async def test_it_gives_up_after_so_many_attempts_and_says_so_plainly() -> None:
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        raise Refusal("40001")

    with pytest.raises(Unavailable) as given_up:
        await retry_transient(work, deadline=30)
    assert calls == ATTEMPTS
    assert given_up.value.retry_after > 0
    assert given_up.value.__suppress_context__


@pytest.mark.alone
async def test_it_gives_up_at_the_deadline_though_an_attempt_hangs() -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await retry_transient(asyncio.Event().wait, deadline=0.1)
    assert time.monotonic() - started < 0.5


async def test_a_cancellation_ends_it_at_once() -> None:
    async def work() -> None:
        raise Refusal("53300")

    retrying = asyncio.create_task(retry_transient(work, deadline=30))
    await asyncio.wait([retrying], timeout=0)
    retrying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await retrying


def test_a_cause_is_found_inside_what_wraps_it() -> None:
    wrapped = Exception("the library's")
    wrapped.orig = Exception("the dialect's")  # type: ignore[attr-defined]
    wrapped.orig.__cause__ = asyncpg.DeadlockDetectedError("deadlock")  # type: ignore[attr-defined]
    assert is_transient(wrapped)
    assert is_transient(ConnectionResetError())
    assert is_transient(asyncpg.InterfaceError("connection is closed"))
    # Of a session that the server ended while the process was frozen inside a transaction.
    ended = "cannot switch to state 15; another operation (2) is in progress"
    assert is_transient(asyncpg.InternalClientError(ended))
    assert not is_transient(asyncpg.InternalClientError("got result for unknown protocol state 3"))
    assert not is_transient(asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"))


async def test_a_locked_sqlite_file_is_tried_until_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    holder, writer = sqlite3.connect(path), sqlite3.connect(path, timeout=0, isolation_level=None)
    holder.execute("create table t (n int)")
    holder.execute("begin exclusive")
    refused = 0

    async def work() -> int:
        nonlocal refused
        try:
            return writer.execute("insert into t values (1)").rowcount
        except sqlite3.OperationalError:
            refused += 1
            holder.rollback()
            raise

    assert await retry_transient(work, deadline=5) == 1
    assert refused == 1
    holder.close()
    writer.close()


async def test_the_loser_of_a_real_deadlock_gets_through(postgres_url: str) -> None:
    setup = await asyncpg.connect(postgres_url)
    await setup.execute("create table t (id int primary key, n int); insert into t values (1, 0), (2, 0)")
    both_hold_one = asyncio.Barrier(2)
    tries = 0

    async def change(first: int, second: int) -> None:
        nonlocal tries
        tries += 1
        connection = await asyncpg.connect(postgres_url)
        try:
            async with connection.transaction():
                await connection.execute("update t set n = n + 1 where id = $1", first)
                if tries <= 2:
                    await both_hold_one.wait()
                await connection.execute("update t set n = n + 1 where id = $1", second)
        finally:
            await connection.close()

    await asyncio.gather(
        retry_transient(lambda: change(1, 2), deadline=10), retry_transient(lambda: change(2, 1), deadline=10)
    )
    assert tries == 3
    assert await setup.fetchval("select sum(n) from t") == 4
    await setup.close()


async def test_a_deadline_names_who_did_not_answer() -> None:
    with pytest.raises(Unavailable, match=r"the store did not answer within 0\.01 s"):
        async with deadline(0.01, "the store"):
            await asyncio.Event().wait()


async def test_a_full_disk_of_the_store_passes(tmp_path: Path) -> None:
    """SQLite says so of a database that may not grow, which is how a disk without room looks to it."""
    with sqlite3.connect(tmp_path / "small.db", isolation_level=None) as small:
        small.execute("create table lines (text)")
        small.execute("pragma max_page_count = 4")
        with pytest.raises(sqlite3.OperationalError) as full:
            small.execute("insert into lines values (zeroblob(100000))")
    assert is_transient(full.value)
