"""What ends an attempt from outside: its deadline, a cancelled run, a worker that stops."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from scheduler_application.ports.execution import ExecutionRequest
from scheduler_domain.run.outcome import Cancelled, HandedBack, Outcome, TimedOut

TIMEOUT = "timeout"
_CANCEL = "cancel"
_UNWIND_SECONDS = 1.5


class watching:  # noqa: N801 - a context, used like a function
    """Calls ``on_stop`` once, with `TIMEOUT` or the stop's reason, when the attempt must end while the block is
    running."""

    __slots__ = ("_on_stop", "_request", "_timer")

    def __init__(self, request: ExecutionRequest, on_stop: Callable[[str], None]) -> None:
        self._request = request
        self._on_stop: Callable[[str], None] | None = on_stop
        self._timer: asyncio.Handle | None = None

    def __enter__(self) -> None:
        request = self._request
        if request.stop.is_set():
            self._timer = asyncio.get_running_loop().call_soon(self._stopped)
            return
        request.stop.watch(self._stopped)
        if request.timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(request.timeout, self._stop, TIMEOUT)

    def __exit__(self, *_: object) -> None:
        self._on_stop = None
        self._request.stop.watch(None)
        if self._timer is not None:
            self._timer.cancel()

    def _stopped(self) -> None:
        self._stop(stop_reason(self._request))

    def _stop(self, reason: str) -> None:
        on_stop, self._on_stop = self._on_stop, None
        if on_stop is not None:
            on_stop(reason)


def stop_reason(request: ExecutionRequest) -> str:
    return request.stop_reason[0] if request.stop_reason else _CANCEL


def stopped_outcome(request: ExecutionRequest, reason: str) -> Outcome:
    """What an attempt came to that was ended for ``reason``."""
    if reason == TIMEOUT:
        return TimedOut(after_seconds=request.timeout or 0.0)
    return Cancelled() if reason == _CANCEL else HandedBack()


async def run_unless_stopped(request: ExecutionRequest, work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Runs the coroutine of an executor that has no process; what stops the attempt cancels it.

    A coroutine that does not unwind within `_UNWIND_SECONDS` of its cancellation is left to do so alone.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    stopped: asyncio.Future[str] = loop.create_future()
    waited: set[asyncio.Future[Any]] = {task, stopped}

    def stop(reason: str) -> None:
        stopped.set_result(reason)
        task.cancel()

    try:
        with watching(request, stop):
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=_UNWIND_SECONDS)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task}, timeout=_UNWIND_SECONDS)
        raise
    if task.done() and not task.cancelled():
        return task.result()
    return stopped_outcome(request, stopped.result() if stopped.done() else _CANCEL)
