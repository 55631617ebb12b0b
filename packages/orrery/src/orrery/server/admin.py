"""The first admin: made where none exists, told once."""

from collections.abc import Callable
from typing import Any

from orrery.cli.failures import CommandFailed
from orrery.connection import ADMIN_FILE
from orrery.server.data_folder import make_data_folder, write_admin_file
from scheduler_infrastructure.bootstrap.settings import Settings


async def ensure_admin(use_cases: Any, settings: Settings, say: Callable[[str], None]) -> None:
    """Makes the first admin's key, or takes ``ORRERY_API_KEY`` for it; prints only a key that nobody knows yet."""
    created = await use_cases.ensure_admin().execute(settings.api_key)
    if created is None:
        return
    if settings.api_key is None:
        say(f"API key of the first admin, shown this once: {created.text}")
    try:
        make_data_folder(settings.data_dir)
        say(f"admin: {write_admin_file(settings.data_dir, created.text)}")
    except (CommandFailed, OSError) as error:
        # A container without a data folder of its own: the key was said, or given, and works all the same.
        say(f"admin: {settings.data_dir / ADMIN_FILE} was not written: {error}")
