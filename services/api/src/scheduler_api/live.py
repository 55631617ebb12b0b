"""Server-sent events: a watcher gets what happens as it happens, and a ping when nothing does.

A stream ends when its source ends, when the watcher goes away and when the process stops: whoever is cut off comes
back with ``Last-Event-ID``.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from scheduler_api.errors import Refused

EVENT_STREAM = "text/event-stream"
MAX_STREAMS = 200
PING_SECONDS = 15.0
RETRY_MILLISECONDS = 1_000


class Streams:
    """The open streams of this process: bounded, and told together when it stops."""

    def __init__(self, limit: int = MAX_STREAMS, ping_seconds: float = PING_SECONDS) -> None:
        self._limit = limit
        self._open = 0
        self.ping_seconds = ping_seconds
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def check_room(self) -> None:
        if self._open >= self._limit:
            raise Refused("too_many_streams", f"more than {self._limit} streams are open here")

    async def pause(self, seconds: float) -> bool:
        """Waits; ``False`` as soon as the process stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        return not self.stopping.is_set()


@dataclass(frozen=True, slots=True)
class Event:
    """``data`` becomes one line of JSON, so that nothing inside it can end the event early."""

    name: str
    data: Any
    id: str | None = None

    def encode(self) -> bytes:
        identity = f"id: {self.id}\n" if self.id is not None else ""
        return f"event: {self.name}\n{identity}data: ".encode() + msgspec.json.encode(self.data) + b"\n\n"


def streams_of(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


def wants_events(request: Request) -> bool:
    return EVENT_STREAM in request.headers.get("accept", "")


def event_stream(request: Request, events: AsyncGenerator[Event, None]) -> Response:
    """The answer that sends ``events``; raises `Refused` (``too_many_streams``)."""
    streams = streams_of(request)
    streams.check_room()
    if request.state.head:
        return Response(media_type=EVENT_STREAM)
    return _EventStream(events, streams)


async def changes(subscription: AsyncIterator[Mapping[str, Any]], *, resumed: bool) -> AsyncGenerator[Event, None]:
    """A project's changes as events. They are not kept, so one who comes back is first told to read the lists again."""
    if resumed:
        yield Event("reset", {"detail": "changes meanwhile are not kept: read again what you show"})
    async for change in subscription:
        yield Event("change", change)


class _EventStream(Response):
    media_type = EVENT_STREAM

    def __init__(self, events: AsyncGenerator[Event, None], streams: Streams) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watchers = (asyncio.create_task(_gone(receive)), asyncio.create_task(self._streams.stopping.wait()))
        try:
            with self._streams.hold():
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._pump(send, watchers)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            for watcher in watchers:
                watcher.cancel()

    async def _pump(self, send: Send, watchers: tuple["asyncio.Task[Any]", ...]) -> None:
        await _send(send, f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        following = asyncio.create_task(anext(self._events, None))
        try:
            while True:
                done, _ = await asyncio.wait(
                    (following, *watchers), timeout=self._streams.ping_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if any(watcher in done for watcher in watchers):
                    return
                if not done:
                    await _send(send, b": ping\n\n")
                    continue
                event = following.result()
                if event is None:
                    return
                await _send(send, event.encode())
                following = asyncio.create_task(anext(self._events, None))
        finally:
            following.cancel()
            await asyncio.wait((following,))
            await self._events.aclose()


async def _send(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
