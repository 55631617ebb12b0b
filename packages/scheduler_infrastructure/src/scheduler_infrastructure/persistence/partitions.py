"""Partitions by time on PostgreSQL: their names and bounds, made ahead, and dropped when their time is over.

A partition is named by the day before which everything in it is: ``run_history_to_20261123``. What has no partition of
its own lies in ``…_rest``, which is empty but for due times that were decided very late. Every lock that this needs is
waited for a moment only: whoever is refused tries again with the next pass, and nobody queues behind it.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg

from scheduler_infrastructure.persistence.engine import Connection, both

LOCK_MILLISECONDS = 200
"""How long writers may stand behind a change of partitions."""

LONGEST = timedelta(days=1)
"""Runs that took longer stay in the live tables until they are deleted: a partition is dropped by when its runs began.
"""

WEEKS_AHEAD = 2
LOOKED_BACK = timedelta(weeks=8)
"""Weeks without partitions before it keep their rows in ``…_rest``."""

_ORIGIN = datetime(2018, 1, 1, tzinfo=UTC)
"""A Monday. Partitions begin a multiple of their width after it."""

_LAST_MILLISECOND = 2**48 - 1
"""The last one that an identifier can tell."""

_NAME = re.compile(r"(?P<parent>\w+)_to_(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)")


class Partitioned(NamedTuple):
    """A partitioned table, by an id that tells the time or by an instant."""

    table: str
    column: str
    weeks: int
    by_id: bool
    has_rest: bool


# The ids of task runs tell when they were made, which is never before their run.
RUN_HISTORY = Partitioned("run_history", "id", 1, by_id=True, has_rest=False)
TASK_RUN_HISTORY = Partitioned("task_run_history", "run_id", 1, by_id=True, has_rest=False)
ATTEMPTS = Partitioned("attempts", "task_run_id", 1, by_id=True, has_rest=True)
LOG_CHUNKS = Partitioned("log_chunks", "task_run_id", 1, by_id=True, has_rest=True)
LEDGER = Partitioned("ledger", "due_at", 4, by_id=False, has_rest=True)

OF_FINISHED = (TASK_RUN_HISTORY, RUN_HISTORY)
OF_ATTEMPTS = (LOG_CHUNKS, ATTEMPTS)
"""Written while a run is under way, and read with it ever after."""


def width(kind: Partitioned) -> timedelta:
    return timedelta(weeks=kind.weeks)


def end_of(kind: Partitioned, moment: datetime) -> datetime:
    """The end of the partition in which ``moment`` is."""
    return _ORIGIN + ((moment - _ORIGIN) // width(kind) + 1) * width(kind)


def name_of(kind: Partitioned, end: datetime) -> str:
    return f"{kind.table}_to_{end:%Y%m%d}"


def first_id(moment: datetime) -> str:
    """The least identifier that can have been made at ``moment``."""
    return _least(int(moment.timestamp() * 1_000))


def shifted(identifier: str, by: timedelta) -> str:
    """The least identifier of the moment that is so far from when ``identifier`` was made; any UUID will do."""
    return _least(_milliseconds(identifier) + by // timedelta(milliseconds=1))


def _least(milliseconds: int) -> str:
    digits = f"{min(max(0, milliseconds), _LAST_MILLISECOND):012x}"
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"


def _milliseconds(identifier: str) -> int:
    return int(identifier.replace("-", "")[:12], 16)


def time_of(identifier: str) -> datetime:
    """When an identifier was made, to the millisecond."""
    return datetime.fromtimestamp(_milliseconds(identifier) / 1_000, UTC)


def is_partition(table: str) -> bool:
    return _NAME.fullmatch(table) is not None or table in {
        f"{kind.table}_rest" for kind in (ATTEMPTS, LOG_CHUNKS, LEDGER)
    }


def bound(kind: Partitioned, moment: datetime) -> str:
    """``moment`` as an SQL literal of the partition key."""
    return f"'{first_id(moment)}'" if kind.by_id else f"'{moment:%Y-%m-%d %H:%M:%S}+00'"


async def ends(connection: Connection, kind: Partitioned) -> list[datetime]:
    """The ends of the partitions that there are, earliest first."""
    rows = await connection.fetch(_PARTITIONS, kind.table)
    found = [_NAME.fullmatch(row["name"]) for row in rows]
    return sorted(
        datetime(int(match["year"]), int(match["month"]), int(match["day"]), tzinfo=UTC) for match in found if match
    )


async def make(connection: Connection, kind: Partitioned, moments: Sequence[datetime]) -> bool:
    """Makes the first partition for ``moments`` that is missing; false where none is, or a lock was not to be had.

    Where there is a rest, only those after the last one: what is before it has a place, for the first one has no
    beginning.
    """
    there = await ends(connection, kind)
    missing = {end_of(kind, moment) for moment in moments} - set(there)
    if kind.has_rest and there:
        missing = {end for end in missing if end > there[-1]}
    return bool(missing) and await _briefly(connection, _making(kind, min(missing)))


def ahead(kind: Partitioned, there: Sequence[datetime], now: datetime) -> list[datetime]:
    """A moment in each partition that must be there at ``now``: from the last one on to some weeks ahead."""
    first = max(there[-1] if there else now, now - LOOKED_BACK)
    until = end_of(kind, now + timedelta(weeks=WEEKS_AHEAD))
    moments = [now]
    while first < until:
        moments.append(first)
        first += width(kind)
    return moments


async def drop(connection: Connection, names: Sequence[str]) -> bool:
    """Drops whole partitions; false where somebody uses them just now."""
    return await _briefly(connection, [f"drop table if exists {', '.join(names)}"])


def _making(kind: Partitioned, end: datetime) -> list[str]:
    """Made beside the table and attached when it holds what the rest has of its time: attaching refuses otherwise."""
    name = name_of(kind, end)
    start, stop = bound(kind, end - width(kind)), bound(kind, end)
    made = [f"create table {name} (like {kind.table} including defaults including constraints)"]
    if kind.has_rest:
        rest = f"{kind.table}_rest"
        late = f"delete from {rest} where {kind.column} >= {start} and {kind.column} < {stop} returning *"  # noqa: S608 - ours
        made += [
            f"lock table {rest} in access exclusive mode",
            f"with late as ({late}) insert into {name} select * from late",  # noqa: S608
        ]
    return [*made, f"alter table {kind.table} attach partition {name} for values from ({start}) to ({stop})"]


async def _briefly(connection: Connection, statements: Sequence[str]) -> bool:
    """Whether all were carried out; otherwise none was: a lock was not free for a moment."""
    await connection.fetch(both("savepoint partitions"))
    try:
        await connection.fetch(both(f"set local lock_timeout = '{LOCK_MILLISECONDS}ms'"))
        for statement in statements:
            await connection.fetch(both(statement))
        await connection.fetch(both("set local lock_timeout = '2s'"))
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        await connection.fetch(both("rollback to savepoint partitions"))
        return False
    await connection.fetch(both("release savepoint partitions"))
    return True


_PARTITIONS = both(
    """
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = to_regclass($1::text)"""
)
