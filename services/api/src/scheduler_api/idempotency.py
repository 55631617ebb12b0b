"""``Idempotency-Key``: a write that is sent twice under one key happens once and is answered twice.

Routes that start runs hand the key to their use case, which keeps it in the run's own transaction; all others pass
through `once`.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import ShownOnce
from scheduler_api.bodies import JSON_TYPE, read_body
from scheduler_api.dependencies import use_cases_of
from scheduler_api.errors import Refused, describe
from scheduler_application.actor import Actor
from scheduler_application.errors import Unavailable

REPLAYED = {"Idempotent-Replayed": "true"}
_KEY = re.compile(r"[\x20-\x7e]{1,255}")

log: structlog.stdlib.BoundLogger = structlog.get_logger("scheduler_api")


def idempotency_key(request: Request) -> str | None:
    """The request's key, or ``None`` without one; raises `Refused` (``invalid_idempotency_key``)."""
    given = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    if not given:
        return None
    key: str = given[0].decode("latin-1").strip()
    if len(given) > 1 or not _KEY.fullmatch(key):
        raise Refused("invalid_idempotency_key", "Idempotency-Key takes 1 to 255 printable ASCII characters, once")
    return key


def request_hash(request: Request, body: bytes) -> str:
    """What must be the same when a key comes again: the method, the address and the body."""
    head = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(head + body).hexdigest()


async def once(
    request: Request, actor: Actor, key: str, act: Callable[[Request], Awaitable[Response]], route: str
) -> Response:
    """Acts under ``key``, or gives the answer that was given before.

    A refusal frees the key, since nothing happened. After an error that leaves open whether something happened the key
    stays taken until it expires: trying again under it must not act twice.
    """
    keys = use_cases_of(request).idempotency_keys()
    body = await read_body(request)
    earlier = await keys.begin(actor, key, route, request_hash(request, body))
    if earlier is not None:
        return Response(earlier.body, earlier.status, REPLAYED, media_type=JSON_TYPE)
    try:
        response = await act(request)
    except Exception as error:
        problem = describe(error)
        if problem is not None and problem.status < 500:
            await keys.abandon(actor, key, route)
        raise
    try:
        # A secret that is shown once is not kept, and so not shown again.
        kept = response.kept if isinstance(response, ShownOnce) else bytes(response.body)
        await keys.finish(actor, key, route, response.status_code, kept)
    except Unavailable as error:
        log.warning("the answer to an idempotency key could not be kept", reason=str(error))
    return response
