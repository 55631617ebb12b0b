"""One keeper as the worker sees it, and the process that it runs."""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduler_infrastructure.execution.supervision import frames

_UNKILLABLE_SECONDS = 1.2
"""How long after KILL one waits for the report; beyond it, the keeper goes on alone and the attempt is not held up."""


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How a supervised process ended. Exactly one of these holds: ``status`` is set (a wait status); ``error`` is
    set (it could not be started, ``errno`` says why); ``lost`` (its keeper was killed; the tree was ended without a
    status); ``survived`` (a process of the tree cannot be killed, it is stuck in the kernel or belongs to another
    user; its keeper goes on trying)."""

    status: int | None = None
    error: str | None = None
    errno: int = 0
    lost: bool = False
    survived: bool = False
    cpu_seconds: float = 0.0
    max_rss_kib: int = 0


class SupervisedProcess:
    """A process tree under a keeper; ``ended`` resolves when nothing of it is left."""

    def __init__(self, link: "KeeperLink") -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[ExitReport] = self._loop.create_future()

    def end(self, grace: float) -> None:
        """Asks for its end: TERM to the whole tree, KILL after ``grace`` seconds (0: at once). May be called again
        to shorten the pause."""
        if self.ended.done():
            return
        self._link.send_end(grace)
        timer = self._loop.call_later(grace + _UNKILLABLE_SECONDS, self.report, ExitReport(survived=True))
        self.ended.add_done_callback(lambda _: timer.cancel())

    def report(self, report: ExitReport) -> None:
        if not self.ended.done():
            self.ended.set_result(report)


class KeeperLink:
    """The socket to one keeper. ``freed`` is called with it when its process has ended, ``lost`` when the keeper is
    gone."""

    def __init__(
        self,
        number: int,
        connection: socket.socket,
        freed: Callable[["KeeperLink"], None],
        lost: Callable[["KeeperLink"], None],
    ) -> None:
        self.number = number
        self.process: SupervisedProcess | None = None
        self.closed = False
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._freed, self._lost = freed, lost
        self._received = bytearray()
        self._ready: asyncio.Future[bool] = self._loop.create_future()
        self._loop.add_reader(connection, self._read)

    async def ready(self, seconds: float) -> bool:
        """Whether the keeper said within ``seconds`` that it is there."""
        await asyncio.wait({self._ready}, timeout=seconds)
        return self._ready.done() and self._ready.result()

    async def send_start(
        self,
        process: SupervisedProcess,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        descriptors: Sequence[int],
        *,
        batch: bool,
    ) -> None:
        """Raises `OSError` when the keeper is gone."""
        self.process = process
        frame = frames.encode({"argv": list(argv), "env": dict(environment), "cwd": folder, "batch": batch})
        sent = socket.send_fds(self._connection, [frame], list(descriptors))
        if sent < len(frame):
            await self._loop.sock_sendall(self._connection, frame[sent:])

    def send_end(self, grace: float) -> None:
        try:
            self._connection.send(frames.encode({"end": grace}))
        except OSError:
            return  # The keeper is gone, which the reader notices as well.

    def close(self) -> None:
        """The keeper ends when it sees this, with whatever it runs."""
        if not self.closed:
            self.closed = True
            self._answer_ready(there=False)
            self._loop.remove_reader(self._connection)
            self._connection.close()

    def _answer_ready(self, *, there: bool) -> None:
        if not self._ready.done():
            self._ready.set_result(there)

    def _read(self) -> None:
        try:
            data = self._connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost(self)
            return
        self._received += data
        while (frame := self._take()) is not None:
            self._deliver(frame)

    def _take(self) -> dict[str, Any] | None:
        size = frames.HEADER.size
        if len(self._received) < size:
            return None
        end = size + frames.HEADER.unpack_from(self._received)[0]
        if len(self._received) < end:
            return None
        frame: dict[str, Any] = json.loads(self._received[size:end])
        del self._received[:end]
        return frame

    def _deliver(self, frame: dict[str, Any]) -> None:
        if "ready" in frame:
            self._answer_ready(there=True)
            return
        process, self.process = self.process, None
        if process is None:
            return
        if "error" in frame:
            report = ExitReport(error=frame["error"], errno=frame["errno"])
        else:
            report = ExitReport(status=frame["status"], cpu_seconds=frame["cpu"], max_rss_kib=frame["rss"])
        process.report(report)
        self._freed(self)


async def finished(ended: "asyncio.Future[ExitReport]") -> ExitReport:
    """Waits for the end even where the waiter is cancelled meanwhile: for clean-up whose end is bounded by
    `SupervisedProcess.end`."""
    while not ended.done():
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            continue
    return ended.result()
