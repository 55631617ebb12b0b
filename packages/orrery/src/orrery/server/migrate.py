"""The database's schema, and the first admin."""

import asyncio
from functools import partial

from orrery.server.admin import ensure_admin
from orrery.server.data_folder import make_data_folder
from orrery.server.listening import Say
from orrery.server.signals import run_until_stopped
from scheduler_infrastructure.bootstrap.lifecycle import migrate, open_process
from scheduler_infrastructure.bootstrap.settings import Settings


def migrate_store(settings: Settings, *, say: Say) -> int:
    """Brings the schema to this version's; does nothing to one that is there already."""
    if not settings.is_postgresql:
        make_data_folder(settings.data_dir)
    return run_until_stopped(partial(_migrate, settings, say))


async def _migrate(settings: Settings, say: Say, _: asyncio.Event) -> None:
    await migrate(settings)
    async with open_process(settings, "migrate") as process:
        await ensure_admin(process.use_cases, settings, say)
    say("the database is ready")
