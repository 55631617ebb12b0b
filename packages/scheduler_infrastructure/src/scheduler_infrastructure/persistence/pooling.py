"""Connections to PostgreSQL, open from one transaction to the next; where there is one, through a pooler such as
pgbouncer as well."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from scheduler_application.ports.time import Randomness
from scheduler_infrastructure.clock import SystemRandomness
from scheduler_infrastructure.persistence import planning

FREE_SECONDS = 5.0
"""How long a transaction waits for a connection that is free."""


FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
"""Between tries to connect while none succeeds."""


class Session(NamedTuple):
    """A connection as SQLAlchemy has it, the driver's below it, and what the server keeps for it."""

    core: AsyncConnection
    driver: Any
    plans: planning.Plans

    @property
    def usable(self) -> bool:
        return not self.core.invalidated and not self.driver.is_closed()


class Sessions:
    """At most ``size`` sessions of ``engine``.

    They stay checked out of SQLAlchemy's own pool: going through that for each transaction costs more than a short
    transaction does.
    """

    def __init__(self, engine: AsyncEngine, size: int) -> None:
        self._engine = engine
        self._turns = asyncio.Semaphore(size)
        self._free: list[Session] = []
        self._door = _Door(SystemRandomness())

    async def take(self) -> Session:
        """A session for one transaction, to be given back. Raises `TimeoutError` when none is free in time, and what
        connecting raises."""
        async with asyncio.timeout(FREE_SECONDS):
            await self._turns.acquire()
        try:
            while self._free:
                session = self._free.pop()
                if session.usable:
                    return session
                await _discard(session.core)
            return await self._connect()
        except BaseException:
            self._turns.release()
            raise

    async def give_back(self, session: Session) -> None:
        """What is not usable any more is closed."""
        try:
            if session.usable:
                if session.core.in_transaction():
                    # SQLAlchemy's own idea of one: it begins with a Core statement, also where nothing was begun.
                    await session.core.rollback()
                self._free.append(session)
            else:
                await _discard(session.core)
        finally:
            self._turns.release()

    async def _connect(self) -> Session:
        with self._door.passing():
            core = await self._engine.connect()
        try:
            return Session(core, (await core.get_raw_connection()).driver_connection, planning.Plans())
        except BaseException:
            await _discard(core)
            raise

    async def close(self) -> None:
        """Closes those that are free; the last thing to do."""
        free, self._free = self._free, []
        for session in free:
            await session.core.close()
        await self._engine.dispose()


class _Door:
    """Lets everybody connect while that works. After a failure one tries at a time, ever more rarely, and the others
    are refused at once: a server that is full, or comes back, is not stormed by all that waits for it."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._pause = 0.0
        self._opens_at = 0.0
        self._trying = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        trial = self._pause > 0
        if trial and (self._trying or time.monotonic() < self._opens_at):
            raise ConnectionRefusedError("there was no connection to be had a moment ago")
        self._trying = self._trying or trial
        try:
            yield
        except Exception:
            if trial or not self._pause:  # Those who tried together with the first to fail are one failure.
                self._pause = min(max(2 * self._pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
                self._opens_at = time.monotonic() + self._randomness.uniform(self._pause / 2, self._pause)
            raise
        else:
            self._pause = 0.0
        finally:
            if trial:
                self._trying = False


async def _discard(core: AsyncConnection) -> None:
    if not core.invalidated:
        await core.invalidate()  # Otherwise SQLAlchemy would hand it out again.
    await core.close()


def postgres_engine(
    url: str, *, prepared_statements: bool, connect_args: Mapping[str, Any] | None = None, **options: Any
) -> AsyncEngine:
    """An engine for ``postgresql://…`` that begins no transactions by itself; ``options`` are SQLAlchemy's.

    Without ``prepared_statements`` it works behind a pooler in transaction mode: statements have no names, and what
    the driver and SQLAlchemy ask of a new connection is asked in one transaction, that is of one session.
    """
    arguments = {"timeout": 5, **(connect_args or {})}
    if not prepared_statements:
        unnamed = {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
        arguments |= {**unnamed, "async_creator_fn": _connect_and_begin}
    address = urlsplit(url)._replace(scheme="postgresql+asyncpg").geturl()
    engine = create_async_engine(address, isolation_level="AUTOCOMMIT", connect_args=arguments, **options)

    # Listeners are called in the order of their registration: SQLAlchemy's own questions come before.
    @event.listens_for(engine.sync_engine, "connect")
    def complete(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.run_async(_teach_text_uuids)
        if prepared_statements:
            dbapi_connection.run_async(_plan_reads)
        else:
            dbapi_connection.run_async(lambda driver: driver.execute("commit"))

    return engine


async def _connect_and_begin(**arguments: Any) -> Any:
    driver = await asyncpg.connect(**arguments)
    await driver.execute("begin")
    return driver


async def _plan_reads(driver: Any) -> None:
    """Reads are outside transactions, which say themselves how they are planned."""
    await driver.execute(planning.READS)


async def _teach_text_uuids(driver: Any) -> None:
    """Ids are text in Python; this keeps the driver from making objects of them that nobody wants."""
    await driver.set_builtin_type_codec("uuid", schema="pg_catalog", codec_name="text", format="text")
