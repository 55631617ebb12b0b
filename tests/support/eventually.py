"""Waiting for what gives no signal: another process, a server's own view."""

import asyncio
from collections.abc import Awaitable, Callable

STEP_SECONDS = 0.02


async def eventually(check: Callable[[], Awaitable[bool]], *, within: float) -> None:
    """Returns when ``check`` says yes; fails when it still says no after ``within`` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not await check():
        assert loop.time() < deadline, f"not so after {within:g} s"
        step = loop.create_future()
        loop.call_later(STEP_SECONDS, step.set_result, None)
        await step
