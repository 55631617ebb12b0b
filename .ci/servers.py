"""Prints ``export …`` lines for the usual local servers that answer; for the others, tests start private ones."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import aio_pika
import asyncpg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

DEADLINE_SECONDS = 3.0


async def ask_postgres(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.close()


async def ask_rabbitmq(url: str) -> None:
    connection = await aio_pika.connect(url)
    await connection.close()


async def ask_redis(url: str) -> None:
    client = Redis.from_url(url, retry=Retry(NoBackoff(), 0))
    try:
        await client.ping()
    finally:
        await client.aclose()


SERVERS: dict[str, tuple[str, Callable[[str], Awaitable[None]]]] = {
    "ORRERY_TEST_POSTGRES_URL": ("postgresql://postgres@127.0.0.1:5432/postgres", ask_postgres),
    "ORRERY_TEST_RABBITMQ_URL": ("amqp://guest:guest@127.0.0.1:5672/", ask_rabbitmq),
    "ORRERY_TEST_REDIS_URL": ("redis://127.0.0.1:6379/0", ask_redis),
}


async def main() -> None:
    for variable, (url, ask) in SERVERS.items():
        if variable in os.environ:
            continue
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await ask(url)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the tests bring their own server
            print(f"# nothing usable at {url}: {error!r}")
        else:
            print(f"export {variable}={url}")


asyncio.run(main())
