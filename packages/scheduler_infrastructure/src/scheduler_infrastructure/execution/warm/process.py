"""A warm child as the worker sees it: calls that it executes one after the other, each with a log of its own.

A few calls may line up before a child, so that it need not wait for the worker between one and the next. They wait in
a queue of the kernel, of which both hold the reading end: whatever the child has not begun can be taken back exactly,
and is, as soon as the call before it is not quick.
"""

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
from typing import Any, Final, NamedTuple

import msgspec

from scheduler_application.ports.execution import LogSink
from scheduler_infrastructure.execution.streams import CHUNK_BYTES, Tail
from scheduler_infrastructure.execution.supervision.keeper_link import SupervisedProcess
from scheduler_infrastructure.execution.supervision.supervisor import Supervisor
from scheduler_infrastructure.execution.surroundings import Surroundings, base_environment

_log = logging.getLogger(__name__)
_HEADER = struct.Struct("!I")
_LONG = b"L"
_MAX_LAST_READS = 4
_MAX_ANSWER = 1024 * 1024
_MAX_LINED_UP = 8
"""Calls at one child at a time, the one under way included; the kernel's queue takes ten messages."""
_SHORT = 8 * 1024
"""Bytes of a call that may line up."""
_QUICK_SECONDS = 0.02
"""A call that takes longer has the child to itself, and its output is read while it goes on."""
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
    hold: bool = False
    doubt: str | None = None
    output: Any = None
    written: bool = False
    message: str = ""
    detail: str | None = None
    exit_code: int | None = None


NOT_BEGUN: Final = Answer("not_begun")
"""In the place of an answer: the call was taken back, or never accepted, and has had no effect."""

_decode = msgspec.json.Decoder(Answer).decode


class CallLog:
    """Moves what the child prints into the log of one call at a time, and waits where the log does."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, str] = {}
        self._polled = select.poll()
        self._pending: deque[tuple[str, bytes]] = deque()
        self._forwarding: asyncio.Task[None] | None = None
        self._sink: LogSink | None = None
        self._listening = False
        self.tail = Tail()

    def connect(self, out: int, err: int) -> None:
        self._streams = {out: "stdout", err: "stderr"}
        for descriptor in self._streams:
            self._polled.register(descriptor, select.POLLIN)

    def attach(self, sink: LogSink) -> None:
        """What is in the pipes, and what comes from now on, belongs to this call."""
        self._sink = sink
        self._pending.clear()
        self.tail = Tail()

    def listen(self) -> None:
        """Takes what comes as it comes, until `detach`."""
        self._listening = True
        if self._forwarding is None:
            for descriptor in self._streams:
                self._loop.add_reader(descriptor, self._take, descriptor)

    def drain(self) -> "asyncio.Task[None] | None":
        """Takes what is left in the pipes; returns the forwarding that is still under way, if any."""
        for descriptor, _ in self._polled.poll(0):
            for _ in range(_MAX_LAST_READS):
                if not self._take(descriptor):
                    break
        return self._forwarding

    def detach(self) -> None:
        """The call has all that it gets."""
        self._sink = None
        self._silence()
        self._listening = False

    def close(self) -> None:
        """Nobody writes any more; what is in the pipes is still taken."""
        self.drain()
        for descriptor in list(self._streams):
            self._drop(descriptor)

    def _silence(self) -> None:
        if self._listening:
            for descriptor in self._streams:
                self._loop.remove_reader(descriptor)

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
            self._silence()
            self._forwarding = self._loop.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._pending and self._sink is not None:
                await self._sink.write(*self._pending.popleft())
        except Exception:  # noqa: BLE001 - whatever the log's fault is, the task goes on
            _log.exception("the log does not take the task's output; it is dropped")
            self._sink = None
        finally:
            self._forwarding = None
            if self._listening:
                self.listen()


class Sent:
    """A call at a child. ``answer`` resolves with its answer, with ``None`` when the process ended without one, or with
    `NOT_BEGUN`. ``stopped`` says that the process was ended because of this call."""

    __slots__ = ("answer", "held", "sink", "stopped")

    def __init__(self, answer: "asyncio.Future[Answer | None]", sink: LogSink) -> None:
        self.answer = answer
        self.sink = sink
        self.held = False
        self.stopped = False

    def resolve(self, answer: Answer | None) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class WarmChild:
    """One process. After a doubt, a timeout or a cancellation it is ended and never used again."""

    def __init__(self, key: WarmKey, answers: socket.socket, calls: socket.socket, waiting: socket.socket) -> None:
        self.key = key
        self.calls = 0
        self.idle_since = 0.0
        self.log = CallLog()
        self.surroundings: Surroundings | None = None
        """Where its calls run, one after the other; empty at the beginning of each."""
        self.process: SupervisedProcess
        self._answers = answers
        self._calls = calls
        self._waiting = waiting
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._sent: deque[Sent] = deque()
        self._users = 0
        self._logged: Sent | None = None
        self._since = 0.0
        self._look: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._has_answered = False
        self._holds = False
        self._gone = False
        self._closed = False
        self._loop.add_reader(answers, self._read)

    @property
    def usable(self) -> bool:
        return not self._gone

    @property
    def in_use(self) -> bool:
        """Whether a call is under way, lined up, or not released yet."""
        return self._users > 0

    def call(self, frame: CallFrame, sink: LogSink) -> Sent:
        """Sends a call, or lines it up behind those that are there. `release` it when its answer has been dealt with:
        the folder stays until then, even where the process ends."""
        body = _encode(frame)
        self._users += 1
        sent = Sent(self._loop.create_future(), sink)
        is_long = len(body) > _SHORT
        if self._gone or self._logged or len(self._sent) >= _MAX_LINED_UP or (is_long and self._sent):
            sent.resolve(NOT_BEGUN)
            return sent
        try:
            self._calls.send(_LONG + _HEADER.pack(len(body)) if is_long else body, socket.MSG_DONTWAIT)
        except OSError:
            sent.resolve(NOT_BEGUN)
            return sent
        self.calls += 1
        self._sent.append(sent)
        if is_long:
            self._sending = self._loop.create_task(self._send(body))
        if len(self._sent) == 1:
            self._since = self._loop.time()
        if self._look is None:
            self._look = self._loop.call_later(_QUICK_SECONDS, self._look_after)
        return sent

    def has_log_of(self, sent: Sent) -> bool:
        """Whether `log` is that of this call; one that was quick and printed nothing has none."""
        return self._logged is sent

    def release(self, sent: Sent) -> None:
        """The call has read what it wanted from the log and the folder."""
        self._users -= 1
        if self._logged is sent:
            self._logged = None
            self.log.detach()
        if sent.held and not self._gone:
            self._holds = False
            self._since = self._loop.time()
            try:
                self._answers.send(b"g")
            except OSError:
                self._lose()
        if self._closed and not self._users:
            self._remove_folder()

    def stop(self, sent: Sent, grace: float) -> None:
        """Takes the call back, or ends the process where the call is under way; all others that wait are taken back
        too."""
        self._take_back()
        self._read_all()
        if sent in self._sent:
            sent.stopped = True
            self._log_to(sent)
            self.log.listen()
            self.end(grace)

    def end(self, grace: float) -> None:
        self._gone = True
        self._take_back()
        self.process.end(grace)

    def close(self) -> None:
        """Call when the process has ended."""
        self._read_all()
        self._lose()
        self.log.close()
        if self._look is not None:
            self._look.cancel()
        for connection in (self._answers, self._calls, self._waiting):
            connection.close()
        self._closed = True
        if not self._users:
            self._remove_folder()

    def _remove_folder(self) -> None:
        if self.surroundings is not None and os.path.lexists(self.surroundings.folder):
            threading.Thread(
                target=shutil.rmtree, args=(self.surroundings.folder,), kwargs={"ignore_errors": True}
            ).start()

    async def _send(self, body: bytes) -> None:
        try:
            await self._loop.sock_sendall(self._answers, body)
        except OSError:
            self._lose()

    def _look_after(self) -> None:
        """Whether the call under way is quick: if not, nothing waits behind it, and what it prints is read."""
        self._look = None
        self._read_all()
        if not self._sent or self._gone:
            return
        left = self._since + _QUICK_SECONDS - self._loop.time()
        if left > 0:
            self._look = self._loop.call_later(left, self._look_after)
            return
        self._take_back(but_the_next=True)
        # What was answered meanwhile made way for one that was not taken back.
        self._read_all()
        if self._sent:
            self._log_to(self._sent[0])
            self.log.listen()

    def _take_back(self, *, but_the_next: bool = False) -> None:
        """Takes back what has not begun; with ``but_the_next``, not the one that nothing is in the way of."""
        messages = []
        while True:
            try:
                messages.append(self._waiting.recv(_SHORT, socket.MSG_DONTWAIT))
            except OSError:
                break
        if but_the_next and not self._holds and messages and len(messages) >= len(self._sent):
            self._calls.send(messages.pop(0), socket.MSG_DONTWAIT)
        for message in messages:
            if message.startswith(_LONG):
                self._gone = True  # Its body is on its way already.
                self.process.end(0)
            if self._sent:
                self._sent.pop().resolve(NOT_BEGUN)

    def _log_to(self, sent: Sent) -> None:
        if self._logged is not sent:
            self._logged = sent
            self.log.attach(sent.sink)

    def _read_all(self) -> None:
        while self._answers.fileno() >= 0 and self._read():
            pass

    def _read(self) -> bool:
        """Takes the answers that are there; false when there is nothing (more)."""
        try:
            data = self._answers.recv(CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._received += data
        start, size = 0, len(self._received)
        while size - start >= _HEADER.size:
            end = start + _HEADER.size + _HEADER.unpack_from(self._received, start)[0]
            if end - start > _MAX_ANSWER:
                data = b""
                break
            if end > size:
                break
            self._resolve(bytes(self._received[start + _HEADER.size : end]))
            start = end
        del self._received[:start]
        if not data:
            self._lose()
        return bool(data)

    def _resolve(self, body: bytes) -> None:
        if not self._sent:
            return
        sent = self._sent.popleft()
        self._has_answered = True
        self._since = self._loop.time()
        try:
            answer = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = f"the result cannot be kept: {type(error).__name__}: {error}"
            answer = Answer("invalid_output", doubt="its answer cannot be read", message=text)
        if answer.hold:
            sent.held = self._holds = True
            self._log_to(sent)
        sent.resolve(answer)

    def _lose(self) -> None:
        """Nothing more comes from it: it is dead, dying, or has closed its socket."""
        if self._answers.fileno() >= 0:
            self._loop.remove_reader(self._answers)
        self._gone = True
        # A child that has never answered may have died of its start, which the first call is told.
        self._take_back(but_the_next=not self._has_answered)
        while self._sent:
            sent = self._sent.popleft()
            self._log_to(sent)
            sent.resolve(None)


async def start_child(supervisor: Supervisor, interpreter: str, key: WarmKey) -> WarmChild:
    """Starts a process for ``key``; it takes its first call as soon as it is up."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    # Neither is set to non-blocking: the child's end has the same file description.
    calls, waiting = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    out, out_end = os.pipe2(os.O_CLOEXEC)
    err, err_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(out, False)
    os.set_blocking(err, False)
    child = WarmChild(key, ours, calls, waiting)
    child.log.connect(out, err)
    environment = {**base_environment(), "PYTHONDONTWRITEBYTECODE": "1", **dict(key.environment)}
    ends = [out_end, err_end, theirs.fileno(), waiting.fileno()]
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
