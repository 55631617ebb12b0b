"""What every transport promises; see the docstrings of the ports."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest

from scheduler_application.ports.messaging import Delivery, Hint, HintSource, Lane
from scheduler_domain.workflow.definition import Priority
from tests.contracts.transports import NORMAL, MemoryTransport, RabbitTransport, Transport, hints, rabbit

OpenSource = Callable[..., Coroutine[Any, Any, HintSource]]

CRITICAL = Lane("default", Priority.CRITICAL)
LOW = Lane("default", Priority.LOW)


@pytest.fixture(params=["memory", "rabbitmq"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    if request.param == "memory":
        yield MemoryTransport()
        return
    url, namespace = request.getfixturevalue("rabbitmq_url"), request.getfixturevalue("broker_namespace")
    async with rabbit(url, namespace) as broker:
        yield RabbitTransport(broker)


@pytest.fixture
async def open_source(transport: Transport) -> AsyncIterator[OpenSource]:
    opened: list[HintSource] = []

    async def open_one(*queues: str) -> HintSource:
        source = transport.source()
        opened.append(source)
        await source.open(queues or ("default",))
        return source

    yield open_one
    for source in opened:
        await source.close()


async def take(source: HintSource, max_hints: int = 1_000) -> list[Delivery]:
    async with asyncio.timeout(5):
        return await source.take(max_hints)


async def take_all(source: HintSource, count: int) -> list[Hint]:
    """The first ``count`` hints or more, each acknowledged, in the order of their coming."""
    taken: list[Hint] = []
    while len(taken) < count:
        for delivery in await take(source):
            taken += delivery.hints
            await delivery.ack()
    return taken


async def test_what_is_published_is_taken(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    await transport.publisher.publish(NORMAL, hints(1))
    [delivery] = await take(source)
    assert list(delivery.hints) == hints(1)
    assert delivery.lane == NORMAL
    await delivery.ack()


async def test_what_was_published_before_anybody_listened_is_taken(
    transport: Transport, open_source: OpenSource
) -> None:
    await transport.publisher.publish(NORMAL, hints(3))
    assert await take_all(await open_source(), 3) == hints(3)


async def test_a_take_waits_for_the_first_hint(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    waiting = asyncio.create_task(take(source))
    await transport.publisher.publish(NORMAL, hints(1))
    [delivery] = await waiting
    assert list(delivery.hints) == hints(1)


async def test_a_take_that_was_given_up_loses_nothing(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    waiting = asyncio.create_task(source.take(10))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await transport.publisher.publish(NORMAL, hints(1))
    assert await take_all(source, 1) == hints(1)


async def test_what_is_acknowledged_does_not_come_again(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    await transport.publisher.publish(NORMAL, hints(1))
    assert await take_all(source, 1) == hints(1)
    await source.close()
    await transport.publisher.publish(NORMAL, hints(1, first=7))
    assert await take_all(await open_source(), 1) == hints(1, first=7)


async def test_what_is_not_acknowledged_comes_again(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    await transport.publisher.publish(NORMAL, hints(1))
    [delivery] = await take(source)
    await source.pause()
    await delivery.give_back()
    assert await take_all(await open_source(), 1) == hints(1)


async def test_the_same_hint_may_wait_twice(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    await transport.publisher.publish(NORMAL, hints(1))
    await transport.publisher.publish(NORMAL, hints(1))
    assert await take_all(source, 2) == hints(1) * 2


async def test_many_hints_travel_in_few_messages(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    await transport.publisher.publish(NORMAL, hints(450))
    await transport.arrived(source, 450)
    deliveries = await take(source)
    assert [len(delivery.hints) for delivery in deliveries] == [200, 200, 50]
    assert [hint for delivery in deliveries for hint in delivery.hints] == hints(450)


async def test_a_take_returns_at_most_one_message_too_many(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    for first in range(0, 12, 3):
        await transport.publisher.publish(NORMAL, hints(3, first))
    await transport.arrived(source, 12)
    assert sum(len(delivery.hints) for delivery in await take(source, 4)) == 6
    assert sum(len(delivery.hints) for delivery in await take(source, 3)) == 3


async def test_single_hints_are_taken_together(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    for number in range(20):
        await transport.publisher.publish(NORMAL, hints(1, number))
    await transport.arrived(source, 20)
    assert [hint for delivery in await take(source, 20) for hint in delivery.hints] == hints(20)


async def test_the_highest_priority_goes_first(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    for priority in reversed(Priority):
        await transport.publisher.publish(Lane("default", priority), hints(1, priority.rank))
    await transport.arrived(source, 4)
    assert [delivery.lane.priority for delivery in await take(source)] == list(Priority)


async def test_one_take_in_ten_starts_from_the_lowest(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    for number in range(30):
        await transport.publisher.publish(CRITICAL, hints(1, number))
    for number in range(30, 33):
        await transport.publisher.publish(LOW, hints(1, number))
    await transport.arrived(source, 33)
    order = [(await take(source, 1))[0].lane.priority for _ in range(33)]
    assert [place for place, priority in enumerate(order) if priority is Priority.LOW] == [9, 19, 29]


async def test_a_source_takes_from_its_own_queues_only(transport: Transport, open_source: OpenSource) -> None:
    source, other = await open_source("default"), await open_source("other")
    await transport.publisher.publish(NORMAL, hints(1))
    await transport.publisher.publish(Lane("other", Priority.NORMAL), hints(1, first=5))
    assert await take_all(source, 1) == hints(1)
    assert await take_all(other, 1) == hints(1, first=5)


async def test_no_queue_starves_another_of_the_same_priority(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source("default", "other")
    for number in range(4):
        await transport.publisher.publish(NORMAL, hints(1, number))
        await transport.publisher.publish(Lane("other", Priority.NORMAL), hints(1, 10 + number))
    await transport.arrived(source, 8)
    assert {(await take(source, 1))[0].lane.queue for _ in range(2)} == {"default", "other"}


async def test_two_sources_share_what_is_there(transport: Transport, open_source: OpenSource) -> None:
    sources = [await open_source(), await open_source()]
    left = asyncio.Semaphore(0)
    taken: list[Hint] = []

    async def work(source: HintSource) -> None:
        while True:
            for delivery in await source.take(5):
                taken.extend(delivery.hints)
                await delivery.ack()
                for _ in delivery.hints:
                    left.release()

    workers = [asyncio.create_task(work(source)) for source in sources]
    for number in range(100):
        await transport.publisher.publish(NORMAL, hints(1, number))
    async with asyncio.timeout(5):
        for _ in range(100):
            await left.acquire()
    for worker in workers:
        worker.cancel()
    assert sorted(taken, key=lambda hint: hint.task_run_id) == hints(100)


async def test_a_paused_source_leaves_what_it_held_to_others(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    for number in range(10):
        await transport.publisher.publish(NORMAL, hints(1, number))
    await transport.arrived(source, 10)
    await source.pause()
    other = await open_source()
    assert sorted(await take_all(other, 10), key=lambda hint: hint.task_run_id) == hints(10)


async def test_a_paused_source_takes_nothing_until_the_next_take(transport: Transport, open_source: OpenSource) -> None:
    source, other = await open_source(), await open_source()
    await source.pause()
    await transport.publisher.publish(NORMAL, hints(3))
    assert await take_all(other, 3) == hints(3)
    await other.pause()
    resumed = asyncio.create_task(take(source))
    await transport.publisher.publish(NORMAL, hints(1, first=9))
    [delivery] = await resumed
    assert list(delivery.hints) == hints(1, first=9)


async def test_a_closed_source_leaves_what_it_held_to_others(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    await transport.publisher.publish(NORMAL, hints(5))
    await transport.arrived(source, 5)
    await source.close()
    await source.close()
    assert await take_all(await open_source(), 5) == hints(5)


async def test_settling_after_the_end_is_harmless(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    await transport.publisher.publish(NORMAL, hints(1))
    await transport.publisher.publish(NORMAL, hints(1, first=1))
    await transport.arrived(source, 2)
    acknowledged, given_back = await take(source)
    await source.close()
    await acknowledged.ack()
    await acknowledged.ack()
    await given_back.give_back()


async def test_a_source_is_healthy_from_open_to_close(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source("default", "other")
    assert await source.healthy()
    await source.pause()
    assert await source.healthy()
    await source.close()
    assert not await source.healthy()


async def test_a_publish_of_nothing_is_nothing(transport: Transport, open_source: OpenSource) -> None:
    source = await open_source()
    await transport.publisher.publish(NORMAL, [])
    await transport.publisher.publish(NORMAL, hints(1))
    assert await take_all(source, 1) == hints(1)


async def test_a_wake_reaches_every_dispatcher(transport: Transport) -> None:
    listeners = [transport.signals.dispatcher_wakes() for _ in range(2)]
    for _ in range(2):
        # Where listening begins with a connection, the first yield says that it has been made.
        woken = [asyncio.ensure_future(anext(listener)) for listener in listeners]
        await _repeat(transport.signals.wake_dispatchers, until=woken)


async def test_a_command_reaches_its_worker_and_no_other(transport: Transport) -> None:
    command = {"kind": "cancel", "task_run_id": hints(1)[0].task_run_id, "claim_no": 3}
    mine, others = transport.signals.commands("worker-1"), transport.signals.commands("worker-2")
    received, strange = asyncio.ensure_future(anext(mine)), asyncio.ensure_future(anext(others))
    await _repeat(lambda: transport.signals.command("worker-1", command), until=[received])
    assert received.result() == command
    await _repeat(lambda: transport.signals.command("worker-2", {"kind": "drain"}), until=[strange])
    assert strange.result() == {"kind": "drain"}


async def test_a_command_to_nobody_is_lost(transport: Transport) -> None:
    await transport.signals.command("nobody", {"kind": "drain"})
    await transport.signals.wake_dispatchers()


async def _repeat(send: Callable[[], Coroutine[Any, Any, None]], *, until: Sequence[asyncio.Future[Any]]) -> None:
    """Signals may be lost, those before the listener is there first of all: sends until all have heard."""
    async with asyncio.timeout(5):
        heard = asyncio.gather(*until)
        while not heard.done():
            await send()
            await asyncio.wait([heard], timeout=0.05)
