"""What was: finished runs out of the way of those that live, and taken away when their time is over."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from scheduler_application.ports.rows import LockedRun, SettledTask


class Moved(NamedTuple):
    """What one page moved or deleted. ``last`` is where the next page goes on; ``None``: this was the last."""

    runs: int
    task_runs: int
    last: str | None


class HistoryWrites(Protocol):
    """Stores differ in how they keep history; each does here what it needs, and nothing else."""

    async def prepare(self, now: datetime) -> bool:
        """Makes one piece for what comes in the next weeks; false where none is missing, or it cannot be made just
        now."""
        ...

    async def archive(
        self, settled_before: datetime, kept_since: datetime | None, after: str | None, limit: int
    ) -> Moved:
        """Moves runs that finished before ``settled_before`` out of the way, with their task runs: up to ``limit``
        whose id is after ``after``. Not those that began before ``kept_since`` (they are deleted where they are), nor
        those of a backfill that goes on."""
        ...

    async def drop_runs(self, finished_before: datetime) -> Sequence[str]:
        """Drops the oldest piece of history in which every run finished before that: the tables that went. None where
        there is no such piece, or where somebody uses it just now."""
        ...

    async def delete_runs(self, finished_before: datetime, after: str | None, limit: int) -> Moved:
        """Deletes a page of runs that finished before that and are in no piece that is dropped, with their task runs,
        attempts and logs. Not those that a deadline still asks about."""
        ...

    async def drop_ledger(self, before: datetime) -> Sequence[str]:
        """Drops the oldest piece of the ledger whose rows were due and decided before that, and which no open backfill
        reaches back to."""
        ...

    async def delete_ledger(self, before: datetime, limit: int) -> int:
        """Deletes rows that were due and decided before that and are in no piece that is dropped."""
        ...

    async def delete_alerts(self, resolved_before: datetime, limit: int) -> int: ...

    async def delete_keys(self, made_before: datetime, limit: int) -> int:
        """Deletes idempotency keys."""
        ...

    async def misplaced(self) -> int:
        """Rows that lie where they hinder: in no piece that can be dropped. 0 but for due times that were decided much
        too late."""
        ...

    async def former(self, run_id: str) -> LockedRun | None:
        """A finished run, wherever it is; it is not locked, for it does not change."""
        ...

    async def former_results(self, run_id: str) -> list[SettledTask]:
        """Its task runs, without the items of a ``for_each``."""
        ...
