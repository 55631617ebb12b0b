"""The outermost layer of every request: its identity, the headers of every answer, the log line, the last resort.

Pure ASGI, so that it also holds for answers that no route gave.
"""

import re
import time
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler_api.errors import describe, internal

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SECRET_IN_PATH = re.compile(r"orh_[A-Za-z0-9_-]*")
"""The token of a ping address: whoever reads the log must not be able to ping."""
_PROBES = frozenset({"/livez", "/readyz", "/metrics"})
_MAX_LOGGED_PATH = 200

log: structlog.stdlib.BoundLogger = structlog.get_logger("scheduler_api")


class RequestEnvelope:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(scope, send).run(self._app, receive)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._request_id = _request_id(scope["headers"])
        self._asked_method = scope["method"]
        state = {**scope.get("state", {}), "request_id": self._request_id, "head": self._asked_method == "HEAD"}
        self._scope = {**scope, "state": state, "method": "GET" if state["head"] else self._asked_method}
        self._send = send
        self._status: int | None = None
        self._body_ended = False
        self._started = time.perf_counter()

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        structlog.contextvars.bind_contextvars(request_id=self._request_id)
        try:
            await app(self._scope, receive, self._answer)
        except ClientDisconnect:
            self._status = self._status or 499
        except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, the caller gets an answer
            await self._refuse(error, receive)
        finally:
            self._log()
            structlog.contextvars.unbind_contextvars("request_id")

    async def _refuse(self, error: Exception, receive: Receive) -> None:
        problem = describe(error, source="query" if self._scope["method"] == "GET" else "body")
        if problem is None:
            log.error("a request failed unexpectedly", path=self._path, method=self._asked_method, exc_info=error)
            problem = internal()
        if self._status is not None:
            # Half an answer is on its way: cutting the connection is the only way left to say that it is not whole.
            raise error
        await problem.response(self._request_id)(self._scope, receive, self._answer)

    async def _answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message = {**message, "headers": self._with_headers(message.get("headers", ()))}
        elif self._asked_method == "HEAD" and message["type"] == "http.response.body":
            if self._body_ended:
                return
            self._body_ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _with_headers(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = list(given)
        present = {name.lower() for name, _ in headers}
        headers += [header for header in SECURITY_HEADERS if header[0] not in present]
        if self._scope.get("scheme") == "https":
            headers.append(_HSTS)
        headers.append((b"x-request-id", self._request_id.encode()))
        return headers

    @property
    def _path(self) -> str:
        path: str = self._scope["path"]
        return _SECRET_IN_PATH.sub("orh_***", path)[:_MAX_LOGGED_PATH]

    def _log(self) -> None:
        if self._path in _PROBES and self._status == 200:
            return
        state: dict[str, Any] = self._scope["state"]
        actor = state.get("actor")
        log.info(
            "request",
            method=self._asked_method,
            path=self._path,
            status=self._status,
            seconds=round(time.perf_counter() - self._started, 6),
            principal=actor.principal if actor is not None else None,
        )


def request_id_of(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's ``X-Request-Id`` where it is short and plain, else a new one."""
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0].decode()
    return str(uuid4())
