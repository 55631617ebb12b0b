"""A light load of HTTP requests, for a process of its own: `python -m benchmarks.http_load`.

Keep-alive connections over bare sockets: a client library costs more than the server that is measured. What to send is
one line of JSON on standard input (`Load`), what came of it one line on standard output (`Answers`).
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass(frozen=True, slots=True)
class Load:
    """``count`` times the same POST over ``connections``.

    With a ``rate`` (requests a second) each is sent at its moment, and counts from that moment on also when every
    connection is still waiting for an answer. Without one each connection sends its next request at once.
    """

    host: str
    port: int
    path: str
    key: str
    body: str
    count: int
    connections: int
    rate: float | None = None

    def request(self) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return (head + self.body).encode()


@dataclass(frozen=True, slots=True)
class Answers:
    """``statuses`` counts the answers by status, ``milliseconds`` has one latency a request."""

    seconds: float
    cpu_seconds: float
    statuses: dict[str, int]
    milliseconds: list[float]


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, answered: Callable[["_Connection", str], None], failed: Callable[[Exception], None]) -> None:
        self._answered = answered
        self._failed = failed
        self._received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return
        at = self._received.lower().index(_LENGTH) + len(_LENGTH)
        length = int(self._received[at : self._received.index(b"\r", at)])
        if len(self._received) < head_end + len(_HEAD_END) + length:
            return
        status = self._received[9:12].decode()
        self._received = b""
        self._answered(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._failed(exc or ConnectionError("the server closed a connection"))


class _Run:
    """One load, from the first request to the last answer."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._request = load.request()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._free: deque[_Connection] = deque()
        self._since: dict[_Connection, float] = {}
        self._statuses: dict[str, int] = {}
        self._latencies: list[float] = []
        self._moments: Iterator[float]
        self._next: float | None = None

    async def run(self) -> Answers:
        loop = asyncio.get_running_loop()
        load = self._load
        connections = [
            (await loop.create_connection(lambda: _Connection(self._answered, self._failed), load.host, load.port))[1]
            for _ in range(load.connections)
        ]
        self._free.extend(connections)
        began, cpu = time.perf_counter(), time.process_time()
        self._moments = iter([began + (n / load.rate if load.rate else 0.0) for n in range(load.count)])
        self._next = next(self._moments, None)
        self._send_what_is_due()
        await self._over
        took = time.perf_counter() - began
        for connection in connections:
            connection.transport.abort()
        return Answers(took, time.process_time() - cpu, self._statuses, self._latencies)

    def _send_what_is_due(self) -> None:
        now = time.perf_counter()
        while self._free and self._next is not None and self._next <= now:
            # In turns: the server closes a connection on which nothing comes for long.
            connection = self._free.popleft()
            self._since[connection] = self._next if self._load.rate else now
            connection.transport.write(self._request)
            self._next = next(self._moments, None)
        if self._free and self._next is not None:
            asyncio.get_running_loop().call_later(self._next - now, self._send_what_is_due)

    def _answered(self, connection: _Connection, status: str) -> None:
        since = self._since.pop(connection, None)
        if since is None:
            self._failed(ConnectionError(f"the server answered {status} where nothing was asked"))
            return
        waiting = not self._free and self._next is not None
        self._latencies.append((time.perf_counter() - since) * 1000)
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._free.append(connection)
        if waiting:
            # Otherwise the timer of the next request's moment runs.
            self._send_what_is_due()
        if len(self._latencies) == self._load.count:
            self._over.set_result(None)

    def _failed(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)


async def apply(load: Load) -> Answers:
    """Applies ``load`` from a process of its own; raises `RuntimeError` when it cannot."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.http_load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answers, errors = await process.communicate(json.dumps(asdict(load)).encode())
    if process.returncode:
        raise RuntimeError(f"the load failed: {errors.decode()[-2000:]}")
    found: dict[str, Any] = json.loads(answers)
    return Answers(**found)


def main() -> None:
    load = Load(**json.loads(sys.stdin.readline()))

    async def run() -> Answers:
        return await _Run(load).run()

    answers = uvloop.run(run())
    sys.stdout.write(json.dumps(asdict(answers)))


if __name__ == "__main__":
    main()
