"""The API's port: served until a signal, and told to people once it answers."""

import asyncio
from collections.abc import Callable

from orrery.cli.failures import CommandFailed
from scheduler_api.dependencies import ApiServices
from scheduler_api.main import create_app
from scheduler_api.serve import CannotListen, serve
from scheduler_infrastructure.bootstrap.settings import Settings

Say = Callable[[str], None]


async def listen(services: ApiServices, settings: Settings, greeting: str, say: Say, stop: asyncio.Event) -> None:
    """Serves until ``stop``; says ``greeting`` with the address once the port answers. Raises `CommandFailed`."""
    host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
    address = f"http://{host}:{settings.api_port}"
    try:
        await serve(
            create_app(services), settings.api_host, settings.api_port, lambda: say(f"{greeting} {address}"), stop
        )
    except CannotListen as error:
        raise CommandFailed(str(error)) from error
