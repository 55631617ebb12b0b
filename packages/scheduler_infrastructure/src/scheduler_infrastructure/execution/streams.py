"""From a task's pipes to its log: read when there is something, wait when the log falls behind, and remember the
end."""

import asyncio
import logging
import os

from scheduler_application.ports.execution import LogSink

CHUNK_BYTES = 64 * 1024
_TAIL_BYTES = 4000
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


async def pump(descriptor: int, stream: str, log: LogSink, tail: Tail) -> None:
    """Forwards a pipe until its end. Holds one chunk in memory: while the log makes it wait, the pipe fills and the
    task waits too.

    A log that fails loses the rest of the stream, not the task: the pipe is still read to its end.
    """
    failed = False
    while True:
        await _readable(descriptor)
        data = os.read(descriptor, CHUNK_BYTES)
        if not data:
            return
        tail.add(data)
        if failed:
            continue
        try:
            await log.write(stream, data)
        except Exception:  # noqa: BLE001 - whatever the log's fault is, the task goes on
            failed = True
            _log.exception("the log does not take the task's %s; the rest of it is dropped", stream)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


class Pipes:
    """The two pipes of one process and their way to the log; use as a context, `connect` once, `drain` at the end."""

    def __init__(self) -> None:
        self.stderr_tail = Tail()
        self._reading: list[int] = []
        self._pumps: list[asyncio.Task[None]] = []
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
        loop = asyncio.get_running_loop()
        self._pumps = [
            loop.create_task(pump(out, "stdout", log, Tail())),
            loop.create_task(pump(err, "stderr", log, self.stderr_tail)),
        ]

    async def drain(self, seconds: float) -> None:
        """Waits until all that is in the pipes has reached the log, at most ``seconds``: something outside the tree
        may hold them open."""
        await asyncio.wait(self._pumps, timeout=seconds)

    async def close(self) -> None:
        for task in self._pumps:
            task.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._close_writing()
        while self._reading:
            os.close(self._reading.pop())

    def _close_writing(self) -> None:
        while self.writing:
            os.close(self.writing.pop())
