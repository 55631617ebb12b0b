"""What watchers see, in one process and through Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler_application.errors import Unavailable
from scheduler_application.ports.messaging import LiveUpdates
from scheduler_infrastructure.coordination.redis import RedisLiveUpdates
from scheduler_infrastructure.memory.messaging import CHANGES_MAX, MemoryHub
from tests.support.chance import Chance
from tests.support.eventually import eventually
from tests.support.private_servers import PrivateRedis
from tests.support.tcpproxy import TcpProxy

Change = Mapping[str, Any]


def change(number: int, project: str = "p1") -> Change:
    return {"project": project, "kind": "run", "id": f"r{number}", "state": "running"}


@pytest.fixture(params=["memory", "redis"])
async def live(request: pytest.FixtureRequest) -> AsyncIterator[LiveUpdates]:
    if request.param == "memory":
        yield MemoryHub().live
        return
    redis = RedisLiveUpdates(request.getfixturevalue("redis_url"), Chance(), namespace=f"test{time.monotonic_ns()}")
    yield redis
    await redis.close()


async def watch(live: LiveUpdates, project: str = "p1") -> AsyncIterator[Change]:
    """A subscription that is known to hear."""
    changes = live.subscribe(project)
    hello = asyncio.ensure_future(anext(changes))

    async def is_heard() -> bool:
        await live.publish([change(0, project)])
        await asyncio.wait([hello], timeout=0.02)
        return hello.done()

    await eventually(is_heard, within=5)
    return changes


async def until(changes: AsyncIterator[Change], last: str) -> list[str]:
    """The ids up to ``last``, without those that `watch` sent."""
    seen: list[str] = []
    async with asyncio.timeout(5):
        while not seen or seen[-1] != last:
            seen.append((await anext(changes))["id"])
    return [name for name in seen if name != "r0"]


async def test_watchers_see_the_changes_of_their_project_in_order(live: LiveUpdates) -> None:
    mine, also_mine, others = await watch(live), await watch(live), await watch(live, "p2")
    await live.publish([change(1), change(2, "p2"), change(3)])
    assert await until(mine, "r3") == ["r1", "r3"]
    assert await until(also_mine, "r3") == ["r1", "r3"]
    assert await until(others, "r2") == ["r2"]


async def test_a_slow_reader_loses_the_oldest(live: LiveUpdates) -> None:
    changes = await watch(live)
    total = CHANGES_MAX * 2
    for first in range(1, total, 100):
        await live.publish([change(number) for number in range(first, first + 100)])
    barrier = await watch(live)
    await live.publish([change(total + 1)])
    await until(barrier, f"r{total + 1}")
    seen = await until(changes, f"r{total + 1}")
    assert len(seen) <= CHANGES_MAX
    assert seen[-2] == f"r{total}"


async def test_a_publish_that_nobody_watches_is_nothing(live: LiveUpdates) -> None:
    await live.publish([])
    await live.publish([change(1)])


async def test_watchers_hear_again_after_redis_died(private_redis: PrivateRedis) -> None:
    live = RedisLiveUpdates(private_redis.url, Chance())
    changes = await watch(live)
    await asyncio.to_thread(private_redis.kill)
    await live.publish([change(1)])
    with pytest.raises(Unavailable):
        await live.probe.check()
    await asyncio.to_thread(private_redis.restart)
    heard = asyncio.ensure_future(anext(changes))

    async def is_heard() -> bool:
        await live.publish([change(2)])
        return heard.done()

    await eventually(is_heard, within=8)
    await live.probe.check()
    await live.close()


@pytest.mark.alone
async def test_a_silent_redis_costs_a_publish_less_than_100_ms_and_soon_nothing(redis_url: str) -> None:
    async with TcpProxy.to(redis_url) as proxy:
        live = RedisLiveUpdates(proxy.url, Chance())
        await live.publish([change(1)])
        proxy.blackhole()
        durations: list[float] = []
        for _ in range(10):
            started = time.monotonic()
            await live.publish([change(1)])
            durations.append(time.monotonic() - started)
        assert max(durations) < 0.15, "100 ms, and what a busy machine adds"
        assert max(durations[5:]) < 0.01
        await live.close()


@pytest.mark.alone
async def test_an_absent_redis_costs_nothing_much(redis_url: str) -> None:
    async with TcpProxy.to(redis_url) as proxy:
        await proxy.refuse()
        live = RedisLiveUpdates(proxy.url, Chance())
        started = time.monotonic()
        for _ in range(20):
            await live.publish([change(1)])
        assert time.monotonic() - started < 0.5
        with pytest.raises(Unavailable):
            await live.probe.check()
        await live.close()


async def test_a_cut_off_publish_takes_its_connection_with_it(redis_url: str) -> None:
    """The next command on that connection would read this one's answer (CVE-2023-28858)."""
    async with TcpProxy.to(redis_url) as proxy:
        live = RedisLiveUpdates(proxy.url, Chance())
        await live.probe.check()
        before = proxy.connections
        proxy.half_open("down")
        await live.publish([change(1)])
        proxy.heal()
        await live.probe.check()
        assert proxy.connections > before
        await live.close()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\x00",
        b"[" * 100_000,
        b'{"p": "p1"}',
        b'{"p": "p2", "c": [{"project": "p1", "id": "forged"}]}',
        b'{"p": "p1", "c": [{"project": "p2", "id": "forged"}]}',
    ],
)
async def test_what_is_not_for_the_reader_is_dropped(redis_url: str, payload: bytes) -> None:
    namespace = f"test{time.monotonic_ns()}"
    live, somebody = RedisLiveUpdates(redis_url, Chance(), namespace=namespace), Redis.from_url(redis_url)
    changes = await watch(live)
    await somebody.publish(f"{namespace}:live:p1", payload)
    await live.publish([change(1)])
    assert await until(changes, "r1") == ["r1"]
    await somebody.aclose()
    await live.close()
