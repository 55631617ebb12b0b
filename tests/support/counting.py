"""What a use case asks of the store: how many statements, and how many rows each touched."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Executable

from scheduler_infrastructure.persistence.engine import Connection, Statement, both
from tests.support.world import World

_READ = both(
    """
    select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int as read from pg_stat_xact_user_tables
    where relname in ('task_runs', 'triggers')"""
)
"""What this session has read and not yet added to the server's figures."""


class Count:
    """``rows`` has, for each statement, how many rows it was given or gave back, whichever is more. ``read`` is how
    many rows of task runs the server looked at to do it; only PostgreSQL tells."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.read = 0

    @property
    def statements(self) -> int:
        return len(self.rows)

    @property
    def most_rows(self) -> int:
        return max(self.rows, default=0)


async def _read(connection: Connection) -> int:
    rows = await connection.fetch(_READ) if connection.dialect == "postgresql" else ()
    return sum(row["read"] for row in rows)


class _Counted(Connection):
    def __init__(self, inner: Connection, count: Count) -> None:
        self.dialect = inner.dialect
        self._inner = inner
        self._count = count

    async def fetch(self, statement: Statement, *arguments: Any) -> Sequence[Any]:
        found = await self._inner.fetch(statement, *arguments)
        self._count.rows.append(len(found))
        return found

    async def fetch_many(self, statement: Statement, rows: Sequence[Sequence[Any]], *more: Any) -> Sequence[Any]:
        found = await self._inner.fetch_many(statement, rows, *more)
        self._count.rows.append(max(len(rows), len(found)))
        return found

    async def rows(self, core: Executable) -> Sequence[Any]:
        found = await self._inner.rows(core)
        self._count.rows.append(len(found))
        return found

    async def run(self, core: Executable) -> int:
        changed = await self._inner.run(core)
        self._count.rows.append(changed)
        return changed


@contextmanager
def counting(world: World) -> Iterator[Count]:
    """Counts what the transactions of ``world`` do inside the block."""
    count = Count()
    original = world.database.transaction

    @asynccontextmanager
    async def transaction() -> AsyncIterator[Connection]:
        async with original() as connection:
            before = await _read(connection)
            yield _Counted(connection, count)
            count.read += await _read(connection) - before

    world.database.transaction = transaction  # type: ignore[method-assign]
    try:
        yield count
    finally:
        world.database.transaction = original  # type: ignore[method-assign]
