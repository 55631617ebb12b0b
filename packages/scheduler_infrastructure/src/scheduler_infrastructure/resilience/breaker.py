"""A circuit breaker for asyncio, per process: pybreaker counts and holds the state, this decides who may call.

pybreaker alone cannot: its decorator never sees a coroutine's failure, it takes a cancellation for a success, lets
every caller through while half open, and reads the wall clock, so that a clock set back keeps a circuit open.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import pybreaker

from scheduler_application.errors import Unavailable

T = TypeVar("T")
StateListener = Callable[[str, str], None]
"""Told the breaker's name and its new state: ``closed``, ``open`` or ``half-open``."""


class _Changes(pybreaker.CircuitBreakerListener):
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self._tell(new_state.name)


class Breaker:
    """Refuses calls at once after ``failures`` of them failed in a row, and lets one through every ``reset_after``
    seconds to find out whether things work again. Exceptions of the types ``exclude`` are answers, not failures."""

    def __init__(
        self,
        name: str,
        *,
        failures: int = 5,
        reset_after: float = 5.0,
        timeout: float | None = None,
        exclude: Iterable[type[Exception]] = (),
        on_change: StateListener | None = None,
    ) -> None:
        self.name = name
        self._reset_after = reset_after
        self._timeout = timeout
        self._on_change = on_change
        self._opened_at = 0.0
        self._trying = False
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=failures,
            exclude=list(exclude),
            listeners=[_Changes(self._changed)],
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        return str(self._circuit.current_state)

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Awaits ``operation`` within the breaker's timeout (`TimeoutError`); raises `Unavailable` at once while open.

        A cancelled call counts as nothing: it tells nothing about the other side.
        """
        trial = self._admit()
        try:
            async with asyncio.timeout(self._timeout):
                result = await operation()
        except Exception as error:
            self._count(trial, error)
            raise
        else:
            self._count(trial, None)
            return result
        finally:
            if trial:
                self._trying = False

    def reset(self) -> None:
        """Closes the circuit: there is proof from elsewhere that things work again."""
        if self.state != pybreaker.STATE_CLOSED:
            self._circuit.close()

    def _admit(self) -> bool:
        """Whether the call is the trial of a circuit that is not closed."""
        if self.state == pybreaker.STATE_CLOSED:
            return False
        wait = self._opened_at + self._reset_after - time.monotonic()
        if wait > 0 or self._trying:
            raise Unavailable(
                f"{self.name} failed repeatedly and is left alone for a moment",
                retry_after=max(wait, 0.1),
            )
        self._trying = True
        if self.state == pybreaker.STATE_OPEN:
            self._circuit.half_open()
        return True

    def _count(self, trial: bool, error: Exception | None) -> None:
        # What began before the circuit opened says nothing about now.
        if not trial and self.state != pybreaker.STATE_CLOSED:
            return
        if error is None and not trial and self._circuit.fail_counter == 0:
            return  # Nothing to forget, and so nothing to count.

        def outcome() -> None:
            if error is not None:
                raise error

        with contextlib.suppress(pybreaker.CircuitBreakerError, *([type(error)] if error else [])):
            self._circuit.call(outcome)

    def _changed(self, state: str) -> None:
        if state == pybreaker.STATE_OPEN:
            self._opened_at = time.monotonic()
        if self._on_change is not None:
            self._on_change(self.name, state)
