"""A statement on a SQLite file, in a thread of its own; a deadline or a cancellation interrupts it."""

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import Executor
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from scheduler_infrastructure.execution.sql.errors import SqlFailure, StatementTimedOut
from scheduler_infrastructure.execution.sql.statement import Statement
from scheduler_infrastructure.execution.sql.values import Rows, changed, repeated

_LOCK_SECONDS = 1.0
_STEPS_BETWEEN_LOOKS = 2000


class _Deadline:
    """What the thread looks at while the statement is running."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self.cancelled = threading.Event()

    def passed(self) -> bool:
        return time.monotonic() >= self._at

    def interrupts(self) -> int:
        return 1 if self.cancelled.is_set() or self.passed() else 0


async def execute(
    url: str, statement: Statement, values: list[Any], seconds: float, threads: Executor
) -> dict[str, Any]:
    """Raises `SqlFailure` or `StatementTimedOut`; when it is cancelled it returns to the caller after the statement
    has ended."""
    deadline = _Deadline(seconds)
    work = asyncio.get_running_loop().run_in_executor(threads, _execute, url, statement, values, deadline)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        deadline.cancelled.set()
        await asyncio.wait({work})
        raise


def _execute(url: str, statement: Statement, values: list[Any], deadline: _Deadline) -> dict[str, Any]:
    try:
        connection = sqlite3.connect(_path(url), timeout=_LOCK_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise SqlFailure("connect_error", f"the database cannot be opened: {error}", retryable=True) from None
    try:
        connection.set_progress_handler(deadline.interrupts, _STEPS_BETWEEN_LOOKS)
        connection.set_authorizer(_authorize)
        return _run(connection, statement, [_bindable(value) for value in values])
    except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as error:
        if deadline.passed():
            raise StatementTimedOut from None
        retryable = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
        raise SqlFailure("sql_error", str(error), retryable=retryable) from None
    finally:
        connection.close()


def _path(url: str) -> str:
    """``sqlite:///relative/file`` and ``sqlite:////absolute/file``."""
    return unquote(urlsplit(url).path.removeprefix("/"))


def _authorize(action: int, *_: object) -> int:
    """A connection is one file: attaching another would reach what nobody configured."""
    return sqlite3.SQLITE_DENY if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH) else sqlite3.SQLITE_OK


def _run(connection: sqlite3.Connection, statement: Statement, values: list[Any]) -> dict[str, Any]:
    cursor = connection.execute(statement.render(lambda index: f"?{index + 1}"), values)
    if cursor.description is None:
        return changed(max(cursor.rowcount, 0))
    columns = [column[0] for column in cursor.description]
    if (name := repeated(columns)) is not None:
        raise SqlFailure("sql_error", f"two columns of the result are named {name!r}", retryable=False)
    rows = Rows(columns)
    for row in cursor:
        if not rows.add(row):
            break
    return rows.output()


def _bindable(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, (dict, list)) else value
