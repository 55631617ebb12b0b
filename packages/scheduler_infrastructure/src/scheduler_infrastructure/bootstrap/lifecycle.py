"""What opens and closes when. A process is an `Application` whose gateways are open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal
from urllib.parse import unquote, urlsplit

from scheduler_application.masking import Masking
from scheduler_application.ports.messaging import DependencyProbe
from scheduler_infrastructure.bootstrap.clock_keeper import ClockKeeper
from scheduler_infrastructure.bootstrap.containers import Application, make_application
from scheduler_infrastructure.bootstrap.readiness import Part, Readiness
from scheduler_infrastructure.bootstrap.settings import Settings
from scheduler_infrastructure.clock import StoreClock
from scheduler_infrastructure.persistence.schema import check_schema
from scheduler_infrastructure.persistence.schema import migrate as migrate_schema
from scheduler_infrastructure.telemetry.logging import configure_logging


async def migrate(settings: Settings) -> str:
    """Brings the store to this version's schema; its revision."""
    return await migrate_schema(settings.database_direct_url or settings.database_url)


@asynccontextmanager
async def open_probes(settings: Settings) -> AsyncIterator[list[DependencyProbe]]:
    """What `orrery check` tries: the store, and the broker and Redis where they are set."""
    application = make_application(settings, "check")
    async with AsyncExitStack() as stack:
        await _open_gateways(application, stack)
        yield [part.probe for part in _parts(application)]


@asynccontextmanager
async def open_process(settings: Settings, service: str) -> AsyncIterator[Application]:
    """An application with open gateways, closed in the opposite order afterwards.

    Raises `Rejected` (``schema_mismatch``) for a store of another version. A broker or Redis that is away does not keep
    the process from starting.
    """
    form: Literal["json", "console"] = "console" if settings.log_format == "console" else "json"
    configure_logging(settings.log_level, form, masking=Masking(hidden_values(settings)))
    application = make_application(settings, service)
    async with AsyncExitStack() as stack:
        await check_schema(settings.database_direct_url or settings.database_url)
        await _open_gateways(application, stack)
        stack.push_async_callback(application.use_cases.announcer().close)
        stack.push_async_callback(application.adapters.tracer().close)
        clock = application.gateways.clock()
        if isinstance(clock, StoreClock):
            keeper = _clock_keeper(application, clock)
            await keeper.look()
            keeping = asyncio.create_task(keeper.keep(), name="store clock")
            stack.callback(keeping.cancel)
        yield application


async def _open_gateways(application: Application, stack: AsyncExitStack) -> None:
    settings = application.settings()
    database = application.gateways.database()
    await database.open()
    stack.push_async_callback(database.close)
    if settings.redis_url is not None:
        stack.push_async_callback(application.gateways.redis().close)
    if settings.broker_url is not None:
        broker = application.gateways.broker()
        await broker.open()
        stack.push_async_callback(broker.close)


def hidden_values(settings: Settings) -> list[str]:
    """What no log line, and no log, output or error of a task, may show: secrets, and the passwords in URLs."""
    urls = (settings.database_url, settings.broker_url, settings.redis_url, *settings.connections.values())
    passwords = (urlsplit(url).password for url in urls if url is not None)
    return [*settings.secrets.values(), *(unquote(password) for password in passwords if password)]


def readiness(application: Application) -> Readiness:
    """What `/readyz` of the process asks."""
    return Readiness(_parts(application), application.gateways.clock())


def _parts(application: Application) -> list[Part]:
    settings = application.settings()
    parts = [Part(application.adapters.store_probe(), required=True)]
    if settings.broker_url is not None:
        # Without the broker runs are accepted and recorded; their hints follow when it is back.
        parts.append(Part(application.gateways.broker().probe, required=False))
    if settings.redis_url is not None:
        parts.append(Part(application.gateways.redis().probe, required=False))
    return parts


def _clock_keeper(application: Application, clock: StoreClock) -> ClockKeeper:
    guard, database = application.adapters.guard(), application.gateways.database()
    return ClockKeeper(lambda: guard.run(database.clock_offset), clock, application.adapters.metrics())
