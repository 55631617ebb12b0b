"""``database``: one statement on a connection that the operator has named; a task never says where a database is."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from scheduler_application.ports.execution import ExecutionRequest, LogSink
from scheduler_domain.run.outcome import Outcome, Succeeded, TimedOut
from scheduler_infrastructure.execution.failures import failed, invalid_settings
from scheduler_infrastructure.execution.sql import postgres, sqlite
from scheduler_infrastructure.execution.sql.errors import SqlFailure, StatementTimedOut
from scheduler_infrastructure.execution.sql.statement import ParameterMismatch, Statement, parse_statement
from scheduler_infrastructure.execution.stopping import run_unless_stopped

_POSTGRES_SCHEMES = ("postgresql://", "postgres://")
_SQLITE_SCHEME = "sqlite:///"


class DatabaseSettings(msgspec.Struct, forbid_unknown_fields=True):
    connection: str
    sql: str
    parameters: dict[str, Any] = {}


class DatabaseExecutor:
    """``connections`` are the URLs (``postgresql://…``, ``sqlite:///…``) by name; a statement without a timeout of
    its task ends after ``longest_seconds``; at most ``sqlite_threads`` statements on SQLite run at once."""

    name = "database"
    serves_lanes = False

    def __init__(
        self, connections: Mapping[str, str], *, longest_seconds: float = 86_400.0, sqlite_threads: int = 8
    ) -> None:
        for name, url in connections.items():
            if not url.startswith((*_POSTGRES_SCHEMES, _SQLITE_SCHEME)):
                raise ValueError(f"the connection {name!r} must begin with postgresql:// or sqlite:///")
        self._connections = dict(connections)
        self._longest_seconds = longest_seconds
        self._sqlite_threads = sqlite_threads
        self._threads: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        self._threads = ThreadPoolExecutor(self._sqlite_threads, thread_name_prefix="sqlite-task")

    async def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def execute(self, request: ExecutionRequest, log: LogSink) -> Outcome:
        try:
            settings = msgspec.convert(request.settings, DatabaseSettings)
            statement = parse_statement(settings.sql)
            values = statement.values(settings.parameters)
        except msgspec.ValidationError as error:
            return invalid_settings(error)
        except ParameterMismatch as error:
            return failed("parameter_mismatch", str(error), retryable=False)
        if "\x00" in settings.sql or not settings.sql.strip(" \t\r\n;"):
            return failed("sql_error", "the statement is empty or contains a NUL character", retryable=False)
        url = self._connections.get(settings.connection)
        if url is None:
            message = f"there is no connection named {settings.connection[:100]!r} in the worker's settings"
            return failed("unknown_connection", message, retryable=False)
        seconds = min(request.timeout or self._longest_seconds, self._longest_seconds)
        return await run_unless_stopped(request, self._execute(url, statement, values, seconds))

    async def _execute(self, url: str, statement: Statement, values: list[Any], seconds: float) -> Outcome:
        try:
            if url.startswith(_POSTGRES_SCHEMES):
                return Succeeded(await postgres.execute(url, statement, values, seconds))
            if self._threads is None:
                return failed("not_open", "the executor is not open")
            return Succeeded(await sqlite.execute(url, statement, values, seconds, self._threads))
        except SqlFailure as error:
            return failed(error.code, str(error), retryable=error.retryable)
        except StatementTimedOut:
            return TimedOut(after_seconds=seconds)
