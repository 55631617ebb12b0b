"""Connections to PostgreSQL that stay open from one transaction to the next."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text

from scheduler_infrastructure.clock import MachineClock
from scheduler_infrastructure.persistence.engine import Connection, Database, both, make_database
from tests.support.eventually import eventually
from tests.support.tcpproxy import TcpProxy

WHO = both("select pg_backend_pid() as pid")
SIZE = 2
BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What the driver raises of a session that the server ended: the last but one where it has read the goodbye and not yet
the end of the stream."""


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = make_database(postgres_url, MachineClock(), pool_size=SIZE)
    yield database
    await database.close()


async def backend(connection: Connection) -> int:
    pid: int = (await connection.fetch(WHO))[0]["pid"]
    return pid


async def ask(database: Database) -> int:
    async with database.transaction() as connection:
        return await backend(connection)


async def end(postgres_url: str, pid: int) -> None:
    """The server closes a session and it is gone."""
    admin = await asyncpg.connect(postgres_url)

    async def gone() -> bool:
        left: int = await admin.fetchval("select count(*) from pg_stat_activity where pid = $1", pid)
        return left == 0

    await admin.execute("select pg_terminate_backend($1)", pid)
    await eventually(gone, within=10)
    await admin.close()


async def test_the_next_transaction_has_the_connection_of_the_last(database: Database) -> None:
    assert await ask(database) == await ask(database)


async def test_no_more_transactions_are_open_than_there_may_be_connections(database: Database) -> None:
    seen: set[int] = set()
    inside = 0
    most = 0

    async def work() -> None:
        nonlocal inside, most
        async with database.transaction() as connection:
            inside += 1
            most = max(most, inside)
            seen.add(await backend(connection))
            inside -= 1

    await asyncio.gather(*(work() for _ in range(20)))
    assert most == SIZE
    assert len(seen) == SIZE


async def test_a_connection_that_the_server_closed_is_replaced(database: Database, postgres_url: str) -> None:
    async def answers() -> bool:
        with contextlib.suppress(*BROKEN):  # The goodbye of the server may arrive after the next question is asked.
            await ask(database)
            return True
        return False

    for _ in range(SIZE + 1):
        await eventually(answers, within=10)
        await end(postgres_url, await ask(database))
    await eventually(answers, within=10)
    # However often: what is broken gives its place back.
    await asyncio.gather(*(ask(database) for _ in range(5)))


async def test_a_connection_that_breaks_inside_a_transaction_is_replaced(database: Database, postgres_url: str) -> None:
    async def broken() -> None:
        async with database.transaction() as connection:
            await end(postgres_url, await backend(connection))
            await connection.fetch(WHO)

    for _ in range(SIZE + 1):
        with pytest.raises(BROKEN):
            await broken()
    await asyncio.gather(*(ask(database) for _ in range(5)))


async def test_a_server_that_has_no_connection_to_give_is_not_stormed() -> None:
    tries = 0

    async def turn_away(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.transport.abort()

    server = await asyncio.start_server(turn_away, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = make_database(f"postgresql://postgres@127.0.0.1:{port}/full", MachineClock(), pool_size=SIZE)
    until = asyncio.get_running_loop().time() + 1.0
    while asyncio.get_running_loop().time() < until:
        refused = await asyncio.gather(*(ask(database) for _ in range(SIZE)), return_exceptions=True)
        assert all(isinstance(error, BROKEN) for error in refused)
    server.close()
    await database.close()
    # Together at first, then one after a twentieth of a second, a tenth, a fifth, two fifths.
    assert SIZE < tries <= SIZE + 5


async def test_connections_are_made_again_when_a_server_is_back(postgres_url: str) -> None:
    async with TcpProxy.to(postgres_url) as proxy:
        database = make_database(proxy.url, MachineClock(), pool_size=SIZE)

        async def answers() -> bool:
            with contextlib.suppress(*BROKEN):
                await ask(database)
                return True
            return False

        await proxy.refuse()
        assert not await answers()
        await proxy.accept()
        await eventually(answers, within=10)
        # One that was given up while it tried keeps nobody else from trying.
        await proxy.refuse()
        assert not await answers()
        proxy.blackhole()
        await proxy.accept()
        seen = proxy.connections

        async def one_tries() -> bool:
            trying.append(asyncio.create_task(ask(database)))
            await asyncio.wait(trying[-1:], timeout=0.05)
            return proxy.connections > seen

        trying: list[asyncio.Task[int]] = []
        await eventually(one_tries, within=10)
        for task in trying:
            task.cancel()
        await asyncio.gather(*trying, return_exceptions=True)
        proxy.heal()
        await eventually(answers, within=10)
        await database.close()


async def test_a_transaction_that_is_cancelled_gives_its_place_back(database: Database) -> None:
    async def stay() -> None:
        async with database.transaction() as connection:
            await backend(connection)
            inside.set()
            await asyncio.Event().wait()

    for _ in range(SIZE + 1):
        inside = asyncio.Event()
        task = asyncio.create_task(stay())
        await inside.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.gather(*(ask(database) for _ in range(5)))


async def test_a_failed_statement_leaves_the_connection_to_the_next_transaction(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.fetch(both("select 1 / 0"))

    pid = await ask(database)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await fail()
    assert await ask(database) == pid


async def test_a_connection_to_a_server_that_takes_no_writes_is_given_up(database: Database) -> None:
    """The next one may lead to the new primary."""
    pid = await ask(database)
    async with database.transaction() as connection:
        await connection.fetch(both("set session characteristics as transaction read only"))

    async def write() -> None:
        async with database.transaction() as connection:
            await connection.fetch(both("create table written ()"))

    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await write()
    await write()
    assert await ask(database) != pid


async def test_core_and_hot_statements_share_a_transaction_one_after_the_other(database: Database) -> None:
    for _ in range(2):
        async with database.transaction() as connection:
            await connection.run(text("create temporary table once (x int) on commit drop"))
            await connection.fetch(both("insert into once values (1)"))
            assert len(await connection.rows(text("select x from once"))) == 1
