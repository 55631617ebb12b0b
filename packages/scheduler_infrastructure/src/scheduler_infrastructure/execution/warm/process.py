"""A warm child as the worker sees it: one call at a time over its socket, its output on the way to the log of that
call."""

import asyncio
import logging
import os
import select
import shutil
import socket
import struct
import threading
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from scheduler_application.ports.execution import LogSink
from scheduler_infrastructure.execution.streams import CHUNK_BYTES, Tail
from scheduler_infrastructure.execution.supervision.keeper_link import SupervisedProcess
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from scheduler_infrastructure.execution.surroundings import Surroundings, base_environment

_log = logging.getLogger(__name__)
_HEADER = struct.Struct("!I")
_MAX_LAST_READS = 4
_MAX_ANSWER = 1024 * 1024
_SCRIPT = str(Path(__file__).with_name("child.py"))
_encode = msgspec.json.Encoder().encode


class WarmKey(NamedTuple):
    """Calls with the same key may share a process: it cannot tell them apart but by what each call brings."""

    project: str
    source: str
    environment: frozenset[tuple[str, str]]


class CallFrame(msgspec.Struct):
    """What the child gets; see `child` for the meaning."""

    call: str
    args: dict[str, Any]
    env: dict[str, str]
    folder: str


class Answer(msgspec.Struct):
    """See `child` for the meaning."""

    kind: str
    doubt: str | None = None
    output: Any = None
    written: bool = False
    message: str = ""
    detail: str | None = None
    exit_code: int | None = None


_decode = msgspec.json.Decoder(Answer).decode


class CallLog:
    """Moves what the child prints into the log of the call that is under way, and waits where the log does."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, str] = {}
        self._polled = select.poll()
        self._pending: deque[tuple[str, bytes]] = deque()
        self._forwarding: asyncio.Task[None] | None = None
        self._sink: LogSink | None = None
        self.tail = Tail()

    def connect(self, out: int, err: int) -> None:
        self._streams = {out: "stdout", err: "stderr"}
        for descriptor in self._streams:
            self._polled.register(descriptor, select.POLLIN)
        self._listen()

    def attach(self, sink: LogSink) -> None:
        """What comes from now on belongs to this call."""
        self._sink = sink
        self._pending.clear()
        self.tail = Tail()

    def drain(self) -> "asyncio.Task[None] | None":
        """Takes what is left in the pipes; returns the forwarding that is still under way, if any."""
        for descriptor, _ in self._polled.poll(0):
            for _ in range(_MAX_LAST_READS):
                if not self._take(descriptor):
                    break
        return self._forwarding

    def detach(self) -> None:
        """What still comes belongs to nobody and is dropped."""
        self._sink = None

    def close(self) -> None:
        for descriptor in list(self._streams):
            self._drop(descriptor)
        if self._forwarding is not None:
            self._forwarding.cancel()

    def _listen(self) -> None:
        for descriptor in self._streams:
            self._loop.add_reader(descriptor, self._take, descriptor)

    def _take(self, descriptor: int) -> bool:
        """Reads once; false when there is nothing (more)."""
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._drop(descriptor)
            return False
        if self._sink is not None:
            self._forward(self._streams[descriptor], data)
        return True

    def _drop(self, descriptor: int) -> None:
        if self._streams.pop(descriptor, None) is not None:
            self._loop.remove_reader(descriptor)
            self._polled.unregister(descriptor)
            os.close(descriptor)

    def _forward(self, stream: str, data: bytes) -> None:
        if stream == "stderr":
            self.tail.add(data)
        self._pending.append((stream, data))
        if self._forwarding is None:
            for descriptor in self._streams:
                self._loop.remove_reader(descriptor)
            self._forwarding = self._loop.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._pending and self._sink is not None:
                await self._sink.write(*self._pending.popleft())
        except Exception:  # noqa: BLE001 - whatever the log's fault is, the task goes on
            _log.exception("the log does not take the task's output; it is dropped")
            self.detach()
        finally:
            self._forwarding = None
            self._listen()


class WarmChild:
    """One process. After a doubt, a timeout or a cancellation it is ended and never used again."""

    def __init__(self, key: WarmKey, connection: socket.socket) -> None:
        self.key = key
        self.calls = 0
        self.idle_since = 0.0
        self.log = CallLog()
        self.surroundings: Surroundings | None = None
        """Where its calls run, one after the other; empty at the beginning of each."""
        self.process: SupervisedProcess
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._answer: asyncio.Future[Answer | None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._gone = False
        self._closed = False
        self._in_use = False
        self._loop.add_reader(connection, self._read)

    @property
    def usable(self) -> bool:
        return not self._gone

    def call(self, frame: CallFrame, sink: LogSink) -> "asyncio.Future[Answer | None]":
        """Sends a call; the future resolves with its answer, or with ``None`` when the process ends without one. The
        folder stays until `release`, even where the process ends."""
        self.calls += 1
        self._in_use = True
        self.log.attach(sink)
        self._answer = self._loop.create_future()
        body = _encode(frame)
        data = _HEADER.pack(len(body)) + body
        try:
            sent = self._connection.send(data)
        except OSError:
            self._lose()
        else:
            if sent < len(data):
                self._sending = self._loop.create_task(self._send_rest(data[sent:]))
        return self._answer

    def end(self, grace: float) -> None:
        self._gone = True
        self.process.end(grace)

    def close(self) -> None:
        """Call when the process has ended."""
        self._lose()
        self.log.close()
        self._connection.close()
        self._closed = True
        if not self._in_use:
            self._remove_folder()

    def release(self) -> None:
        """The call has read what it wanted from the folder."""
        self._in_use = False
        if self._closed:
            self._remove_folder()

    def _remove_folder(self) -> None:
        if self.surroundings is not None and os.path.lexists(self.surroundings.folder):
            threading.Thread(
                target=shutil.rmtree, args=(self.surroundings.folder,), kwargs={"ignore_errors": True}
            ).start()

    async def _send_rest(self, data: bytes) -> None:
        try:
            await self._loop.sock_sendall(self._connection, data)
        except OSError:
            self._lose()

    def _read(self) -> None:
        try:
            data = self._connection.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        end = _HEADER.size
        if len(self._received) >= _HEADER.size:
            end += _HEADER.unpack_from(self._received)[0]
        if not data or end > _MAX_ANSWER:
            self._lose()
        elif len(self._received) >= end > _HEADER.size:
            body = bytes(self._received[_HEADER.size : end])
            self._received.clear()
            self._resolve(body)

    def _resolve(self, body: bytes) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            return
        try:
            answer.set_result(_decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = f"the result cannot be kept: {type(error).__name__}: {error}"
            answer.set_result(Answer("invalid_output", doubt="its answer cannot be read", message=text))

    def _lose(self) -> None:
        """Nothing more comes from it: it is dead, dying, or has closed its socket."""
        if self._connection.fileno() >= 0:
            self._loop.remove_reader(self._connection)
        self._gone = True
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(None)


async def start_child(supervisor: Supervisor, interpreter: str, key: WarmKey) -> WarmChild:
    """Starts a process for ``key``; it takes its first call as soon as it is up."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    out, out_end = os.pipe2(os.O_CLOEXEC)
    err, err_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(out, False)
    os.set_blocking(err, False)
    child = WarmChild(key, ours)
    child.log.connect(out, err)
    environment = {**base_environment(), "PYTHONDONTWRITEBYTECODE": "1", **dict(key.environment)}
    ends = [out_end, err_end, theirs.fileno()]
    try:
        argv = [interpreter, _SCRIPT, key.source]
        child.process = await supervisor.start(argv, environment, "/", ends)
    except BaseException:
        child.close()
        raise
    finally:
        os.close(out_end)
        os.close(err_end)
        theirs.close()
    child.process.ended.add_done_callback(lambda _: child.close())
    return child
