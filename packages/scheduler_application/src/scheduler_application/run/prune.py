"""History: finished runs out of the way of those that live, and everything gone when its time is over."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from scheduler_application.leading import Leadership
from scheduler_application.pausing import Sleep
from scheduler_application.ports.history import HistoryWrites, Moved
from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.persistence import Store, Transaction
from scheduler_application.ports.time import Clock
from scheduler_application.run.start import IDEMPOTENCY_LIFE

SETTLED_AFTER = timedelta(minutes=5)
"""A run that ended so long ago is out of everybody's hands, and may move."""

RUNS_AT_ONCE = 500
ROWS_AT_ONCE = 2_000
"""How much one transaction moves or deletes."""

STAGE_SECONDS = 10.0
"""How long one pass gives to each kind of history; what is over waits for the next pass."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long finished runs (with task runs, attempts and logs), decisions of due times and resolved alerts are kept;
    ``None``: for ever."""

    runs: timedelta | None = None
    ledger: timedelta | None = None
    alerts: timedelta | None = None


@dataclass(slots=True)
class Tidied:
    """What a pass did: rows that went or moved, by what they were; pieces that were made ahead or dropped whole.
    ``misplaced`` rows hinder dropping."""

    rows: Counter[str] = field(default_factory=Counter)
    made: int = 0
    dropped: list[str] = field(default_factory=list)
    misplaced: int = 0

    @property
    def done(self) -> int:
        return self.rows.total() + self.made + len(self.dropped)


class PruneFinished:
    """Moves and deletes a page at a time, each page a transaction that proves the epoch, and rests as long as it
    worked: at most half of one connection's time goes into history, whatever there is to do. For the leader.

    Kept are, whatever their age: what is open, runs of a backfill that goes on, the newest run that a deadline may ask
    about, decisions that an open backfill reaches back to, alerts that are open.
    """

    def __init__(self, store: Store, clock: Clock, metrics: Metrics, retention: Retention, sleep: Sleep) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._retention = retention
        self._sleep = sleep

    async def execute(self, leadership: Leadership) -> Tidied:
        """One pass over everything, each kind for at most `STAGE_SECONDS`; raises `LeadershipLost`, `Unavailable`."""
        now = self._clock.now()
        tidied = Tidied()
        while await self._do(leadership, lambda history: history.prepare(now)):
            tidied.made += 1
        await self._archive(leadership, tidied, now)
        await self._end_runs(leadership, tidied, now)
        await self._end_rows(leadership, tidied, now)
        tidied.misplaced = await self._do(leadership, lambda history: history.misplaced())
        for what, number in tidied.rows.items():
            self._metrics.pruned(what, number)
        self._metrics.pruned("partitions", len(tidied.dropped))
        return tidied

    async def _archive(self, leadership: Leadership, tidied: Tidied, now: datetime) -> None:
        kept_since = None if self._retention.runs is None else now - self._retention.runs

        async def page(history: HistoryWrites, after: str | None) -> Moved:
            return await history.archive(now - SETTLED_AFTER, kept_since, after, RUNS_AT_ONCE)

        tidied.rows["moved_runs"] += (await self._pages(leadership, page)).runs

    async def _end_runs(self, leadership: Leadership, tidied: Tidied, now: datetime) -> None:
        if self._retention.runs is None:
            return
        before = now - self._retention.runs

        async def page(history: HistoryWrites, after: str | None) -> Moved:
            return await history.delete_runs(before, after, RUNS_AT_ONCE)

        deleted = await self._pages(leadership, page)
        tidied.rows["runs"] += deleted.runs
        tidied.rows["task_runs"] += deleted.task_runs
        tidied.dropped += await self._drops(leadership, lambda history: history.drop_runs(before))

    async def _end_rows(self, leadership: Leadership, tidied: Tidied, now: datetime) -> None:
        if self._retention.ledger is not None:
            before = now - self._retention.ledger
            tidied.dropped += await self._drops(leadership, lambda history: history.drop_ledger(before))
            tidied.rows["ledger"] += await self._deletes(
                leadership, lambda history: history.delete_ledger(before, ROWS_AT_ONCE)
            )
        if self._retention.alerts is not None:
            resolved_before = now - self._retention.alerts
            tidied.rows["alerts"] += await self._deletes(
                leadership, lambda history: history.delete_alerts(resolved_before, ROWS_AT_ONCE)
            )
        tidied.rows["idempotency_keys"] += await self._deletes(
            leadership, lambda history: history.delete_keys(now - IDEMPOTENCY_LIFE, ROWS_AT_ONCE)
        )

    async def _pages(
        self, leadership: Leadership, page: Callable[[HistoryWrites, str | None], Awaitable[Moved]]
    ) -> Moved:
        """As many pages as there is time for; what they moved together."""
        until = self._clock.monotonic() + STAGE_SECONDS
        runs = task_runs = 0
        after: str | None = None
        while True:
            moved = await self._do(leadership, lambda history, after=after: page(history, after))  # type: ignore[misc]
            runs += moved.runs
            task_runs += moved.task_runs
            after = moved.last
            if after is None or self._clock.monotonic() >= until:
                return Moved(runs, task_runs, None)

    async def _deletes(self, leadership: Leadership, delete: Callable[[HistoryWrites], Awaitable[int]]) -> int:
        until = self._clock.monotonic() + STAGE_SECONDS
        total = 0
        while True:
            number = await self._do(leadership, delete)
            total += number
            if number < ROWS_AT_ONCE or self._clock.monotonic() >= until:
                return total

    async def _drops(
        self, leadership: Leadership, drop: Callable[[HistoryWrites], Awaitable[Sequence[str]]]
    ) -> list[str]:
        dropped: list[str] = []
        while names := await self._do(leadership, drop):
            dropped += names
        return dropped

    async def _do(self, leadership: Leadership, work: Callable[[HistoryWrites], Awaitable[T]]) -> T:
        """One transaction, and a rest as long as it took."""
        began = self._clock.monotonic()

        async def proven(tx: Transaction) -> T:
            await leadership.check(tx)
            return await work(tx.history)

        result = await self._store.transact(proven)
        await self._sleep(self._clock.monotonic() - began)
        return result
