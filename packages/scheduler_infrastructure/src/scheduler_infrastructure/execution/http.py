"""``http``: one request to an address that is checked before it is reached, and an answer that is bounded.

Redirects are not followed (a 3xx status is a status like others), proxies and netrc files of the environment are not
used, cookies are not kept.
"""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import httpcore2
import httpx2
import msgspec

from scheduler_application.errors import Unavailable
from scheduler_application.ports.execution import ExecutionRequest, LogSink
from scheduler_domain.run.outcome import Failed, Outcome, Succeeded
from scheduler_infrastructure.execution.failures import failed, invalid_settings
from scheduler_infrastructure.execution.outbound.addresses import AddressNotAllowed, AddressPolicy
from scheduler_infrastructure.execution.outbound.answer import as_output
from scheduler_infrastructure.execution.outbound.body import ResponseTooLarge, UnreadableBody, read_body
from scheduler_infrastructure.execution.outbound.network import GuardedNetwork, NameNotResolved, Resolver, resolve
from scheduler_infrastructure.execution.outbound.request import HttpSettings, InvalidRequest, build_request
from scheduler_infrastructure.execution.stopping import run_unless_stopped

T = TypeVar("T")

_CODES: dict[type[Exception], str] = {
    Unavailable: "circuit_open",
    NameNotResolved: "dns_error",
    AddressNotAllowed: "address_not_allowed",
    ResponseTooLarge: "response_too_large",
    UnreadableBody: "unreadable_response",
    httpx2.LocalProtocolError: "invalid_settings",
}
_RETRYABLE_STATUSES = frozenset({408, 425, 429})
_CONNECT_SECONDS = 15.0
_MAX_DETAIL_BYTES = 2000


ANSWERS: tuple[type[Exception], ...] = (
    AddressNotAllowed,
    ResponseTooLarge,
    UnreadableBody,
    httpx2.LocalProtocolError,
)
"""Faults of the request or of its answer; they say nothing about whether the host works."""


class HostGuard(Protocol):
    """Stands before each request; a circuit breaker per host, say. Raises `Unavailable` instead of calling while the
    circuit is open."""

    async def __call__(self, host: str, call: Callable[[], Awaitable[T]], /) -> T: ...


async def no_guard(_host: str, call: Callable[[], Awaitable[T]]) -> T:
    return await call()


class HttpExecutor:
    """``allowed_networks`` (CIDR) are reached although they are not public; ``verify`` is the TLS trust; ``network``
    connects to what was checked (TCP where none is given)."""

    name = "http"
    serves_lanes = False

    def __init__(
        self,
        *,
        allowed_networks: Sequence[str] = (),
        guard: HostGuard = no_guard,
        resolver: Resolver = resolve,
        network: httpcore2.AsyncNetworkBackend | None = None,
        verify: ssl.SSLContext | bool = True,
        max_connections: int = 100,
    ) -> None:
        self._network = GuardedNetwork(AddressPolicy(allowed_networks), resolver, network)
        self._guard = guard
        self._verify = verify
        self._limits = httpx2.Limits(max_connections=max_connections, max_keepalive_connections=20)
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def open(self) -> None:
        """Makes the connection pool, which takes some 20 ms for the trusted certificates."""
        transport = httpx2.AsyncHTTPTransport(verify=self._verify, trust_env=False, limits=self._limits)
        # httpx2 has no public way to say how its pool connects.
        transport._pool._network_backend = self._network  # noqa: SLF001
        self._transport = transport

    async def close(self) -> None:
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        try:
            settings = msgspec.convert(request.settings, HttpSettings)
            prepared = build_request(settings, _added_headers(request))
        except msgspec.ValidationError as error:
            return invalid_settings(error)
        except InvalidRequest as error:
            return failed(error.code, str(error), retryable=False)
        connect = min(_CONNECT_SECONDS, request.timeout or _CONNECT_SECONDS)
        # Only the attempt's own timeout bounds a slow answer: what waits for hours on purpose may.
        prepared.extensions["timeout"] = {"connect": connect, "read": None, "write": None, "pool": None}
        return await run_unless_stopped(request, self._send(settings, prepared))

    async def _send(self, settings: HttpSettings, request: httpx2.Request) -> Outcome:
        try:
            return await self._guard(request.url.host, lambda: self._exchange(settings, request))
        except (Unavailable, NameNotResolved) as error:
            return failed(_CODES[type(error)], str(error))
        except ANSWERS as error:
            return failed(_CODES[type(error)], str(error), retryable=False)
        except httpx2.HTTPError as error:
            return _transport_failure(error)

    async def _exchange(self, settings: HttpSettings, request: httpx2.Request) -> Outcome:
        if self._transport is None:
            return failed("not_open", "the executor is not open")
        response = await self._transport.handle_async_request(request)
        try:
            body = await read_body(response.aiter_raw(), response.headers.get("content-encoding", ""))
        finally:
            await response.aclose()
        charset = response.charset_encoding or "utf-8"
        if not settings.expects(response.status_code):
            return _unexpected(request, response, body.decode("utf-8", "replace")[:_MAX_DETAIL_BYTES])
        return Succeeded(as_output(response.status_code, _headers(response), body, charset))


def _added_headers(request: ExecutionRequest) -> dict[str, str]:
    headers = {"idempotency-key": request.idempotency_key}
    if traceparent := request.environment.get("TRACEPARENT"):
        headers["traceparent"] = traceparent
    return headers


def _headers(response: httpx2.Response) -> list[tuple[str, str]]:
    return list(response.headers.multi_items())


def _unexpected(request: httpx2.Request, response: httpx2.Response, body: str) -> Failed:
    status = response.status_code
    return failed(
        "http_status",
        f"{request.method} {request.url.host} answered with status {status}, which is not expected",
        retryable=status in _RETRYABLE_STATUSES or status >= 500,
        http_status=status,
        detail=body or None,
    )


def _transport_failure(error: httpx2.HTTPError) -> Failed:
    if (cause := _tls_cause(error)) is not None:
        reason = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
        return failed("tls_error", f"no secure connection: {reason}", retryable=False)
    if isinstance(error, httpx2.ConnectTimeout):
        return failed("connect_error", "no connection in time")
    if isinstance(error, httpx2.ConnectError):
        return failed("connect_error", f"no connection: {error}")
    return failed("connection_lost", f"the connection ended before the answer: {type(error).__name__} {error}")


def _tls_cause(error: BaseException) -> Any:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
