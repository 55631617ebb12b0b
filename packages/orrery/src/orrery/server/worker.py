"""One worker of many."""

import asyncio
from functools import partial

from orrery.server.data_folder import make_data_folder
from orrery.server.health_port import serve_health
from orrery.server.signals import run_together, run_until_stopped
from orrery.server.wiring import worker
from scheduler_infrastructure.bootstrap.lifecycle import open_process
from scheduler_infrastructure.bootstrap.settings import Settings
from scheduler_worker.main import run


def run_worker(settings: Settings) -> int:
    """Runs until a signal; what it has then ends or is handed back."""
    make_data_folder(settings.data_dir)
    return run_until_stopped(partial(_run, settings))


async def _run(settings: Settings, stop: asyncio.Event) -> None:
    async with open_process(settings, "worker") as process:
        own = worker(process)
        await run_together(stop, run(own, stop), serve_health(process, own.health, stop))
