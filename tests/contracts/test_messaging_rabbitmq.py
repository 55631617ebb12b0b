"""What only a broker can do to us: queues that vanish, messages that nobody should have sent, limits."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from structlog.testing import capture_logs

from scheduler_application.errors import Unavailable
from scheduler_infrastructure.messaging.delivery import RabbitDelivery
from scheduler_infrastructure.messaging.envelope import MAX_BYTES, BadMessage, decode, encode
from scheduler_infrastructure.messaging.intake import RabbitHintSource
from scheduler_infrastructure.messaging.rabbitmq import RabbitBroker
from scheduler_infrastructure.messaging.topology import DELIVERY_LIMIT
from tests.contracts.transports import NORMAL, hints, rabbit
from tests.support.eventually import eventually

ID = hints(1)[0].task_run_id

BAD_BODIES = {
    "not JSON": (b"\x00\x01", "malformed"),
    "empty": (b"", "malformed"),
    "another shape": (b'{"v": 1}', "malformed"),
    "no hints": (b'{"v": 1, "h": []}', "malformed"),
    "an unknown field": (json.dumps({"v": 1, "h": [[ID, 1]], "x": 1}).encode(), "malformed"),
    "not a UUID": (json.dumps({"v": 1, "h": [["z" * 36, 1]]}).encode(), "malformed"),
    "a UUID in another form": (json.dumps({"v": 1, "h": [[ID.upper(), 1]]}).encode(), "malformed"),
    "a negative fence": (json.dumps({"v": 1, "h": [[ID, -1]]}).encode(), "malformed"),
    "a huge fence": (json.dumps({"v": 1, "h": [[ID, 2**70]]}).encode(), "malformed"),
    "a fence in words": (json.dumps({"v": 1, "h": [[ID, "1"]]}).encode(), "malformed"),
    "too many hints": (json.dumps({"v": 1, "h": [[ID, 1]] * 201}).encode(), "malformed"),
    "an odd trace parent": (json.dumps({"v": 1, "h": [[ID, 1]], "t": "00-x"}).encode(), "malformed"),
    "deep nesting": (b"[" * 100_000, "malformed"),
    "half a surrogate": (b'{"v": 1, "h": [["\\ud800", 1]]}', "malformed"),
    "a later version": (b'{"v": 2, "hints": {}}', "unknown_version"),
    "too long": (b'{"v": 1, "h": ' + b" " * MAX_BYTES, "oversize"),
}


@pytest.fixture
async def broker(rabbitmq_url: str, broker_namespace: str) -> AsyncIterator[RabbitBroker]:
    async with rabbit(rabbitmq_url, broker_namespace) as broker:
        yield broker


@pytest.fixture
async def source(broker: RabbitBroker) -> AsyncIterator[RabbitHintSource]:
    source = broker.source()
    await source.open(["default"])
    yield source
    await source.close()


@pytest.fixture
async def operator(rabbitmq_url: str) -> AsyncIterator[AbstractChannel]:
    """Somebody else who has the broker's credentials."""
    connection = await aio_pika.connect(rabbitmq_url)
    async with connection, connection.channel() as channel:
        yield channel


@pytest.fixture
def lane_queue(broker_namespace: str) -> str:
    return f"{broker_namespace}.tasks.default.normal"


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_message_is_told_by_its_reason(name: str) -> None:
    body, reason = BAD_BODIES[name]
    with pytest.raises(BadMessage) as caught:
        decode(body)
    assert caught.value.reason == reason


def test_a_message_is_small_and_says_what_it_was_given() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = encode(hints(200), parent)
    assert decode(body) == (hints(200), parent)
    assert len(body) < 10_000


@pytest.mark.parametrize("name", ["not JSON", "a later version", "too long"])
async def test_a_bad_message_is_buried_with_its_reason_and_harms_nobody(
    name: str,
    broker: RabbitBroker,
    source: RabbitHintSource,
    operator: AbstractChannel,
    lane_queue: str,
    broker_namespace: str,
) -> None:
    body, reason = BAD_BODIES[name]
    await _send(operator, lane_queue, body)
    buried = await _dead_letter(operator, broker_namespace)
    assert buried.headers["x-orrery-reason"] == reason
    assert buried.headers["x-orrery-queue"] == lane_queue
    assert buried.headers["x-orrery-bytes"] == len(body)
    assert buried.body == body[:MAX_BYTES]
    await broker.publisher.publish(NORMAL, hints(1))
    async with asyncio.timeout(5):
        [delivery] = await source.take(10)
    assert list(delivery.hints) == hints(1)


async def test_a_flood_of_bad_messages_is_one_line_in_the_log(
    broker: RabbitBroker, source: RabbitHintSource, operator: AbstractChannel, lane_queue: str, broker_namespace: str
) -> None:
    with capture_logs() as lines:
        for _ in range(5):
            await _send(operator, lane_queue, b"{}")
        for _ in range(5):
            await _dead_letter(operator, broker_namespace)
    assert [line["reason"] for line in lines] == ["malformed"]


async def test_a_message_that_is_always_refused_ends_as_a_dead_letter(
    broker: RabbitBroker, source: RabbitHintSource, operator: AbstractChannel, broker_namespace: str
) -> None:
    await broker.publisher.publish(NORMAL, hints(1))
    for _ in range(DELIVERY_LIMIT + 1):
        async with asyncio.timeout(5):
            [delivery] = await source.take(1)
        assert isinstance(delivery, RabbitDelivery)
        await delivery.requeue()
    buried = await _dead_letter(operator, broker_namespace)
    deaths: Any = buried.headers["x-death"]
    assert [death["reason"] for death in deaths] == ["delivery_limit"]


async def test_giving_back_does_not_count_against_the_delivery_limit(
    broker: RabbitBroker, source: RabbitHintSource
) -> None:
    await broker.publisher.publish(NORMAL, hints(1))
    for _ in range(DELIVERY_LIMIT * 2):
        async with asyncio.timeout(5):
            [delivery] = await source.take(1)
        await delivery.give_back()
    async with asyncio.timeout(5):
        [delivery] = await source.take(1)
    assert list(delivery.hints) == hints(1)


async def test_a_publish_to_a_queue_that_was_deleted_makes_it_again(
    broker: RabbitBroker, operator: AbstractChannel, lane_queue: str
) -> None:
    await broker.publisher.publish(NORMAL, hints(1))
    await operator.queue_delete(lane_queue)
    await broker.publisher.publish(NORMAL, hints(450))
    queue = await operator.declare_queue(lane_queue, passive=True)
    assert queue.declaration_result.message_count == 3


async def test_a_source_whose_queue_was_deleted_is_back_by_itself(
    broker: RabbitBroker, source: RabbitHintSource, operator: AbstractChannel, lane_queue: str
) -> None:
    await operator.queue_delete(lane_queue)
    await eventually(source.healthy, within=10)
    await broker.publisher.publish(NORMAL, hints(1))
    async with asyncio.timeout(5):
        [delivery] = await source.take(1)
    assert list(delivery.hints) == hints(1)


async def test_a_queue_with_other_properties_is_used_as_it_is(
    broker: RabbitBroker, operator: AbstractChannel, lane_queue: str
) -> None:
    await operator.declare_queue(lane_queue, durable=True, arguments={"x-queue-type": "quorum"})
    source = broker.source()
    await source.open(["default"])
    await broker.publisher.publish(NORMAL, hints(1))
    async with asyncio.timeout(5):
        [delivery] = await source.take(1)
    assert list(delivery.hints) == hints(1)
    await source.close()


async def test_a_full_queue_refuses_and_does_not_open_the_breaker(
    broker: RabbitBroker, operator: AbstractChannel, lane_queue: str
) -> None:
    arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    queue = await operator.declare_queue(lane_queue, durable=True, arguments=arguments)  # type: ignore[arg-type]

    async def is_refused() -> bool:
        try:
            await broker.publisher.publish(NORMAL, hints(1))
        except Unavailable as refused:
            return "full" in str(refused)
        return False

    for _ in range(10):
        # The limit of a quorum queue is soft: it knows of the last messages a moment later.
        await eventually(is_refused, within=5)
    await queue.purge()

    async def is_taken() -> bool:
        await broker.publisher.publish(NORMAL, hints(1))
        return True

    await eventually(is_taken, within=5)


async def test_commands_that_are_none_are_dropped(
    broker: RabbitBroker, operator: AbstractChannel, broker_namespace: str
) -> None:
    listening = asyncio.ensure_future(anext(broker.signals.commands("worker-1")))
    for _ in range(100):
        await broker.signals.command("worker-1", {"kind": "drain"})
        exchange = await operator.get_exchange(f"{broker_namespace}.commands")
        for body in (b"", b"[]", b"\xff", b'{"kind": "' + b"x" * 70_000 + b'"}'):
            await exchange.publish(aio_pika.Message(body), "worker-1", mandatory=False)
        done, _ = await asyncio.wait([listening], timeout=0.05)
        if done:
            break
    assert listening.result() == {"kind": "drain"}


async def test_the_probe_is_content_with_a_broker_that_answers(broker: RabbitBroker) -> None:
    await broker.probe.check()


async def _send(channel: AbstractChannel, queue: str, body: bytes) -> None:
    await channel.default_exchange.publish(aio_pika.Message(body), queue)


async def _dead_letter(channel: AbstractChannel, namespace: str) -> AbstractIncomingMessage:
    queue = await channel.get_queue(f"{namespace}.dead", ensure=False)
    found: list[AbstractIncomingMessage] = []

    async def is_there() -> bool:
        message = await queue.get(fail=False, no_ack=True)
        if message is not None:
            found.append(message)
        return bool(found)

    await eventually(is_there, within=5)
    return found[0]
