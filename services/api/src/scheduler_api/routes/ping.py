"""Ping addresses: a job that lives elsewhere says that it lives, begins or failed. The token is all it needs."""

from typing import Annotated

import structlog
from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.bodies import read_body
from scheduler_api.dependencies import use
from scheduler_api.routing import token_router
from scheduler_application.heartbeat.ping import PingCommand, PingHeartbeat, PingSignal

router = token_router("pings")

_BODY = {"requestBody": {"content": {"*/*": {"schema": {"type": "string"}}}}}

log: structlog.stdlib.BoundLogger = structlog.get_logger("scheduler_api")

Pings = Annotated[PingHeartbeat, use(lambda c: c.ping_heartbeat)]


@router.get("/heartbeat/{token}")
@router.post("/heartbeat/{token}", openapi_extra=_BODY)
async def ping(token: str, request: Request, pings: Pings) -> Response:
    """The job has done its work; what it sends along is kept as its last message."""
    return await _take(token, PingSignal.PING, request, pings)


@router.get("/heartbeat/{token}/start")
@router.post("/heartbeat/{token}/start", openapi_extra=_BODY)
async def ping_start(token: str, request: Request, pings: Pings) -> Response:
    """The job begins: the next ping tells how long it took. It meets no deadline."""
    return await _take(token, PingSignal.START, request, pings)


@router.get("/heartbeat/{token}/fail")
@router.post("/heartbeat/{token}/fail", openapi_extra=_BODY)
async def ping_fail(token: str, request: Request, pings: Pings) -> Response:
    """The job failed: an alert is raised at once."""
    return await _take(token, PingSignal.FAIL, request, pings)


async def _take(token: str, signal: PingSignal, request: Request, pings: PingHeartbeat) -> Response:
    alerted = await pings.execute(PingCommand(token, signal, await read_body(request)))
    for alert in alerted.raised:
        log.warning("an alert was raised", reason=alert.message, alert=alert.id, kind=alert.kind, key=alert.key)
    return answer({"status": "ok"})
