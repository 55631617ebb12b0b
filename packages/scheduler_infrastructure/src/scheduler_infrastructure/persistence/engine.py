"""One transaction, two databases. Every difference between PostgreSQL and SQLite that is not in a `Statement` is here.

A `Connection` runs two kinds of SQL in the same transaction: hot statements (`Statement`, both dialects written out,
straight to the driver) and SQLAlchemy Core. On SQLite all writing goes through one thread that owns the one writing
connection: a transaction there begins with ``BEGIN IMMEDIATE``, so read-then-update never loses an update.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import msgspec
from sqlalchemy import Executable, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping

from scheduler_application.ports.time import Clock
from scheduler_infrastructure.persistence.columns import instant_to_text, type_of
from scheduler_infrastructure.persistence.planning import BEGIN_WITH_OWN_PLANS, OWN_PLANS, are_few
from scheduler_infrastructure.persistence.sqlite_thread import SqliteThread
from scheduler_infrastructure.resilience.retrying import READ_ONLY, causes

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """A hot statement in both dialects, with ``$1``… for its arguments.

    Sequences are arrays on PostgreSQL (``unnest($1::uuid[])``) and JSON text on SQLite (``json_each($1)``). On both,
    ``clock_timestamp()`` is the store's own clock. One that ``folds`` reads its rows on PostgreSQL by `rows_of`. One
    that goes ``by_key`` finds all its rows by keys, whatever the planner knows of the rest (see `planning`).
    """

    postgres: str
    sqlite: str
    folds: bool = False
    by_key: bool = False


def both(sql: str) -> Statement:
    """A statement that reads the same in both dialects."""
    return Statement(sql, sql)


def rows_of(columns: Sequence[str]) -> str:
    """A ``from`` item of PostgreSQL: the rows of `Connection.fetch_many`, with these columns of runs and task runs. One
    but the first whose value is the same in every row may be an array of one: the planner knows the arguments and reads
    a constant, where each value of an array costs the driver, the line and the server."""
    arrays = [f"${place}::{type_of(name)}[]" for place, name in enumerate(columns, 1)]
    values = ", ".join(
        f"case when cardinality({array}) = 1 then ({array})[1] else u.{name} end as {name}"
        for name, array in zip(columns, arrays, strict=True)
    )
    return f"(select {values} from unnest({', '.join(arrays)}) as u ({', '.join(columns)}))"  # noqa: S608 - ours


class Connection(ABC):
    """An open transaction."""

    dialect: str

    @abstractmethod
    async def fetch(self, statement: Statement, *arguments: Any) -> Sequence[Row]:
        """Runs a hot statement; columns named ``*_at`` or ``*_until`` come back as instants, ids and JSON as text."""

    @abstractmethod
    async def fetch_many(self, statement: Statement, rows: Sequence[Sequence[Any]], *more: Any) -> Sequence[Row]:
        """Runs a hot statement over many rows at once; nothing for none.

        On PostgreSQL the rows' columns are the arrays ``$1``…``$n`` and ``more`` follows; on SQLite ``$1`` is one JSON
        array of rows (``json_each($1) as r``, ``r.value ->> 0``…) and ``more`` begins at ``$2``.
        """

    @abstractmethod
    async def rows(self, core: Executable) -> Sequence[RowMapping]:
        """Runs a Core statement that returns rows."""

    @abstractmethod
    async def run(self, core: Executable) -> int:
        """Runs a Core statement; how many rows it changed."""

    async def insert_new(self, table: Table, row: Row) -> bool:
        """Inserts a row; false where one of its keys is taken. Whoever is inserting the same key just now is waited
        for."""
        insert = postgresql.insert if self.dialect == "postgresql" else sqlite.insert
        return await self.run(insert(table).values(**row).on_conflict_do_nothing()) > 0


class Database(ABC):
    """Opens transactions. ``open`` before the first, ``close`` after the last; both may be called once."""

    dialect: str

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Commits when the block ends, rolls back when it raises. Nothing inside may be awaited but the connection."""

    @abstractmethod
    def reading(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for reading only; it never waits for a writer."""

    @abstractmethod
    async def clock_offset(self) -> float:
        """The store's clock minus the monotonic one in seconds, as far as it is certain: the sum with the monotonic
        clock is never ahead of the store's, and behind it by a fraction of an answer's time. 0 on SQLite."""


def make_database(url: str, clock: Clock, *, pool_size: int = 10, prepared_statements: bool = True) -> Database:
    """The database behind ``postgresql://…`` or ``sqlite:///path``; opens nothing yet."""
    if url.startswith("sqlite:///"):
        return SqliteDatabase(Path(url.removeprefix("sqlite:///")), clock)
    return PostgresDatabase(url, pool_size=pool_size, prepared_statements=prepared_statements)


COMMAND_SECONDS = 8.0
"""The client's own deadline for one statement: a frozen server answers nothing, not even a statement timeout."""


class PostgresDatabase(Database):
    dialect = "postgresql"

    def __init__(self, url: str, *, pool_size: int, prepared_statements: bool) -> None:
        # SQLAlchemy's asyncio face brings its whole ORM along, which a process on SQLite need not load.
        from scheduler_infrastructure.persistence.pooling import Sessions, postgres_engine  # noqa: PLC0415 - see above

        self._prepared_statements = prepared_statements
        engine = postgres_engine(
            url,
            prepared_statements=prepared_statements,
            connect_args={"command_timeout": COMMAND_SECONDS, "server_settings": {"application_name": "orrery"}},
            pool_size=pool_size,
            max_overflow=0,
            pool_reset_on_return=None,
        )
        self._sessions = Sessions(engine, pool_size)

    async def open(self) -> None:
        """Connections are made when they are first needed, so that a process starts while the store is away."""

    async def close(self) -> None:
        await self._sessions.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        session = await self._sessions.take()
        core, driver, plans = session
        begin, keeps_plans = BEGIN_WITH_OWN_PLANS, False
        if self._prepared_statements:
            begin, keeps_plans = plans.begin(asyncio.get_running_loop().time())
        try:
            await driver.execute(begin)
            yield _PostgresConnection(core, driver, keeps_plans=keeps_plans)
            await driver.execute("commit")
        except BaseException as failure:
            await _abandon(core, driver, failure)
            raise
        finally:
            await self._sessions.give_back(session)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        if not self._prepared_statements:
            # Behind a pooler a statement and its arguments are only sure to meet the same session in a transaction.
            async with self.transaction() as connection:
                yield connection
            return
        session = await self._sessions.take()
        core, driver, _ = session
        try:
            yield _PostgresConnection(core, driver, keeps_plans=False)
        except asyncio.CancelledError:
            driver.terminate()
            await core.invalidate()
            raise
        finally:
            await self._sessions.give_back(session)

    async def clock_offset(self) -> float:
        loop = asyncio.get_running_loop()
        certain: list[float] = []
        async with self.reading() as connection:
            for _ in range(CLOCK_TRIES):
                asked = loop.time()
                now: datetime = (await connection.fetch(_NOW))[0]["now_at"]
                answered = loop.time()
                # It was that time at some moment since the question. Taking the last possible one makes nothing due
                # before its time; the middle would, on a machine that is slow to execute and quick to answer.
                certain.append(now.timestamp() - answered)
                if answered - asked <= QUICK_SECONDS:
                    break
        return max(certain)


CLOCK_TRIES = 3
QUICK_SECONDS = 0.002
"""An answer that came so fast says the time exactly enough; a slower one is asked again."""

_NOW = both("select clock_timestamp() as now_at")


async def _abandon(core: "AsyncConnection", driver: Any, failure: BaseException) -> None:
    """Ends a failed transaction; where its state is in doubt (cancelled, cut off) the connection is not used again, nor
    where it leads to a server that takes no writes: the next one may lead to the new primary."""
    in_doubt = not isinstance(failure, Exception) or driver.is_closed() or isinstance(failure, TimeoutError)
    if not in_doubt and not any(getattr(cause, "sqlstate", None) == READ_ONLY for cause in causes(failure)):
        try:
            await asyncio.wait_for(driver.execute("rollback"), 2)
        except Exception:  # noqa: BLE001 - whatever it was, the connection is thrown away and the first failure counts
            await core.invalidate()
    else:
        # A goodbye to a server that stands still would take its own two seconds.
        driver.terminate()
        await core.invalidate()


class _PostgresConnection(Connection):
    """With ``keeps_plans`` until the first statement for which the session keeps none."""

    dialect = "postgresql"

    def __init__(self, core: "AsyncConnection", driver: Any, *, keeps_plans: bool) -> None:
        self._core = core
        self._driver = driver
        self._keeps_plans = keeps_plans

    async def fetch(self, statement: Statement, *arguments: Any) -> Sequence[Row]:
        if self._keeps_plans and not (statement.by_key and are_few(arguments)):
            await self._plan_each()
        rows: Sequence[Row] = await self._driver.fetch(statement.postgres, *arguments)
        return rows

    async def fetch_many(self, statement: Statement, rows: Sequence[Sequence[Any]], *more: Any) -> Sequence[Row]:
        if not rows:
            return ()
        columns = [_without_nulls(column) for column in zip(*rows, strict=True)]
        if statement.folds:
            columns[1:] = [_folded(column) for column in columns[1:]]
        return await self.fetch(statement, *columns, *more)

    async def rows(self, core: Executable) -> Sequence[RowMapping]:
        if self._keeps_plans:
            await self._plan_each()
        return (await self._core.execute(core)).mappings().all()

    async def run(self, core: Executable) -> int:
        if self._keeps_plans:
            await self._plan_each()
        return (await self._core.execute(core)).rowcount

    async def _plan_each(self) -> None:
        self._keeps_plans = False
        await self._driver.execute(OWN_PLANS)


def _without_nulls(column: tuple[Any, ...]) -> tuple[Any, ...]:
    """Nothing for a column that is null in every row, as many are: ``unnest`` fills up what is shorter with nulls, and
    each value costs the driver and the server alike."""
    return () if column[0] is None and column.count(None) == len(column) else column


def _folded(column: tuple[Any, ...]) -> tuple[Any, ...]:
    is_same = len(column) > 1 and column[0] == column[-1] and column.count(column[0]) == len(column)
    return column[:1] if is_same else column


class SqliteDatabase(Database):
    """SQLite in WAL mode: one writing thread, and one reading thread whose reads never wait for it."""

    dialect = "sqlite"

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._turn = asyncio.Lock()
        self._reading_turn = asyncio.Lock()
        self._writer: SqliteThread | None = None
        self._reader: SqliteThread | None = None

    async def open(self) -> None:
        self._writer = await SqliteThread.start("orrery-sqlite-write", self._path, self._clock)
        self._reader = await SqliteThread.start("orrery-sqlite-read", self._path, self._clock)

    async def close(self) -> None:
        for thread in (self._reader, self._writer):
            if thread is not None:
                await thread.stop()
        self._reader = self._writer = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        writer = self._opened(self._writer)
        async with self._turn:
            connection = _SqliteWriting(writer)
            try:
                yield connection
                if connection.begun:
                    await writer.execute("commit")
            except BaseException:
                # Whatever was cut short, the writing connection, which all share, must not stay inside a transaction.
                await asyncio.shield(writer.roll_back())
                raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        reader = self._opened(self._reader)
        async with self._reading_turn:
            yield _SqliteConnection(reader)

    async def clock_offset(self) -> float:
        return 0.0

    @staticmethod
    def _opened(thread: "SqliteThread | None") -> "SqliteThread":
        if thread is None:
            raise RuntimeError("the database is not open")
        return thread


class _SqliteConnection(Connection):
    dialect = "sqlite"

    def __init__(self, thread: SqliteThread) -> None:
        self._thread = thread

    async def fetch(self, statement: Statement, *arguments: Any) -> Sequence[Row]:
        values = [_sqlite_value(value) for value in arguments]
        return await self._call(partial(self._thread.fetch, _numbered(statement.sqlite), values))

    async def fetch_many(self, statement: Statement, rows: Sequence[Sequence[Any]], *more: Any) -> Sequence[Row]:
        return await self.fetch(statement, list(rows), *more) if rows else ()

    async def rows(self, core: Executable) -> Sequence[RowMapping]:
        return await self._call(partial(self._thread.rows, core))

    async def run(self, core: Executable) -> int:
        return await self._call(partial(self._thread.run, core))

    def _call(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return self._thread.call(work)


class _SqliteWriting(_SqliteConnection):
    """A transaction: it begins on the way to its first statement, which saves each a change of threads."""

    def __init__(self, thread: SqliteThread) -> None:
        super().__init__(thread)
        self.begun = False

    def _call(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        if self.begun:
            return self._thread.call(work)
        self.begun = True
        return self._thread.call(partial(self._thread.begin_with, work))


_numbered_texts: dict[str, str] = {}


def _numbered(sql: str) -> str:
    """SQLite's spelling of ``$1`` is ``?1``; no statement of ours has a dollar sign elsewhere."""
    known = _numbered_texts.get(sql)
    if known is None:
        known = _numbered_texts[sql] = sql.replace("$", "?")
    return known


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _sqlite_value(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, datetime):
        return instant_to_text(value)
    if isinstance(value, (list, tuple)):
        return msgspec.json.encode([item if type(item) in _PLAIN else _sqlite_value(item) for item in value]).decode()
    return value


def url_of_sqlite(path: Path) -> str:
    return f"sqlite:///{path}"


def path_of_sqlite(url: str) -> Path | None:
    """The file behind a ``sqlite:///`` URL; ``None`` for any other URL."""
    return Path(unquote(url.removeprefix("sqlite:///"))) if url.startswith("sqlite:///") else None
