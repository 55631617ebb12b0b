"""The proxy breaks what it says it breaks."""

import time

import asyncpg
import pytest

from tests.support.eventually import eventually
from tests.support.tcpproxy import TcpProxy


async def test_a_connection_that_is_cut_at_its_commit_has_committed(postgres_url: str) -> None:
    direct = await asyncpg.connect(postgres_url)
    await direct.execute("create table t (n int)")
    async with TcpProxy.to(postgres_url) as proxy:
        connection = await asyncpg.connect(proxy.url)
        proxy.cut_after(b"COMMIT")
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
            async with connection.transaction():
                await connection.execute("insert into t values (1)")
        connection.terminate()

    async def has_committed() -> bool:
        return bool(await direct.fetchval("select count(*) from t") == 1)

    # The server has the statement, and may take a moment to carry it out.
    await eventually(has_committed, within=10)
    await direct.close()


async def test_latency_holds_up_each_way(postgres_url: str) -> None:
    async with TcpProxy.to(postgres_url) as proxy:
        connection = await asyncpg.connect(proxy.url)
        proxy.latency(0.05)
        started = time.monotonic()
        await connection.fetchval("select 1")
        assert time.monotonic() - started >= 0.1
        proxy.heal()
        await connection.close()


async def test_a_connection_ends_after_so_many_bytes(postgres_url: str) -> None:
    async with TcpProxy.to(postgres_url) as proxy:
        connection = await asyncpg.connect(proxy.url)
        proxy.cut_after(10_000, "down")
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
            await connection.fetch("select repeat('x', 1000) from generate_series(1, 100)")
        connection.terminate()


async def test_only_so_many_connections_are_cut(postgres_url: str) -> None:
    async with TcpProxy.to(postgres_url) as proxy:
        proxy.cut_after(b"select 'now'", times=1)
        connection = await asyncpg.connect(proxy.url)
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
            await connection.fetchval("select 'now'")
        connection.terminate()
        again = await asyncpg.connect(proxy.url)
        assert await again.fetchval("select 'now'") == "now"
        assert proxy.cuts == 1
        await again.close()


async def test_what_comes_in_slices_of_a_byte_is_understood(postgres_url: str) -> None:
    async with TcpProxy.to(postgres_url) as proxy:
        proxy.slice(1)
        connection = await asyncpg.connect(proxy.url)
        assert await connection.fetchval("select repeat('x', 500)") == "x" * 500
        await connection.close()


async def test_a_narrow_link_takes_its_time(postgres_url: str) -> None:
    async with TcpProxy.to(postgres_url) as proxy:
        connection = await asyncpg.connect(proxy.url)
        proxy.bandwidth(100_000)
        started = time.monotonic()
        await connection.fetchval("select repeat('x', 20000)")
        assert time.monotonic() - started >= 0.2
        proxy.heal()
        await connection.close()
