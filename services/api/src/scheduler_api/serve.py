"""Serving the application over HTTP, in a process of its own or beside others in one event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette

from scheduler_api.protocol import BoundedProtocol

GRACE_SECONDS = 3
MAX_CONNECTIONS = 2_000


class CannotListen(Exception):
    """The address cannot be served; the message is one plain sentence."""


class _Server(uvicorn.Server):
    """Leaves signals to whoever owns the process, and says when its port answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready()


async def serve(app: Starlette, host: str, port: int, ready: Callable[[], None] | None, stop: asyncio.Event) -> None:
    """Serves until ``stop`` is set; requests that are under way then get `GRACE_SECONDS`, streams end at once.

    ``ready`` is called when the port answers. Raises `CannotListen` when it cannot.
    """
    server = _Server(_config(app, host, port), ready)
    serving = asyncio.create_task(_run(server, host, port))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if (streams := getattr(app.state, "streams", None)) is not None:  # A health port has none.
            streams.stopping.set()
        server.should_exit = True
        await serving


async def _run(server: uvicorn.Server, host: str, port: int) -> None:
    try:
        await server.serve()
    except SystemExit:
        # uvicorn's way to say that it could not bind; it would end every other part of an embedded process.
        raise CannotListen(f"cannot listen on {host}:{port}: is the port taken?") from None
    if not server.started:
        raise CannotListen("the application did not start")


def _config(app: Starlette, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
