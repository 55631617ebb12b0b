"""A broker that dies, hangs, is cut off or refuses to take anything, and what its clients make of it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from scheduler_application.errors import Unavailable, Unconfirmed
from scheduler_application.ports.messaging import Delivery, HintSource
from scheduler_infrastructure.messaging.rabbitmq import RabbitBroker
from tests.contracts.transports import NORMAL, hints, rabbit
from tests.support.eventually import eventually
from tests.support.private_servers import PrivateRabbitMQ
from tests.support.tcpproxy import TcpProxy

BACK_WITHIN = 8.0
"""Seconds from when the broker answers again, or the network is whole, until everything works."""


@pytest.fixture
async def proxy(rabbitmq_url: str) -> AsyncIterator[TcpProxy]:
    async with TcpProxy.to(rabbitmq_url) as proxy:
        yield proxy


async def take(source: HintSource, within: float = BACK_WITHIN) -> list[Delivery]:
    async with asyncio.timeout(within):
        return await source.take(100)


async def publishes(broker: RabbitBroker) -> bool:
    try:
        await broker.publisher.publish(NORMAL, hints(1))
    except Unavailable:
        return False
    return True


async def is_seen(source: HintSource) -> bool:
    """Whether the broker is there and sees the source."""
    with contextlib.suppress(Unavailable):
        return await source.healthy()
    return False


async def test_everything_is_back_after_the_broker_died(private_rabbitmq: PrivateRabbitMQ) -> None:
    async with rabbit(private_rabbitmq.url, "orrery") as broker:
        source = broker.source()
        await source.open(["default"])
        wakes = broker.signals.dispatcher_wakes()
        await anext(wakes)
        await broker.publisher.publish(NORMAL, hints(1, first=77))
        [held] = await take(source)

        await asyncio.to_thread(private_rabbitmq.persist)
        await asyncio.to_thread(private_rabbitmq.kill)
        missed = asyncio.ensure_future(anext(wakes))
        with pytest.raises(Unavailable):
            await broker.publisher.publish(NORMAL, hints(1))
        await held.ack()
        await asyncio.to_thread(private_rabbitmq.restart)
        back = time.monotonic()

        again = await take(source)
        assert [hint for delivery in again for hint in delivery.hints] == hints(1, first=77)
        await eventually(lambda: publishes(broker), within=BACK_WITHIN)
        await take(source)
        await eventually(lambda: is_seen(source), within=BACK_WITHIN)
        async with asyncio.timeout(BACK_WITHIN):
            await missed
        assert time.monotonic() - back < BACK_WITHIN
        await source.close()


async def test_a_memory_alarm_stops_publishes_in_time_and_consumers_not_at_all(
    private_rabbitmq: PrivateRabbitMQ,
) -> None:
    async with rabbit(private_rabbitmq.url, "orrery") as broker:
        source = broker.source()
        await broker.publisher.publish(NORMAL, hints(3))
        await asyncio.to_thread(private_rabbitmq.control, "set_vm_memory_high_watermark", "0.00001")
        started = time.monotonic()
        with pytest.raises(Unconfirmed):
            await broker.publisher.publish(NORMAL, hints(1))
        assert time.monotonic() - started < 2.5

        await source.open(["default"])
        for delivery in await take(source):
            await delivery.ack()
        assert await source.healthy()

        await asyncio.to_thread(private_rabbitmq.control, "set_vm_memory_high_watermark", "0.6")
        await eventually(lambda: publishes(broker), within=5)
        await source.close()


async def test_a_publish_into_a_black_hole_ends_in_time_unconfirmed(
    proxy: TcpProxy, rabbitmq_url: str, broker_namespace: str
) -> None:
    async with rabbit(proxy.url, broker_namespace) as broker:
        await broker.publisher.publish(NORMAL, hints(1))
        proxy.blackhole()
        started = time.monotonic()
        with pytest.raises(Unconfirmed):
            await broker.publisher.publish(NORMAL, hints(1))
        assert time.monotonic() - started < 2.5
        proxy.heal()
        await eventually(lambda: publishes(broker), within=BACK_WITHIN)


async def test_a_publish_whose_answer_is_lost_is_unconfirmed_though_it_happened(
    proxy: TcpProxy, rabbitmq_url: str, broker_namespace: str
) -> None:
    async with rabbit(proxy.url, broker_namespace) as broker, rabbit(rabbitmq_url, broker_namespace) as witness:
        source = witness.source()
        await source.open(["default"])
        await broker.publisher.publish(NORMAL, hints(1))
        await take(source)
        proxy.half_open("down")
        with pytest.raises(Unconfirmed):
            await broker.publisher.publish(NORMAL, hints(1, first=5))
        [delivery] = await take(source)
        assert list(delivery.hints) == hints(1, first=5)
        await source.close()


@pytest.mark.alone
async def test_the_breaker_opens_for_a_broker_that_is_there_and_silent(proxy: TcpProxy, broker_namespace: str) -> None:
    states: list[str] = []
    async with rabbit(
        proxy.url, broker_namespace, publish_timeout=0.1, on_breaker_change=lambda _, state: states.append(state)
    ) as broker:
        await broker.publisher.publish(NORMAL, hints(1))
        proxy.blackhole()
        for _ in range(5):
            with pytest.raises(Unconfirmed):
                await broker.publisher.publish(NORMAL, hints(1))
        started = time.monotonic()
        with pytest.raises(Unavailable) as refused:
            await broker.publisher.publish(NORMAL, hints(1))
        assert not isinstance(refused.value, Unconfirmed)
        assert time.monotonic() - started < 0.05
        proxy.heal()
        await eventually(lambda: publishes(broker), within=BACK_WITHIN)
        assert states[0] == "open"
        assert states[-1] == "closed"


async def test_a_cut_connection_is_made_again_and_unacknowledged_hints_come_again(
    proxy: TcpProxy, broker_namespace: str
) -> None:
    async with rabbit(proxy.url, broker_namespace) as broker:
        source = broker.source()
        await source.open(["default"])
        await broker.publisher.publish(NORMAL, hints(1))
        [held] = await take(source)
        proxy.reset()
        await held.ack()
        [again] = await take(source)
        assert list(again.hints) == hints(1)
        await again.ack()
        await eventually(lambda: is_seen(source), within=BACK_WITHIN)
        await source.close()


@pytest.mark.alone
async def test_a_refused_connection_is_tried_until_it_is_accepted(proxy: TcpProxy, broker_namespace: str) -> None:
    await proxy.refuse()
    async with rabbit(proxy.url, broker_namespace) as broker:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await broker.publisher.publish(NORMAL, hints(1))
        with pytest.raises(Unavailable):
            await broker.probe.check()
        await broker.signals.wake_dispatchers()
        await broker.signals.command("worker-1", {"kind": "drain"})
        assert time.monotonic() - started < 0.1
        source = broker.source()
        await source.open(["default"])
        with pytest.raises(Unavailable):
            await source.healthy()
        await proxy.accept()
        await eventually(lambda: is_seen(source), within=BACK_WITHIN)
        await eventually(lambda: publishes(broker), within=BACK_WITHIN)
        await take(source)
        await source.close()


async def test_an_acknowledgement_that_goes_nowhere_is_silent_but_a_cancellation_is_not(
    proxy: TcpProxy, broker_namespace: str
) -> None:
    async with rabbit(proxy.url, broker_namespace) as broker:
        source = broker.source()
        await source.open(["default"])
        await broker.publisher.publish(NORMAL, hints(1))
        [delivery] = await take(source)
        settling = asyncio.ensure_future(delivery.ack())
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        await proxy.refuse()
        await delivery.ack()
        await delivery.give_back()
        await source.close()


async def test_closing_is_quick_though_nobody_answers(proxy: TcpProxy, broker_namespace: str) -> None:
    async with rabbit(proxy.url, broker_namespace) as broker:
        source = broker.source()
        await source.open(["default"])
        proxy.blackhole()
        started = time.monotonic()
        await broker.close()
        assert time.monotonic() - started < 2.5
        await source.close()
        proxy.heal()


async def test_everything_ends_though_the_connection_dies_at_that_moment(
    proxy: TcpProxy, broker_namespace: str
) -> None:
    for _ in range(20):
        async with rabbit(proxy.url, broker_namespace) as broker:
            source = broker.source()
            opening = asyncio.create_task(source.open(["default"]))
            publishing = asyncio.create_task(publishes(broker))
            await asyncio.wait([opening, publishing], timeout=0.01)
            proxy.reset()
            for task in (opening, publishing):
                task.cancel()
            async with asyncio.timeout(BACK_WITHIN):
                await asyncio.gather(opening, publishing, return_exceptions=True)
                await source.close()


async def test_a_source_notices_that_nobody_answers_and_connects_again(proxy: TcpProxy, broker_namespace: str) -> None:
    async with rabbit(proxy.url, broker_namespace) as broker:
        source = broker.source()
        await source.open(["default"])
        proxy.blackhole()
        before = proxy.connections

        async def has_tried_again() -> bool:
            return proxy.connections > before

        assert not await source.healthy()
        await eventually(has_tried_again, within=12)
        proxy.heal()
        await eventually(lambda: is_seen(source), within=BACK_WITHIN)
        await source.close()
