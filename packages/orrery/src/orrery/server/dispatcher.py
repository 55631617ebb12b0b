"""One dispatcher of several: one leads, the others stand by."""

import asyncio
from functools import partial

from orrery.server.health_port import serve_health
from orrery.server.signals import run_together, run_until_stopped
from orrery.server.wiring import dispatcher
from scheduler_dispatcher.main import run
from scheduler_infrastructure.bootstrap.lifecycle import open_process
from scheduler_infrastructure.bootstrap.settings import Settings


def run_dispatcher(settings: Settings) -> int:
    """Runs until a signal; a leader that stops gives its lease back, so that another leads at once."""
    return run_until_stopped(partial(_run, settings))


async def _run(settings: Settings, stop: asyncio.Event) -> None:
    async with open_process(settings, "dispatcher") as process:
        own = dispatcher(process)
        await run_together(stop, run(own, stop), serve_health(process, own.health, stop))
