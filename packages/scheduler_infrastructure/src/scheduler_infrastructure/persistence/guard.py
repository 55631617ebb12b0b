"""What stands between a use case and the store: a deadline, retries of passing failures, a breaker, and port errors."""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError

from scheduler_application.errors import Unavailable
from scheduler_infrastructure.resilience.breaker import Breaker, StateListener
from scheduler_infrastructure.resilience.retrying import causes, is_transient, retry_transient

T = TypeVar("T")

DEADLINE_SECONDS = 10.0

_TOO_LATE = "the database did not answer in time"

_FAULTS = (Unavailable, TimeoutError, OSError, sqlite3.OperationalError, asyncpg.QueryCanceledError)
_FAULT_STATES = ("53", "57", "58", "XX")
"""The classes of SQL states that speak of the server: resources, the operator, the system, internal errors."""


class _Answer(NamedTuple):
    """What the operation raised about its caller or its data; the store worked when it did."""

    error: Exception


class StoreGuard:
    """One per process."""

    def __init__(
        self,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        on_change: StateListener | None = None,
    ) -> None:
        self._deadline = deadline_seconds
        self._breaker = Breaker("the database", failures=5, reset_after=1.0, on_change=on_change)

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Runs ``operation``, which must be safe to repeat; raises `Unavailable` when the store does not serve it."""
        try:
            answer = await self._breaker.call(lambda: self._ask(operation))
        except TimeoutError:
            raise Unavailable(_TOO_LATE) from None
        except OSError as error:
            raise Unavailable(f"the database cannot be reached: {type(error).__name__}") from None
        except (DBAPIError, asyncpg.PostgresError) as error:
            if any(isinstance(cause, asyncpg.QueryCanceledError) for cause in causes(error)):
                raise Unavailable(_TOO_LATE) from None
            if is_transient(error):
                raise Unavailable("the database keeps refusing; try again") from None
            raise
        if isinstance(answer, _Answer):
            raise answer.error
        return answer

    async def _ask(self, operation: Callable[[], Awaitable[T]]) -> T | _Answer:
        try:
            return await retry_transient(operation, deadline=self._deadline)
        except Exception as error:
            if _is_the_stores_fault(error):
                raise
            return _Answer(error)


def _is_the_stores_fault(error: Exception) -> bool:
    """Whether the breaker counts it. A refused row or a mistake in a use case must not keep everybody else from the
    store."""
    return is_transient(error) or any(
        isinstance(cause, _FAULTS) or str(getattr(cause, "sqlstate", None) or "").startswith(_FAULT_STATES)
        for cause in causes(error)
    )
