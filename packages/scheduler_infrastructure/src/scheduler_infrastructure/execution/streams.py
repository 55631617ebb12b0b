"""From a task's pipes to its log: read when there is something, wait when the log falls behind, and remember the
end."""

import asyncio
import logging
import os

from scheduler_application.ports.execution import LogSink

CHUNK_BYTES = 64 * 1024
_TAIL_BYTES = 4000
_FIRST_LOOK_SECONDS = 0.02
_log = logging.getLogger(__name__)


class Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._data = b""

    def add(self, data: bytes) -> None:
        self._data = (self._data + data)[-_TAIL_BYTES:]

    def text(self) -> str | None:
        """The last lines, without a first one that was cut off; ``None`` where there was nothing."""
        text = self._data
        if len(text) == _TAIL_BYTES and b"\n" in text[:-1]:
            text = text[text.index(b"\n") + 1 :]
        return text.decode("utf-8", "replace").replace("\x00", "\ufffd").strip() or None


class _Reading:
    """Forwards a pipe until its end, which resolves ``ended``, from the first `take` on. Holds one chunk in memory:
    while the log makes it wait, the pipe fills and the task waits too. A process that prints nothing costs no task of
    the loop.

    A log that fails loses the rest of the stream, not the task: the pipe is still read to its end.
    """

    def __init__(self, descriptor: int, stream: str, log: LogSink, tail: Tail) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._stream = stream
        self._log = log
        self._tail = tail
        self._failed = False
        self._watched = False
        self._writing: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def take(self) -> None:
        """Reads what there is; where there is nothing, it goes on when there is."""
        if self._writing is not None or self.ended.done():
            return
        try:
            data = os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:
            self._watch()
            return
        if not data:
            self._unwatch()
            self.ended.set_result(None)
            return
        self._tail.add(data)
        if self._failed:
            self._watch()
        else:
            self._unwatch()
            self._writing = self._loop.create_task(self._write(data))

    async def close(self) -> None:
        self._unwatch()
        self.ended.cancel()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait({self._writing})

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self._loop.add_reader(self._descriptor, self.take)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._descriptor)

    async def _write(self, data: bytes) -> None:
        try:
            await self._log.write(self._stream, data)
        except Exception:  # noqa: BLE001 - whatever the log's fault is, the task goes on
            self._failed = True
            _log.exception("the log does not take the task's %s; the rest of it is dropped", self._stream)
        self._writing = None
        self.take()


class Pipes:
    """The two pipes of one process and their way to the log; `connect` once, `drain` at the end, then `close`.

    They are read after `_FIRST_LOOK_SECONDS`, or at the end where that is earlier: being told of what comes from a
    pipe costs more than a process that prints nothing has to.
    """

    def __init__(self) -> None:
        self.stderr_tail = Tail()
        self._reading: list[int] = []
        self._readings: list[_Reading] = []
        self._first_look: asyncio.TimerHandle | None = None
        self.writing: list[int] = []
        for _ in range(2):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(reading, False)
            self._reading.append(reading)
            self.writing.append(writing)

    def connect(self, log: LogSink) -> None:
        """Call when the process has its ends; they are closed here, so that the pipes end with the process."""
        self._close_writing()
        out, err = self._reading
        self._readings = [_Reading(out, "stdout", log, Tail()), _Reading(err, "stderr", log, self.stderr_tail)]
        self._first_look = asyncio.get_running_loop().call_later(_FIRST_LOOK_SECONDS, self._take)

    async def drain(self, seconds: float) -> None:
        """Waits until all that is in the pipes has reached the log, at most ``seconds``: something outside the tree
        may hold them open."""
        self._take()
        if left := [reading.ended for reading in self._readings if not reading.ended.done()]:
            await asyncio.wait(left, timeout=seconds)

    async def close(self) -> None:
        if self._first_look is not None:
            self._first_look.cancel()
        for reading in self._readings:
            await reading.close()
        self._close_writing()
        while self._reading:
            os.close(self._reading.pop())

    def _take(self) -> None:
        for reading in self._readings:
            reading.take()

    def _close_writing(self) -> None:
        while self.writing:
            os.close(self.writing.pop())
