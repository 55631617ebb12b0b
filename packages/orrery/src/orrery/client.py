"""The client: `AsyncClient`, and `Client` with the same calls for programs that do not use asyncio.

Both have one method per function of `operations`; the `_Operation` descriptor gives it the face that the class needs,
so that no call is written twice.
"""

import asyncio
import os
import random
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast, overload
from urllib.parse import urlsplit

import httpx2

from orrery import operations
from orrery.connection import Connection, find_connection
from orrery.errors import BY_STATUS, ApiError, CannotConnect, ProblemDetail
from orrery.models import LogLine
from orrery.operations import Call

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 3
RETRY_PAUSE_SECONDS = 0.2
DEADLINE = httpx2.Timeout(30.0, connect=5.0)
STREAM_TRIES = 20
STREAM_PAUSE_SECONDS = 0.5
STREAM_SILENCE_SECONDS = 60.0
"""The server pings every 15 s; a stream that is silent for this long is dead."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class _Operation(Generic[P, T]):
    """Turns a function that describes a call into a method that makes it."""

    def __init__(self, describe: Callable[P, Call[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, client: "AsyncClient", owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[P, T]: ...
    def __get__(self, client: "AsyncClient | Client", owner: type) -> Callable[P, Any]:
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.send(self._describe(*args, **kwargs))

        return call


class _Operations:
    plan = _Operation(operations.plan)
    deploy = _Operation(operations.deploy)
    undeploy = _Operation(operations.undeploy)
    enable = _Operation(operations.enable)
    disable = _Operation(operations.disable)
    list_workflows = _Operation(operations.list_workflows)
    get_workflow = _Operation(operations.get_workflow)
    list_versions = _Operation(operations.list_versions)
    get_version = _Operation(operations.get_version)
    list_triggers = _Operation(operations.list_triggers)
    start_run = _Operation(operations.start_run)
    list_runs = _Operation(operations.list_runs)
    get_run = _Operation(operations.get_run)
    cancel_run = _Operation(operations.cancel_run)
    rerun = _Operation(operations.rerun)
    pause = _Operation(operations.pause)
    freeze = _Operation(operations.freeze)
    list_freezes = _Operation(operations.list_freezes)
    lift_freeze = _Operation(operations.lift_freeze)
    resume = _Operation(operations.resume)
    next_fires = _Operation(operations.next_fires)
    forecast = _Operation(operations.forecast)
    explain = _Operation(operations.explain)
    preview = _Operation(operations.preview)
    start_backfill = _Operation(operations.start_backfill)
    preview_backfill = _Operation(operations.preview_backfill)
    list_backfills = _Operation(operations.list_backfills)
    get_backfill = _Operation(operations.get_backfill)
    pause_backfill = _Operation(operations.pause_backfill)
    resume_backfill = _Operation(operations.resume_backfill)
    cancel_backfill = _Operation(operations.cancel_backfill)
    read_ledger = _Operation(operations.read_ledger)
    list_calendars = _Operation(operations.list_calendars)
    get_calendar = _Operation(operations.get_calendar)
    list_calendar_days = _Operation(operations.list_calendar_days)
    save_calendar = _Operation(operations.save_calendar)
    import_calendar = _Operation(operations.import_calendar)
    refresh_calendar = _Operation(operations.refresh_calendar)
    delete_calendar = _Operation(operations.delete_calendar)
    list_expectations = _Operation(operations.list_expectations)
    list_alerts = _Operation(operations.list_alerts)
    get_alert = _Operation(operations.get_alert)
    create_heartbeat = _Operation(operations.create_heartbeat)
    edit_heartbeat = _Operation(operations.edit_heartbeat)
    list_heartbeats = _Operation(operations.list_heartbeats)
    get_heartbeat = _Operation(operations.get_heartbeat)
    delete_heartbeat = _Operation(operations.delete_heartbeat)
    pause_heartbeat = _Operation(operations.pause_heartbeat)
    resume_heartbeat = _Operation(operations.resume_heartbeat)
    rotate_heartbeat = _Operation(operations.rotate_heartbeat)
    list_workers = _Operation(operations.list_workers)
    drain_worker = _Operation(operations.drain_worker)
    list_queues = _Operation(operations.list_queues)
    read_logs = _Operation(operations.read_logs)


class AsyncClient(_Operations):
    """Talks to one server. Use it as ``async with AsyncClient() as client``; raises `orrery.errors.OrreryError`s.

    Every write carries its own idempotency key, so a call that is tried again after a lost answer happens once.
    """

    def __init__(
        self, connection: Connection | None = None, *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._connection = connection or find_connection(os.environ)
        headers = {"Accept": "application/json"}
        if self._connection.api_key:
            headers["Authorization"] = f"Bearer {self._connection.api_key}"
        self._http = httpx2.AsyncClient(
            base_url=f"{self._connection.url}/api/v1",
            headers=headers,
            timeout=DEADLINE,
            # A proxy from the environment is for the world outside, never for a server on this machine.
            trust_env=urlsplit(self._connection.url).hostname not in _LOOPBACK,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Makes one call: at most `TRIES` times while the server cannot be reached or says 503."""
        request = self._request(call)
        for left in reversed(range(TRIES)):
            try:
                response = await self._http.send(request)
            except httpx2.TransportError as error:
                if not left or isinstance(error, httpx2.UnsupportedProtocol):
                    raise self._unreachable(error) from error
            else:
                if response.status_code != 503 or not left:
                    return call.read(_answer(response))
            await asyncio.sleep(RETRY_PAUSE_SECONDS * (TRIES - left) * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    async def follow_logs(self, run: str, task: str | None = None) -> AsyncGenerator[LogLine, None]:
        """Yields the lines of a run, the old ones first, until the run has ended; survives a server that restarts."""
        cursor: str | None = None
        lost = 0
        while True:
            try:
                async with aclosing(self._stream(run, task, cursor)) as lines:
                    async for line in lines:
                        cursor, lost = line["cursor"], 0
                        yield line
                return
            except httpx2.TransportError as error:
                lost += 1
                if lost == STREAM_TRIES:
                    raise self._unreachable(error) from error
            await asyncio.sleep(STREAM_PAUSE_SECONDS)

    async def _stream(self, run: str, task: str | None, cursor: str | None) -> AsyncGenerator[LogLine, None]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": cursor} if cursor else {})
        timeout = httpx2.Timeout(STREAM_SILENCE_SECONDS, connect=5.0)
        query = {"task": task} if task else {}
        path = operations.read_logs(run).path
        async with self._http.stream("GET", path, params=query, headers=headers, timeout=timeout) as response:
            if response.status_code != 200:
                await response.aread()
                _answer(response)
            async for event in httpx2.EventSource(response):
                if event.event == "end":
                    return
                if event.event == "line":
                    yield cast(LogLine, event.json())
        raise httpx2.RemoteProtocolError("the stream ended before the run did")

    def _request(self, call: Call[T]) -> httpx2.Request:
        headers = {} if call.method == "GET" else {"Idempotency-Key": str(uuid.uuid4())}
        if call.content_type:
            headers["Content-Type"] = call.content_type
        query = {name: _query_text(value) for name, value in call.query.items() if value is not None}
        try:
            return self._http.build_request(
                call.method, call.path, params=query, headers=headers, json=call.json, content=call.content
            )
        except httpx2.InvalidURL as error:
            raise CannotConnect(f"{self._connection.url} is not a valid address") from error

    def _unreachable(self, error: httpx2.TransportError) -> CannotConnect:
        url = self._connection.url
        if isinstance(error, httpx2.TimeoutException):
            return CannotConnect(f"{url} does not answer in time")
        if "CERTIFICATE" in str(error) or "SSL" in str(error):
            return CannotConnect(f"{url} cannot be trusted: {error}")
        return CannotConnect(f"no server answers at {url}: {str(error) or type(error).__name__}")


class Client(_Operations):
    """`AsyncClient` without ``await``: one event loop of its own, so never use it inside one that runs."""

    def __init__(self, connection: Connection | None = None) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.run(self._client.__aexit__(kind, error, traceback))
        self._runner.close()

    def send(self, call: Call[T]) -> T:
        return self._runner.run(self._client.send(call))

    def follow_logs(self, run: str, task: str | None = None) -> Iterator[LogLine]:
        lines = self._client.follow_logs(run, task)

        async def following() -> LogLine | None:
            return await anext(lines, None)

        while (line := self._runner.run(following())) is not None:
            yield line


def _query_text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer(response: httpx2.Response) -> Any:
    """The JSON of a good answer; raises the `ApiError` of any other."""
    try:
        content = response.json() if response.content else None
    except ValueError:
        content = None
        if response.is_success:
            raise ApiError(response.status_code, "not_json", "what answers there is not an Orrery server") from None
    if response.is_success:
        return content
    raise _api_error(response.status_code, content if isinstance(content, dict) else {})


def _api_error(status: int, problem: dict[str, Any]) -> ApiError:
    faults = [
        ProblemDetail(
            str(item.get("msg", "")),
            str(item.get("code", "")),
            tuple(item.get("loc", ())),
            item.get("line"),
            item.get("column"),
        )
        for item in problem.get("errors") or ()
        if isinstance(item, dict)
    ]
    message = str(problem.get("detail") or problem.get("title") or f"the server answered with status {status}")
    return BY_STATUS.get(status, ApiError)(status, str(problem.get("code", "")), message, faults)
