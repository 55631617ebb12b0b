"""The database's clock as its clients have it: never ahead of it, so nothing is due before the database says so."""

from datetime import timedelta

import pytest

from scheduler_infrastructure.clock import SortedIds, StoreClock
from scheduler_infrastructure.persistence.engine import both, make_database
from tests.support.tcpproxy import Direction, TcpProxy

SLOW_SECONDS = 0.05
QUICK = timedelta(seconds=0.04)
"""Less than a hindered answer takes."""

HOUR = 3_600.0


@pytest.mark.parametrize("slow", [(), ("up",), ("down",), ("up", "down")], ids=str)
async def test_it_is_never_ahead_and_hardly_behind(postgres_url: str, slow: tuple[Direction, ...]) -> None:
    clock = StoreClock()
    async with TcpProxy.to(postgres_url) as proxy:
        hindered, direct = make_database(proxy.url, clock), make_database(postgres_url, clock)
        if slow:
            proxy.latency(SLOW_SECONDS, *slow)
        clock.set_offset(await hindered.clock_offset())
        async with direct.reading() as connection:
            await connection.fetch(both("select 1"))
            mine = clock.now()
            theirs = (await connection.fetch(both("select clock_timestamp() as now_at")))[0]["now_at"]
        assert mine <= theirs
        assert theirs - mine < QUICK + timedelta(seconds=SLOW_SECONDS) * len(slow)
        await hindered.close()
        await direct.close()


def test_ids_of_processes_whose_machines_disagree_sort_by_the_stores_time() -> None:
    early, late = StoreClock(), StoreClock()
    late.set_offset(early.now().timestamp() - early.monotonic() + HOUR)
    assert SortedIds(early).new() < SortedIds(late).new()
    late.set_offset(early.now().timestamp() - early.monotonic() - HOUR)
    assert SortedIds(early).new() > SortedIds(late).new()
