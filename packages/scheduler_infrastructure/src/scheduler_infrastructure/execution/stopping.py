"""What ends an attempt from outside: its deadline, a cancelled run, a worker that stops."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from scheduler_application.ports.execution import ExecutionRequest
from scheduler_domain.run.outcome import Cancelled, HandedBack, Outcome, TimedOut

TIMEOUT = "timeout"
_CANCEL = "cancel"
_UNWIND_SECONDS = 1.5


@contextmanager
def watching(request: ExecutionRequest, on_stop: Callable[[str], None]) -> Iterator[None]:
    """Calls ``on_stop`` once, with `TIMEOUT` or the stop's reason, when the attempt must end while the block is
    running."""
    loop = asyncio.get_running_loop()
    called = False

    def stop(reason: str) -> None:
        nonlocal called
        if not called:
            called = True
            on_stop(reason)

    timer = None if request.timeout is None else loop.call_later(request.timeout, stop, TIMEOUT)
    stopped = loop.create_task(_stopped(request, stop))
    try:
        yield
    finally:
        called = True
        stopped.cancel()
        if timer is not None:
            timer.cancel()


async def _stopped(request: ExecutionRequest, stop: Callable[[str], None]) -> None:
    await request.stop.wait()
    stop(stop_reason(request))


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
