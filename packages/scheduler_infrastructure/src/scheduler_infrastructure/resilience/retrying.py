"""Trying again what a database refused for a passing reason."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import asyncpg
from tenacity import (
    AsyncRetrying,
    RetryError,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from scheduler_application.errors import Unavailable

T = TypeVar("T")

ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

READ_ONLY = "25006"
"""Nothing here writes in a transaction that is declared read-only: it is the server that is no primary any more, or not
yet again."""

TRANSIENT_STATES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available
        "57P01",  # the administrator ended the session
        "57P02",  # another session crashed, and the server ends all
        "57P03",  # starting up or shutting down
        "53100",  # the disk is full
        "53200",  # out of memory
        "53300",  # too many connections
        "58030",  # a file could not be read or written
        READ_ONLY,
    }
)
CONNECTION_STATES = "08"
"""The class of SQL states that mean a broken connection."""


async def retry_transient(operation: Callable[[], Awaitable[T]], *, deadline: float) -> T:
    """Runs ``operation``, and again while it fails for a passing reason, for at most ``deadline`` seconds in all.

    ``operation`` is run from its beginning each time and must be safe to run again after it took effect: a connection
    that is lost during a commit tells nothing about the commit. Raises `Unavailable` when it gives up; other errors at
    once.
    """
    try:
        async with asyncio.timeout(deadline):
            try:
                return await operation()
            except Exception as failure:
                if not is_transient(failure):
                    raise
                return await _again(operation, failure, deadline)
    except RetryError:
        raise Unavailable("the database keeps refusing; try again") from None
    except TimeoutError:
        raise Unavailable(f"the database did not answer within {deadline:g} s") from None


async def _again(operation: Callable[[], Awaitable[T]], failure: Exception, deadline: float) -> T:
    """What follows a first try that failed. What works at once, as nearly everything does, is not made to pay for the
    means of trying again: they cost more than a short transaction."""
    failures = [failure]

    async def attempt() -> T:
        if failures:
            raise failures.pop()
        return await operation()

    attempts = AsyncRetrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
        stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(deadline),
    )
    return await attempts(attempt)


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed if it is done again."""
    return any(_is_passing(cause) for cause in causes(error))


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, ConnectionError) or getattr(error, "connection_invalidated", False):
        return True
    if isinstance(error, asyncpg.InternalClientError):
        # The server has ended the session and said so, and the driver was used before it read the end of the stream:
        # that is how a process that was frozen inside a transaction meets its connection again.
        return "is in progress" in str(error)
    if isinstance(error, asyncpg.InterfaceError):
        # asyncpg reports misuse by the same class, which trying again does not cure.
        return "closed" in str(error)
    if isinstance(error, sqlite3.OperationalError):
        return "locked" in str(error) or "disk is full" in str(error)
    state = getattr(error, "sqlstate", None) or ""
    return state in TRANSIENT_STATES or state.startswith(CONNECTION_STATES)


def causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it wraps: SQLAlchemy keeps the driver's error as ``orig``, and that its own as its cause."""
    seen: BaseException | None = error
    for _ in range(5):
        if seen is None:
            return
        yield seen
        seen = getattr(seen, "orig", None) or seen.__cause__
