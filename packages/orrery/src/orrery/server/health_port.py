"""`/livez`, `/readyz` and `/metrics` of a process that serves nothing else, on the port that ``ORRERY_METRICS_PORT``
names."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scheduler_api.serve import serve
from scheduler_infrastructure.bootstrap.containers import Application

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
"""The text format that Prometheus scrapes."""


class Health(Protocol):
    """Plain sentences about what is wrong; none when all is well."""

    def livez(self) -> list[str]: ...

    def readyz(self) -> list[str]: ...


@contextmanager
def metrics_port(process: Application) -> Iterator[None]:
    """Serves the figures of a process that has an API on a port of their own, where one is set."""
    settings = process.settings()
    if settings.metrics_port is None:
        yield
        return
    server = process.adapters.metrics().serve(settings.metrics_port, settings.api_host)
    try:
        yield
    finally:
        server.close()


async def serve_health(process: Application, health: Health, stop: asyncio.Event) -> None:
    """Serves until ``stop``; where no port is set it only waits for that."""
    settings = process.settings()
    if settings.metrics_port is None:
        await stop.wait()
        return
    app = _app(health, process.adapters.metrics().text)
    await serve(app, settings.api_host, settings.metrics_port, None, stop)


def _app(health: Health, metrics_text: Callable[[], bytes]) -> Starlette:
    def answer(problems: list[str]) -> Response:
        status = {"status": "failing" if problems else "ok", "problems": problems}
        return JSONResponse(status, 503 if problems else 200)

    async def livez(_: Request) -> Response:
        return answer(health.livez())

    async def readyz(_: Request) -> Response:
        return answer(health.readyz())

    async def metrics(_: Request) -> Response:
        return Response(metrics_text(), media_type=EXPOSITION)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])
