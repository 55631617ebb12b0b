"""Finished runs out of the way of those that live, and gone when their time is over.

On PostgreSQL they move, a page at a time, from ``runs`` and ``task_runs`` to history tables that are cut by time, and
go by dropping whole partitions: nothing that starts, claims or ends a run ever touches those tables. On SQLite they
stay, and are deleted a page at a time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from scheduler_application.ports.history import Moved
from scheduler_application.ports.rows import LockedRun, SettledTask
from scheduler_infrastructure.persistence import partitions
from scheduler_infrastructure.persistence.engine import Connection, Statement
from scheduler_infrastructure.persistence.graph_rows import TASK_STATES
from scheduler_infrastructure.persistence.history_rows import (
    DELETE_ALERTS,
    DELETE_ATTEMPTS,
    DELETE_KEYS,
    DELETE_LEDGER,
    DELETE_LOGS,
    DELETE_RUNS,
    DELETE_TASK_RUNS,
    FORMER,
    FORMER_RESULTS,
    IN_REST,
    KEEP_FOR_DEADLINES,
    LEDGER_IS_NEEDED,
    LOGS_ARE_NEEDED,
    MOVE_RUNS,
    MOVE_TASK_RUNS,
    OVER,
    SETTLED,
    TASK_RUNS_OF,
)
from scheduler_infrastructure.persistence.partitions import (
    LEDGER,
    LONGEST,
    OF_ATTEMPTS,
    OF_FINISHED,
    RUN_HISTORY,
    Partitioned,
    end_of,
    first_id,
    name_of,
    width,
)
from scheduler_infrastructure.persistence.run_rows import RUN_STATES

TASK_RUNS_AT_ONCE = 5_000
"""About how many task runs one transaction moves or deletes."""

_FIRST = first_id(datetime.fromisoformat("1970-01-01T00:00:00+00:00"))


class SqlHistory:
    """`HistoryWrites` over an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._on_postgres = connection.dialect == "postgresql"

    async def prepare(self, now: datetime) -> bool:
        if not self._on_postgres:
            return False
        for kind in (*OF_FINISHED, *OF_ATTEMPTS, LEDGER):
            there = await partitions.ends(self._connection, kind)
            if await partitions.make(self._connection, kind, partitions.ahead(kind, there, now)):
                return True
        return False

    async def archive(
        self, settled_before: datetime, kept_since: datetime | None, after: str | None, limit: int
    ) -> Moved:
        if not self._on_postgres:
            return Moved(0, 0, None)
        floor = _FIRST
        if kept_since is not None:
            # The start of the first partition that is not to be dropped already.
            floor = first_id(end_of(RUN_HISTORY, kept_since - LONGEST) - width(RUN_HISTORY))
        found = await self._connection.fetch(
            SETTLED, max(after or _FIRST, floor), first_id(settled_before), settled_before, LONGEST, limit
        )
        page = await self._page([row["id"] for row in found])
        weeks = [partitions.time_of(run_id) for run_id in page]
        if not page or not await self._have_partitions(weeks):
            return Moved(0, 0, None)
        await self._connection.fetch(MOVE_RUNS, page)
        moved = await self._connection.fetch(MOVE_TASK_RUNS, page)
        return Moved(len(page), moved[0]["number"], _next(page, found, limit))

    async def drop_runs(self, finished_before: datetime) -> Sequence[str]:
        if not self._on_postgres:
            return ()
        return await self._drop_finished(finished_before) or await self._drop_attempts(finished_before)

    async def delete_runs(self, finished_before: datetime, after: str | None, limit: int) -> Moved:
        found = await self._connection.fetch(OVER, after or _FIRST, first_id(finished_before), finished_before, limit)
        page = await self._page([row["id"] for row in found])
        if not page:
            return Moved(0, 0, None)
        for statement in (DELETE_ATTEMPTS, DELETE_LOGS):
            await self._connection.fetch(statement, page)
        deleted = await self._connection.fetch(DELETE_TASK_RUNS, page)
        await self._connection.fetch(DELETE_RUNS, page)
        return Moved(len(page), len(deleted), _next(page, found, limit))

    async def drop_ledger(self, before: datetime) -> Sequence[str]:
        if not self._on_postgres:
            return ()
        there = await partitions.ends(self._connection, LEDGER)
        if not there or there[0] > before:
            return ()
        name = name_of(LEDGER, there[0])
        needed = Statement(LEDGER_IS_NEEDED.format(partition=name), "")
        if await self._connection.fetch(needed, before, there[0]):
            return ()
        return [name] if await partitions.drop(self._connection, [name]) else ()

    async def delete_ledger(self, before: datetime, limit: int) -> int:
        return len(await self._connection.fetch(DELETE_LEDGER, before, limit))

    async def delete_alerts(self, resolved_before: datetime, limit: int) -> int:
        return len(await self._connection.fetch(DELETE_ALERTS, resolved_before, limit, first_id(resolved_before)))

    async def delete_keys(self, made_before: datetime, limit: int) -> int:
        return len(await self._connection.fetch(DELETE_KEYS, made_before, limit))

    async def misplaced(self) -> int:
        if not self._on_postgres:
            return 0
        number: int = (await self._connection.fetch(IN_REST))[0]["number"]
        return number

    async def former(self, run_id: str) -> LockedRun | None:
        rows = await self._connection.fetch(FORMER, run_id)
        return LockedRun(**{**rows[0], "state": RUN_STATES[rows[0]["state"]]}) if rows else None

    async def former_results(self, run_id: str) -> list[SettledTask]:
        rows = await self._connection.fetch(FORMER_RESULTS, run_id)
        return [SettledTask(**{**row, "state": TASK_STATES[row["state"]]}) for row in rows]

    async def _page(self, run_ids: Sequence[str]) -> list[str]:
        """Of the runs the first ones, as many as have about `TASK_RUNS_AT_ONCE` task runs, and one at the least."""
        if not run_ids:
            return []
        counted = await self._connection.fetch(TASK_RUNS_OF, list(run_ids))
        numbers = {row["run_id"]: row["number"] for row in counted}
        page: list[str] = []
        room = TASK_RUNS_AT_ONCE
        for run_id in run_ids:
            room -= numbers.get(run_id, 0)
            if page and room < 0:
                break
            page.append(run_id)
        return page

    async def _have_partitions(self, moments: Sequence[datetime]) -> bool:
        """Makes those that are missing; false where a lock was not to be had."""
        for kind in OF_FINISHED:
            wanted = {end_of(kind, moment) for moment in moments}
            while wanted - set(await partitions.ends(self._connection, kind)):
                if not await partitions.make(self._connection, kind, moments):
                    return False
        return True

    async def _drop_finished(self, finished_before: datetime) -> Sequence[str]:
        end, names = await self._oldest(OF_FINISHED, finished_before)
        if end is None:
            return ()
        history = name_of(RUN_HISTORY, end)
        if history in names:
            await self._connection.fetch(Statement(KEEP_FOR_DEADLINES.format(partition=history), ""))
        return names if await partitions.drop(self._connection, names) else ()

    async def _drop_attempts(self, finished_before: datetime) -> Sequence[str]:
        end, names = await self._oldest(OF_ATTEMPTS, finished_before)
        if end is None or await self._connection.fetch(LOGS_ARE_NEEDED, first_id(end), finished_before):
            return ()
        return names if await partitions.drop(self._connection, names) else ()

    async def _oldest(
        self, kinds: Sequence[Partitioned], finished_before: datetime
    ) -> tuple[datetime | None, Sequence[str]]:
        """The end of the oldest partitions of ``kinds`` whose runs all finished before that, and their names."""
        there = {kind: await partitions.ends(self._connection, kind) for kind in kinds}
        end = min((ends[0] for ends in there.values() if ends), default=None)
        if end is None or end + LONGEST > finished_before:
            return None, ()
        return end, [name_of(kind, end) for kind, ends in there.items() if end in ends]


def _next(page: Sequence[str], found: Sequence[Any], limit: int) -> str | None:
    return page[-1] if len(found) == limit or len(page) < len(found) else None
