"""Leadership: a lease row with an epoch. Whoever holds it trusts itself only until the deadline that it counted
itself."""

from dataclasses import dataclass

from scheduler_application.errors import LeadershipLost
from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.time import Clock


@dataclass(frozen=True, slots=True)
class Leadership:
    """One term. ``trusted_until`` and ``since`` are monotonic seconds of this process."""

    holder: str
    epoch: int
    trusted_until: float
    since: float

    async def check(self, tx: Transaction) -> None:
        """Raises `LeadershipLost` unless this is the current epoch; until the transaction ends nobody else can begin
        one."""
        await tx.leadership.assert_epoch(self.holder, self.epoch)


class Campaign:
    """Takes, keeps and gives up the lead for one process."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        holder: str,
        *,
        lease_seconds: float,
        margin_seconds: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._margin_seconds = margin_seconds
        self._current: Leadership | None = None

    @property
    def current(self) -> Leadership | None:
        """The term, while it may still be trusted without asking anybody."""
        if self._current is not None and self._clock.monotonic() >= self._current.trusted_until:
            self._lose()
        return self._current

    async def renew(self) -> Leadership | None:
        """Takes or prolongs the lead; ``None`` when another holds it. Raises `Unavailable`: then the term goes on
        until it is not trusted."""
        started = self._clock.monotonic()
        epoch = await self._store.transact(lambda tx: tx.leadership.acquire(self._holder, self._lease_seconds))
        if epoch is None:
            self._lose()
            return None
        known = self._current
        since = known.since if known is not None and known.epoch == epoch else started
        trusted = started + self._lease_seconds - self._margin_seconds
        self._current = Leadership(self._holder, epoch, trusted, since)
        self._metrics.leading(leads=True, epoch=epoch)
        return self._current

    async def resign(self) -> None:
        """Gives the lead up at once, so that a standby need not wait for the lease to end."""
        term, self._current = self._current, None
        if term is None:
            return
        self._metrics.leading(leads=False, epoch=term.epoch)
        await self._store.transact(lambda tx: tx.leadership.resign(term.holder, term.epoch))

    def lost(self, error: LeadershipLost) -> None:
        """A write was refused because another leads."""
        del error
        self._lose()

    def _lose(self) -> None:
        if self._current is not None:
            self._metrics.leading(leads=False, epoch=self._current.epoch)
        self._current = None
