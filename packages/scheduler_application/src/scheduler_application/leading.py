"""Leadership: a lease row with an epoch. Whoever holds it trusts itself only until the deadline that it counted
itself."""

from dataclasses import dataclass

from scheduler_application.errors import LeadershipLost
from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.rows import Lead
from scheduler_application.ports.time import Clock


@dataclass(frozen=True, slots=True)
class Leadership:
    """One term. ``trusted_until`` and ``settled_at`` are monotonic seconds of this process: before the second, workers
    may not have noticed yet that their leases are over."""

    holder: str
    epoch: int
    trusted_until: float
    settled_at: float

    async def check(self, tx: Transaction) -> None:
        """Raises `LeadershipLost` unless this is the current epoch; until the transaction ends nobody else can begin
        one."""
        await tx.leadership.assert_epoch(self.holder, self.epoch)


class Campaign:
    """Takes, keeps and gives up the lead for one process.

    ``settle_seconds`` is a worker's lease, which a worker renews three times before it ends. A term is settled at once
    where the former one was renewed so late that a store that was away since then, or a step of its clock, has ended no
    worker's lease; any other is settled after one.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        holder: str,
        *,
        lease_seconds: float,
        margin_seconds: float,
        settle_seconds: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._margin_seconds = margin_seconds
        self._settle_seconds = settle_seconds
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
        lead = await self._store.transact(lambda tx: tx.leadership.acquire(self._holder, self._lease_seconds))
        if lead is None:
            self._lose()
            return None
        known = self._current
        if known is not None and known.epoch == lead.epoch:
            settled_at = known.settled_at
        else:
            settled_at = started if self._follows(lead) else started + self._settle_seconds
        trusted = started + self._lease_seconds - self._margin_seconds
        self._current = Leadership(self._holder, lead.epoch, trusted, settled_at)
        self._metrics.leading(leads=True, epoch=lead.epoch)
        return self._current

    def _follows(self, lead: Lead) -> bool:
        return lead.vacant_seconds is not None and (
            self._lease_seconds + lead.vacant_seconds <= self._settle_seconds * 2 / 3
        )

    async def resign(self) -> None:
        """Gives the lead up at once, so that a standby need not wait for the lease to end. A term that is not settled
        leaves the lead as one that was vacant for long: the next is not settled either."""
        term, self._current = self._current, None
        if term is None:
            return
        self._metrics.leading(leads=False, epoch=term.epoch)
        vacant = 0.0 if self._clock.monotonic() >= term.settled_at else self._settle_seconds
        await self._store.transact(lambda tx: tx.leadership.resign(term.holder, term.epoch, vacant))

    def lost(self, error: LeadershipLost) -> None:
        """A write was refused because another leads."""
        del error
        self._lose()

    def _lose(self) -> None:
        if self._current is not None:
            self._metrics.leading(leads=False, epoch=self._current.epoch)
        self._current = None
