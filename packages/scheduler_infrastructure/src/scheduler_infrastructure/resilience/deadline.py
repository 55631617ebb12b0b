"""No call to the outside lasts for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scheduler_application.errors import Unavailable


@asynccontextmanager
async def deadline(seconds: float, who: str) -> AsyncIterator[None]:
    """Ends the block after ``seconds`` and raises `Unavailable`, naming ``who`` was asked."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Unavailable(f"{who} did not answer within {seconds:g} s") from None
