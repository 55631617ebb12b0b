"""The application: routes, what surrounds them, and what they stand on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.dependencies import ApiServices
from scheduler_api.errors import Refused, describe, internal
from scheduler_api.later import comes_later
from scheduler_api.limits import RequestBounds, RequestLimits
from scheduler_api.live import Streams
from scheduler_api.middleware import RequestEnvelope, request_id_of
from scheduler_api.routes import (
    alert,
    backfill,
    calendar,
    freeze,
    health,
    heartbeat,
    logs,
    ping,
    plan,
    root,
    run,
    schedule,
    start,
    task_run,
    worker,
    workflow,
)
from scheduler_api.routing import allowed_methods, check_access
from scheduler_api.version import VERSION

_ROUTERS = (
    start.router,
    run.router,
    logs.router,
    task_run.router,
    workflow.router,
    plan.router,
    schedule.router,
    freeze.router,
    backfill.router,
    calendar.router,
    worker.router,
    alert.router,
    heartbeat.router,
    ping.router,
    health.router,
    root.page_router,
    root.schema_router,
)


def create_app(services: ApiServices, bounds: RequestBounds | None = None) -> FastAPI:
    """The API over ``services``. Raises `RuntimeError` for a route that does not declare who may use it."""
    app = FastAPI(
        title="Orrery",
        version=VERSION,
        description="A distributed scheduler and workflow engine",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        telemetry={"operation_spans": False},
    )
    app.state.services = services
    app.state.streams = Streams()
    for router in _ROUTERS:
        app.router.routes.extend(router.routes)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_middleware(RequestLimits, bounds=bounds or RequestBounds())
    app.add_middleware(RequestEnvelope)
    check_access(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    check_access(app)
    yield
    app.state.streams.stopping.set()


async def _refuse(request: Request, error: Exception) -> Response:
    """No route for this address, or not with this method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404 and comes_later(request.url.path):
        error = Refused("not_available_yet", "this part of the interface is not available yet")
    problem = describe(error) or internal()
    if status == 405:
        problem.headers["Allow"] = ", ".join(allowed_methods(request.app, request.scope["path"]))
    return problem.response(request_id_of(request))
