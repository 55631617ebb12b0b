"""Everything in one process: API, dispatcher and worker on SQLite, with the in-process transport."""

import asyncio
import sys
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial

from orrery.server.admin import ensure_admin
from orrery.server.data_folder import held_data_folder
from orrery.server.demo import deploy_demo
from orrery.server.health_port import metrics_port
from orrery.server.listening import Say, listen
from orrery.server.signals import run_together, run_until_stopped
from orrery.server.wiring import api_services, dispatcher, worker
from scheduler_dispatcher.main import run as run_dispatcher
from scheduler_infrastructure.bootstrap.lifecycle import migrate, open_process
from scheduler_infrastructure.bootstrap.settings import Settings
from scheduler_worker.main import run as run_worker


def up(settings: Settings, *, demo: bool, say: Say) -> int:
    """Serves until a signal; one such process per data folder."""
    if "log_format" not in settings.sources and sys.stderr.isatty():
        settings = replace(settings, log_format="console")
    with held_data_folder(settings.data_dir):
        return run_until_stopped(partial(_serve_all, settings, demo, say))


async def _serve_all(settings: Settings, demo: bool, say: Say, stop: asyncio.Event) -> None:
    await migrate(settings)
    async with open_process(settings, "up") as process:
        await ensure_admin(process.use_cases, settings, say)
        if demo:
            await deploy_demo(process.use_cases)
        with metrics_port(process):
            await run_together(
                stop,
                listen(api_services(process), settings, "Orrery is up:", say, stop),
                run_dispatcher(dispatcher(process), stop),
                _worked(run_worker(worker(process), stop), stop),
            )


async def _worked(work: Awaitable[None], stop: asyncio.Event) -> None:
    """A worker that was drained has ended well: the clock and the API go on without it."""
    await work
    await stop.wait()
