"""Bare loops over asyncpg and aio-pika: the least work that a durable run of a no-op task can be.

Nothing here has a fence, a retry, a log or a second process. Durability is the servers' default: every commit is
flushed, every message is persistent, in a quorum queue and confirmed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aio_pika
import asyncpg
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from benchmarks.broker import virtual_host
from benchmarks.code.noop import nothing
from benchmarks.servers import servers

CLIENTS = 8
BATCH = 100
QUEUE = "floor"

_SCHEMA = """
    create table tasks (
        id uuid primary key,
        name text not null,
        state text not null,
        created_at timestamptz not null default clock_timestamp(),
        finished_at timestamptz,
        output text
    ) with (fillfactor = 60);
    create index ix_tasks_ready on tasks (created_at) where state = 'ready'"""
_INSERT = "insert into tasks (id, name, state) select id, 'noop', $2 from unnest($1::uuid[]) as id"
_TAKE = """
    update tasks set state = 'running' where id = any(array(
        select id from tasks where state = 'ready' order by created_at limit $1 for update skip locked)) returning id"""
_CLAIM = "update tasks set state = 'running' where id = any($1::uuid[]) and state = 'queued' returning id"
_FINISH = """
    update tasks set state = 'succeeded', output = 'null', finished_at = clock_timestamp()
    where id = any($1::uuid[]) and state in ('queued', 'running')"""


@dataclass(frozen=True, slots=True)
class Ground:
    """An empty table and an empty queue."""

    database: asyncpg.Pool
    publishing: AbstractChannel
    consuming: AbstractChannel
    queue: AbstractQueue

    async def publish(self, ids: Sequence[UUID]) -> None:
        """Returns when the broker has confirmed."""
        message = aio_pika.Message(b"".join(each.bytes for each in ids), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self.publishing.default_exchange.publish(message, QUEUE)


@asynccontextmanager
async def ground() -> AsyncIterator[Ground]:
    """A database and a virtual host of their own, gone afterwards."""
    name = f"orrery_floor_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(servers().postgres_url)
    await admin.execute(f"create database {name}")
    try:
        url = urlsplit(servers().postgres_url)._replace(path=f"/{name}").geturl()
        with virtual_host(name) as broker_url:
            async with asyncpg.create_pool(url, min_size=CLIENTS, max_size=CLIENTS) as database:
                await database.execute(_SCHEMA)
                async with await aio_pika.connect(broker_url) as connection:
                    publishing = await connection.channel(publisher_confirms=True)
                    consuming = await connection.channel(publisher_confirms=False)
                    await consuming.set_qos(prefetch_count=5 * BATCH)
                    queue = await consuming.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
                    yield Ground(database, publishing, consuming, queue)
                    await queue.delete(if_unused=False, if_empty=False)
    finally:
        await admin.execute(f"drop database {name} with (force)")
        await admin.close()


async def database_one_by_one(own: Ground, tasks: int) -> None:
    """Insert one, claim one, finish one; no broker."""
    await _database_only(own, tasks, 1)


async def database_by_hundreds(own: Ground, tasks: int) -> None:
    """The same, a hundred rows a statement."""
    await _database_only(own, tasks, BATCH)


async def _database_only(own: Ground, tasks: int, batch: int) -> None:
    async def client(share: Sequence[int]) -> None:
        for size in share:
            await own.database.execute(_INSERT, [uuid4() for _ in range(size)], "ready")
            taken = [row[0] for row in await own.database.fetch(_TAKE, size)]
            _run(len(taken))
            await own.database.execute(_FINISH, taken)

    batches = _batches(tasks, batch)
    await asyncio.gather(*(client(batches[number::CLIENTS]) for number in range(CLIENTS)))


async def broker_one_by_one(own: Ground, tasks: int) -> None:
    """Insert one, publish one, run it, finish it, acknowledge it."""
    limit = asyncio.Semaphore(CLIENTS)

    async def client(share: Sequence[int]) -> None:
        for _ in share:
            ids = [uuid4()]
            await own.database.execute(_INSERT, ids, "queued")
            await own.publish(ids)

    async def handled(message: AbstractIncomingMessage) -> int:
        async with limit:
            _run(1)
            await own.database.execute(_FINISH, _ids(message))
            await message.ack()
        return 1

    share = _batches(tasks, 1)
    async with _consuming(own, tasks, handled):
        await asyncio.gather(*(client(share[number::CLIENTS]) for number in range(CLIENTS)))


async def one_message_each(own: Ground, tasks: int) -> None:
    """Insert by hundreds, one message for each task, run, finish by up to a hundred of what has come."""
    arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def produce() -> None:
        for size in _batches(tasks, BATCH):
            ids = [uuid4() for _ in range(size)]
            await own.database.execute(_INSERT, ids, "queued")
            await asyncio.gather(*(own.publish([each]) for each in ids))

    async def consume() -> None:
        done = 0
        while done < tasks:
            messages = [await arrived.get()]
            while len(messages) < BATCH and not arrived.empty():
                messages.append(arrived.get_nowait())
            _run(len(messages))
            await own.database.execute(_FINISH, [each for message in messages for each in _ids(message)])
            await messages[-1].ack(multiple=True)
            done += len(messages)

    tag = await own.queue.consume(arrived.put)
    await asyncio.gather(produce(), consume())
    await own.queue.cancel(tag)


async def many_hints(own: Ground, tasks: int) -> None:
    """Insert by hundreds, one message for a hundred tasks, claim, run and finish by hundreds."""

    async def handled(message: AbstractIncomingMessage) -> int:
        claimed = [row[0] for row in await own.database.fetch(_CLAIM, _ids(message))]
        await message.ack()
        _run(len(claimed))
        await own.database.execute(_FINISH, claimed)
        return len(claimed)

    async with _consuming(own, tasks, handled):
        for size in _batches(tasks, BATCH):
            ids = [uuid4() for _ in range(size)]
            await own.database.execute(_INSERT, ids, "queued")
            await own.publish(ids)


@asynccontextmanager
async def _consuming(
    own: Ground, tasks: int, handled: Callable[[AbstractIncomingMessage], Awaitable[int]]
) -> AsyncIterator[None]:
    """Hands every message to ``handled``; at the end waits until it has done ``tasks``."""
    done = 0
    all_done = asyncio.Event()

    async def take(message: AbstractIncomingMessage) -> None:
        nonlocal done
        count = await handled(message)
        done += count
        if done >= tasks:
            all_done.set()

    tag = await own.queue.consume(take)
    yield
    await all_done.wait()
    await own.queue.cancel(tag)


def _run(tasks: int) -> None:
    for _ in range(tasks):
        nothing()


def _ids(message: AbstractIncomingMessage) -> list[UUID]:
    body = message.body
    return [UUID(bytes=body[start : start + 16]) for start in range(0, len(body), 16)]


def _batches(tasks: int, size: int) -> list[int]:
    return [min(size, tasks - start) for start in range(0, tasks, size)]
