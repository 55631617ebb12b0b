"""What a figure was measured on."""

import asyncio
import contextlib
import os
import platform
from datetime import UTC, datetime
from typing import Any

import aio_pika
import asyncpg

from benchmarks.servers import servers

ANSWER_SECONDS = 5.0


def machine() -> dict[str, Any]:
    """Cores, the load when asked, the date, and versions; a server that does not answer has None."""
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "own_servers": servers().own,
        "versions": {"python": platform.python_version(), **asyncio.run(_servers())},
    }


async def _servers() -> dict[str, str | None]:
    return {"postgresql": await _postgresql(), "rabbitmq": await _rabbitmq()}


async def _postgresql() -> str | None:
    with contextlib.suppress(OSError, asyncpg.PostgresError, TimeoutError):
        connection = await asyncpg.connect(servers().postgres_url, timeout=ANSWER_SECONDS)
        version: str = await connection.fetchval("show server_version")
        await connection.close()
        return version.split(maxsplit=1)[0]
    return None


async def _rabbitmq() -> str | None:
    with contextlib.suppress(OSError, aio_pika.exceptions.AMQPError, TimeoutError):
        async with await aio_pika.connect(servers().rabbitmq_url, timeout=ANSWER_SECONDS) as connection:
            transport = connection.transport
            properties = getattr(transport.connection, "server_properties", {}) if transport else {}
            return _text(properties.get("version"))
    return None


def _text(version: Any) -> str | None:
    return version.decode() if isinstance(version, bytes) else version
