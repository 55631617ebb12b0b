"""The thread that has a SQLite connection.

A statement takes less time there than a change of threads does, so as little as possible goes with a change: there is
no pool of threads, and no future besides the caller's.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Executable, create_engine
from sqlalchemy.engine import Connection as CoreConnection
from sqlalchemy.engine import Engine, RowMapping
from sqlalchemy.pool import StaticPool

from scheduler_application.ports.time import Clock
from scheduler_infrastructure.persistence.columns import instant_from_text, instant_to_text

T = TypeVar("T")
_Call: TypeAlias = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class SqliteThread:
    """One connection and the one thread that uses it. A call costs one hop, however many rows it moves."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._connection: sqlite3.Connection
        self._core: CoreConnection
        self._engine: Engine

    @classmethod
    async def start(cls, name: str, path: Path, clock: Clock) -> "SqliteThread":
        thread = cls(name)
        thread._thread.start()
        await thread.call(partial(thread._connect, path, clock))
        return thread

    def call(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Done in the order of the calls, also where the caller goes away meanwhile."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put((work, future))
        return future

    def begin_with(self, work: Callable[[], T]) -> T:
        """Begins a transaction with its first statement; for `call`."""
        self._connection.execute("begin immediate")
        return work()

    async def execute(self, sql: str) -> None:
        await self.call(lambda: self._connection.execute(sql))

    def roll_back(self) -> "asyncio.Future[None]":
        """Ends the open transaction, if there is one: some failures (a full disk, say) have ended it already."""

        def roll_back() -> None:
            if self._connection.in_transaction:
                self._connection.execute("rollback")

        return self.call(roll_back)

    async def stop(self) -> None:
        await self.call(self._disconnect)
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            work, future = call
            result, failure = None, None
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                failure = error
            with contextlib.suppress(RuntimeError):  # The loop has closed: nobody waits for it.
                future.get_loop().call_soon_threadsafe(_resolve, future, result, failure)
            del call, work, future, result, failure  # What it has held is not kept until the next call.

    def fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        cursor = self._connection.execute(sql, arguments)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        moments = [name for name in names if name.endswith(("_at", "_until"))]
        rows = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
        for row in rows:
            for name in moments:
                if row[name] is not None:
                    row[name] = instant_from_text(row[name])
        return rows

    def rows(self, core: Executable) -> Sequence[RowMapping]:
        return self._core.execute(core).mappings().all()

    def run(self, core: Executable) -> int:
        return self._core.execute(core).rowcount

    def _connect(self, path: Path, clock: Clock) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        for pragma in (
            "journal_mode=wal",
            "synchronous=full",
            "foreign_keys=on",
            "busy_timeout=5000",
        ):
            self._connection.execute(f"pragma {pragma}")
        self._connection.create_function("clock_timestamp", 0, lambda: instant_to_text(clock.now()))
        self._connection.create_function("from_hex", 1, bytes.fromhex, deterministic=True)
        self._connection.create_function(
            "later",
            1,
            lambda seconds: instant_to_text(clock.now() + timedelta(seconds=seconds)),
        )
        self._engine = create_engine(
            "sqlite://",
            creator=lambda: self._connection,
            poolclass=StaticPool,
            isolation_level="AUTOCOMMIT",
        )
        self._core = self._engine.connect()

    def _disconnect(self) -> None:
        self._core.close()
        self._engine.dispose()
        self._connection.close()


def _resolve(future: "asyncio.Future[Any]", result: Any, failure: BaseException | None) -> None:
    if future.done():
        return  # The caller has gone away.
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
