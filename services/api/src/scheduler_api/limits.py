"""Bounds of a request that hold before any route sees it: address, headers, body, time to arrive, how many at once.

The server below has none of these by itself: it takes 200 KB of headers and waits for ever for a body.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scheduler_api.errors import Refused

DISCARD_BYTES = 8 * 1024 * 1024
DISCARD_SECONDS = 5.0
"""How much of a body that is too large is taken and thrown away, and for how long."""

_CLOSE = {"Connection": "close"}
_SAFE_PATH = re.compile(r"/|(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~:@+=-]+)+")
_ENCODED_STRUCTURE = re.compile(rb"%(?:2[ef]|5c|00)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RequestBounds:
    """Sizes in bytes, ``receive_seconds`` for the whole body, ``in_flight`` requests at once in this process."""

    target: int = 8 * 1024
    headers: int = 32 * 1024
    header_count: int = 100
    body: int = 1024 * 1024
    receive_seconds: float = 10.0
    in_flight: int = 1_000


class RequestLimits:
    """Raises `Refused` for what goes over a bound; the envelope around it answers."""

    def __init__(self, app: ASGIApp, bounds: RequestBounds) -> None:
        self._app = app
        self._bounds = bounds
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _check_target(scope, self._bounds)
        try:
            intake = _Intake(receive, self._bounds) if _check_headers(scope, self._bounds) else receive
            await self._admit(scope, intake, send)
        except Refused as refusal:
            if refusal.code == "body_too_large":
                await _discard(scope, receive)
            raise

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._in_flight >= self._bounds.in_flight:
            raise Refused("overloaded", f"more than {self._bounds.in_flight} requests are under way; try again")
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1


class _Intake:
    """Receives a body under a deadline and a limit, whether its length was announced or not."""

    def __init__(self, receive: Receive, bounds: RequestBounds) -> None:
        self._receive = receive
        self._bounds = bounds
        self._deadline: float | None = None
        self._taken = 0
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        message = await self._next()
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            if self._taken > self._bounds.body:
                raise _too_large(self._bounds)
            self._complete = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._bounds.receive_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError:
            detail = f"the body did not arrive within {self._bounds.receive_seconds:g} s"
            raise Refused("request_timeout", detail, headers=_CLOSE) from None


async def _discard(scope: Scope, receive: Receive) -> None:
    """Takes what is still being sent: a connection that is closed on a sender takes the answer with it.

    Who asked whether to send at all has not begun.
    """
    if any(name == b"expect" for name, _ in scope["headers"]):
        return
    taken = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while taken < DISCARD_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _check_target(scope: Scope, bounds: RequestBounds) -> None:
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    if len(raw) + len(scope["query_string"]) > bounds.target:
        raise Refused("uri_too_long", f"the address is longer than {bounds.target} bytes", headers=_CLOSE)
    if not _SAFE_PATH.fullmatch(scope["path"]) or (b"%" in raw and _ENCODED_STRUCTURE.search(raw)):
        raise Refused("not_found", "there is nothing at this address")


def _check_headers(scope: Scope, bounds: RequestBounds) -> bool:
    """Whether a body follows."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    size = 0
    has_body = False
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"content-length":
            has_body = _check_length(value, bounds) or has_body
        elif name == b"transfer-encoding":
            has_body = True
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            raise Refused(
                "unsupported_content_encoding", "bodies are taken as they are, without compression", headers=_CLOSE
            )
    if size > bounds.headers or len(headers) > bounds.header_count:
        detail = f"at most {bounds.header_count} headers of {bounds.headers} bytes together are taken"
        raise Refused("headers_too_large", detail, headers=_CLOSE)
    return has_body


def _check_length(value: bytes, bounds: RequestBounds) -> bool:
    if not (value.isdigit() and len(value) <= 20):
        raise Refused("bad_request", "Content-Length is not a number of bytes", headers=_CLOSE)
    length = int(value)
    if length > bounds.body:
        raise _too_large(bounds)
    return length > 0


def _too_large(bounds: RequestBounds) -> Refused:
    return Refused("body_too_large", f"the body is larger than {bounds.body} bytes", headers=_CLOSE)
