"""Loops that run beside a block of code, and an event that says when one of them breaks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def background(*works: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[asyncio.Event]:
    """Runs ``works`` beside the block and cancels them after it. When one breaks, the event is set, and its error is
    raised when the block has ended."""
    broken = asyncio.Event()

    def note(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            broken.set()

    tasks = [asyncio.create_task(work()) for work in works]
    for task in tasks:
        task.add_done_callback(note)
    try:
        yield broken
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
