"""A circuit breaker for each host that tasks call: one host that is down must not hold the slots of all workers'
tasks."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from scheduler_infrastructure.resilience.breaker import Breaker

T = TypeVar("T")

MAX_HOSTS = 1_000
"""Hosts whose state is kept; of more, those that were called least recently are forgotten."""

FAILURES = 10
RESET_SECONDS = 5.0


class HostBreakers:
    """Call it with a host and an operation; exceptions of the types ``answers`` say nothing about the host's health."""

    def __init__(self, answers: Iterable[type[Exception]] = ()) -> None:
        self._answers = tuple(answers)
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()

    async def __call__(self, host: str, call: Callable[[], Awaitable[T]], /) -> T:
        """Raises `Unavailable` at once while the host's circuit is open."""
        return await self._breaker(host).call(call)

    def _breaker(self, host: str) -> Breaker:
        breaker = self._breakers.get(host)
        if breaker is None:
            breaker = self._breakers[host] = Breaker(
                host, failures=FAILURES, reset_after=RESET_SECONDS, exclude=self._answers
            )
            if len(self._breakers) > MAX_HOSTS:
                self._breakers.popitem(last=False)
        self._breakers.move_to_end(host)
        return breaker
