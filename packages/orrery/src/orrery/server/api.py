"""One API server of many."""

import asyncio
from functools import partial

from orrery.server.admin import ensure_admin
from orrery.server.health_port import metrics_port
from orrery.server.listening import Say, listen
from orrery.server.signals import run_until_stopped
from orrery.server.wiring import api_services
from scheduler_infrastructure.bootstrap.lifecycle import open_process
from scheduler_infrastructure.bootstrap.settings import Settings


def serve_api(settings: Settings, *, say: Say) -> int:
    """Serves until a signal; makes the first admin where there is none."""
    return run_until_stopped(partial(_serve, settings, say))


async def _serve(settings: Settings, say: Say, stop: asyncio.Event) -> None:
    async with open_process(settings, "api") as process:
        await ensure_admin(process.use_cases, settings, say)
        with metrics_port(process):
            await listen(api_services(process), settings, "API:", say, stop)
