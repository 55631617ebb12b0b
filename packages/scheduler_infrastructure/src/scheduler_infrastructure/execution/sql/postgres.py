"""A statement on PostgreSQL: one connection per attempt, one transaction, parameters as text.

PostgreSQL itself turns the text of a parameter into the type that the statement wants there (the statement is prepared
twice: once to learn the types, once with the casts), so a date, an interval or a domain is written as in SQL.
"""

import asyncio
import math
import re
from typing import Any

import asyncpg
import msgspec

from scheduler_infrastructure.execution.sql.errors import SqlFailure, StatementTimedOut
from scheduler_infrastructure.execution.sql.statement import Statement
from scheduler_infrastructure.execution.sql.values import Rows, changed, repeated

_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_PAGE = 100
_JSON_TYPES = frozenset({"json", "jsonb"})
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_RETRYABLE = frozenset({"40001", "40P01", "55P03", "57P01", "57P03", "53300"})
_QUERY_CANCELED = "57014"
_CHANGED_ROWS = re.compile(r"(\d+)$")


async def execute(url: str, statement: Statement, values: list[Any], seconds: float) -> dict[str, Any]:
    """Raises `SqlFailure` or `StatementTimedOut`; when it is cancelled the statement is cancelled on the server as
    well."""
    connection = await _connect(url)
    try:
        return await _execute(connection, statement, values, seconds)
    except asyncpg.PostgresError as error:
        raise _failure(error) from None
    except (asyncpg.InterfaceError, OSError) as error:
        raise SqlFailure("connection_lost", f"the connection was lost: {_clean(error)}", retryable=True) from None
    finally:
        await _close(connection)


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        return await asyncpg.connect(
            url,
            timeout=_CONNECT_SECONDS,
            statement_cache_size=0,
            server_settings={"application_name": "orrery task"},
        )
    except asyncpg.PostgresError as error:
        wrong = (error.sqlstate or "").startswith(("28", "3D"))
        raise SqlFailure("connect_error", f"no connection: {_clean(error)}", retryable=not wrong) from None
    except (OSError, TimeoutError, asyncpg.InterfaceError, ValueError) as error:
        reason = _clean(error) or "no answer in time"
        raise SqlFailure("connect_error", f"no connection: {reason}", retryable=True) from None


async def _execute(
    connection: "asyncpg.Connection[asyncpg.Record]", statement: Statement, values: list[Any], seconds: float
) -> dict[str, Any]:
    try:
        async with connection.transaction():
            milliseconds = max(1, math.ceil(seconds * 1000))
            # LOCAL, so that behind a pooler the next user of the server connection does not inherit it.
            await connection.execute(f"SET LOCAL statement_timeout = {milliseconds}")
            return await _run(connection, statement, values)
    except asyncpg.ActiveSQLTransactionError:
        # VACUUM, CREATE DATABASE and the like were refused before they did anything; only our own deadline bounds them.
        return await _run(connection, statement, values)


async def _run(
    connection: "asyncpg.Connection[asyncpg.Record]", statement: Statement, values: list[Any]
) -> dict[str, Any]:
    prepared = await connection.prepare(statement.render(lambda index: f"${index + 1}"))
    types = prepared.get_parameters()
    if types:
        casts = [_cast(index, kind) for index, kind in enumerate(types)]
        prepared = await connection.prepare(statement.render(lambda index: casts[index]))
    arguments = [_as_text(value, kind.name) for value, kind in zip(values, types, strict=True)]
    attributes = prepared.get_attributes()
    if not attributes:
        await prepared.fetch(*arguments)
        found = _CHANGED_ROWS.search(prepared.get_statusmsg() or "")
        return changed(int(found[1]) if found else 0)
    if (name := repeated([attribute.name for attribute in attributes])) is not None:
        raise SqlFailure("sql_error", f"two columns of the result are named {name!r}", retryable=False)
    return await _fetch(connection, prepared, arguments)


async def _fetch(
    connection: "asyncpg.Connection[asyncpg.Record]", prepared: Any, arguments: list[Any]
) -> dict[str, Any]:
    attributes = prepared.get_attributes()
    documents = {index for index, attribute in enumerate(attributes) if attribute.type.name in _JSON_TYPES}
    rows = Rows([attribute.name for attribute in attributes])
    if not connection.is_in_transaction():
        for record in await prepared.fetch(*arguments):
            if not rows.add(_row(record, documents)):
                break
        return rows.output()
    cursor = await prepared.cursor(*arguments)
    while page := await cursor.fetch(_PAGE):
        for record in page:
            if not rows.add(_row(record, documents)):
                return rows.output()
    return rows.output()


def _row(record: Any, documents: set[int]) -> list[Any]:
    values = list(record.values())
    for index in documents:
        if values[index] is not None:
            values[index] = msgspec.json.decode(values[index])
    return values


def _cast(index: int, kind: Any) -> str:
    name = kind.name.removesuffix("[]")
    array = "[]" if kind.name.endswith("[]") else ""
    return f"CAST(${index + 1}::text{array} AS {_quoted(kind.schema)}.{_quoted(name)}{array})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _as_text(value: Any, kind: str) -> Any:
    """The parameter as PostgreSQL's input functions read it."""
    if value is None:
        return None
    if kind.endswith("[]") and isinstance(value, list):
        return [_as_text(item, kind[:-2]) for item in value]
    if kind in _JSON_TYPES or isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _failure(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    if state == _QUERY_CANCELED:
        return StatementTimedOut()
    message = f"{_clean(error)} ({state})"
    return SqlFailure("sql_error", message, retryable=state in _RETRYABLE or state.startswith("08"))


def _clean(error: BaseException) -> str:
    return _CREDENTIALS.sub("//", str(error)).strip()


async def _close(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    try:
        await connection.close(timeout=_CLOSE_SECONDS)
    except asyncio.CancelledError:
        connection.terminate()
        raise
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
