"""The broker as the rest of the system sees it: one object to open, to close, and to get everything else from."""

import asyncio
import contextlib

from scheduler_application.errors import Unavailable
from scheduler_application.ports.time import Randomness
from scheduler_infrastructure.messaging.intake import PREFETCH, RabbitHintSource
from scheduler_infrastructure.messaging.link import CONNECT_SECONDS, Link
from scheduler_infrastructure.messaging.publishing import (
    RabbitPublisher,
    Refused,
    TraceParent,
)
from scheduler_infrastructure.messaging.signals import RabbitSignals
from scheduler_infrastructure.messaging.topology import Topology
from scheduler_infrastructure.resilience.breaker import Breaker, StateListener
from scheduler_infrastructure.resilience.deadline import deadline

PROBE_SECONDS = 2.0


def _no_trace() -> str | None:
    return None


class RabbitBroker:
    """Made synchronously, then `open` once and `close` once.

    Two connections: while RabbitMQ is short of memory or disk it stops reading from those that publish, and whoever
    consumes must be able to acknowledge meanwhile. The second is made when something first consumes. ``name`` shows
    in the broker's list of connections; ``traceparent`` gives the current span's context for outgoing messages.
    """

    def __init__(
        self,
        url: str,
        randomness: Randomness,
        *,
        name: str = "orrery",
        namespace: str = "orrery",
        publish_timeout: float = 2.0,
        on_breaker_change: StateListener | None = None,
        traceparent: TraceParent = _no_trace,
    ) -> None:
        self._topology = Topology(namespace)
        self._publishing = Link(url, randomness, name=name, purpose="publishing")
        self._consuming = Link(url, randomness, name=name, purpose="consuming")
        breaker = Breaker("broker", reset_after=2.0, exclude=[Refused], on_change=on_breaker_change)
        self.publisher = RabbitPublisher(self._publishing, self._topology, breaker, publish_timeout, traceparent)
        self.signals = RabbitSignals(self._publishing, self._consuming, self._topology)
        self.probe = RabbitProbe(self._publishing)

    def source(self, *, prefetch: int = PREFETCH) -> RabbitHintSource:
        """A new intake; the caller opens and closes it."""
        return RabbitHintSource(self._consuming, self._topology, self.publisher, prefetch=prefetch)

    async def open(self) -> None:
        """Connects, or stops waiting after `CONNECT_SECONDS` and goes on trying in the background: it never fails."""
        self._publishing.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._publishing.wait_up()

    async def close(self) -> None:
        """Ends within 2 s; idempotent. Sources are closed before."""
        await self.signals.close()
        await asyncio.gather(self._publishing.close(), self._consuming.close())


class RabbitProbe:
    """A `DependencyProbe`: the broker answers on the connection that publishes."""

    name = "broker"

    def __init__(self, link: Link) -> None:
        self._link = link

    async def check(self) -> None:
        if not self._link.is_up:
            raise Unavailable("the broker cannot be reached")
        async with deadline(PROBE_SECONDS, "the broker"), self._link.brief_channel():
            pass
