"""Whether the worker makes progress: plain sentences, none when all is well."""

from scheduler_application.ports.time import Clock
from scheduler_worker.lease import Lease

STUCK_SECONDS = 30.0
"""A lease that nobody tried to renew for so long says that the process stands still."""

SILENT_SECONDS = 8.0
"""A store that did not renew the lease for so long is away."""


class WorkerHealth:
    """What ``/livez`` and ``/readyz`` ask."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alive_at = clock.monotonic()
        self._lease: Lease | None = None
        self._taking = False

    def serving(self, lease: Lease) -> None:
        """The worker takes work under this lease."""
        self._lease = lease
        self._taking = True

    def waiting(self) -> None:
        """The worker tries to register."""
        self._alive_at = self._clock.monotonic()

    def leaving(self) -> None:
        """The worker takes no more work."""
        self._taking = False

    def livez(self) -> list[str]:
        """Why the process should be started again."""
        tried_at = self._lease.tried_at if self._lease is not None else None
        since = self._clock.monotonic() - max(self._alive_at, tried_at or 0.0)
        return [f"the lease was not renewed for {since:.0f} s"] if since > STUCK_SECONDS else []

    def readyz(self) -> list[str]:
        """Why the worker gets no work, or what it gets would be lost."""
        if self._lease is None or self._lease.renewed_at is None:
            return ["the worker is not registered yet"]
        if not self._taking:
            return ["the worker is leaving"]
        since = self._clock.monotonic() - self._lease.renewed_at
        return [f"the store has not renewed the lease for {since:.0f} s"] if since > SILENT_SECONDS else []
