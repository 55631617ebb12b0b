"""Connections to PostgreSQL, pooled by SQLAlchemy; where there is one, through a pooler such as pgbouncer as well."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


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
        if not prepared_statements:
            dbapi_connection.run_async(lambda driver: driver.execute("commit"))

    return engine


async def _connect_and_begin(**arguments: Any) -> Any:
    driver = await asyncpg.connect(**arguments)
    await driver.execute("begin")
    return driver


async def _teach_text_uuids(driver: Any) -> None:
    """Ids are text in Python; this keeps the driver from making objects of them that nobody wants."""
    await driver.set_builtin_type_codec("uuid", schema="pg_catalog", codec_name="text", format="text")
