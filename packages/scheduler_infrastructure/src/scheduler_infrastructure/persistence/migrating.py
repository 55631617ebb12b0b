"""Carrying out migrations; `schema` says when."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event, insert, select, text
from sqlalchemy.pool import NullPool

from scheduler_application.errors import Rejected
from scheduler_domain.ids import DEFAULT_PROJECT
from scheduler_infrastructure.persistence.engine import path_of_sqlite
from scheduler_infrastructure.persistence.pooling import postgres_engine
from scheduler_infrastructure.persistence.tables import projects

T = TypeVar("T")

_LOCK = 7_206_514_201
"""The advisory lock under which one process migrates while others wait."""


async def upgrade(url: str) -> str:
    """Upgrades the database to this code's schema and makes the default project; the schema's revision. Raises
    `Rejected` (``schema_mismatch``) for a database that a newer version has migrated."""
    try:
        return await _with_connection(url, _upgrade)
    except CommandError:
        message = "the database has a schema that this version does not know: a newer Orrery has migrated it"
        raise Rejected(message, code="schema_mismatch") from None


async def downgrade(url: str, revision: str) -> None:
    """Takes the schema back to ``revision`` (``base``: nothing is left)."""
    await _with_connection(url, lambda connection: command.downgrade(_config(connection), revision))


def _upgrade(connection: Connection) -> str:
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    command.upgrade(_config(connection), "head")
    known = connection.execute(select(projects.c.id).where(projects.c.id == DEFAULT_PROJECT)).first()
    if known is None:
        row = {
            "id": DEFAULT_PROJECT,
            "name": "default",
            "created_at": datetime.now(UTC),
        }
        connection.execute(insert(projects).values(**row))
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


async def _with_connection(url: str, work: Callable[[Connection], T]) -> T:
    """Migrations have a connection and a transaction of their own, without the engine's short statement limits."""
    path = path_of_sqlite(url)
    if path is not None:
        return _with_sqlite(path, work)
    engine = postgres_engine(url, prepared_statements=False, poolclass=NullPool)
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("begin")
        result = await connection.run_sync(work)
        await driver.execute("commit")
    return result


def _with_sqlite(path: Path, work: Callable[[Connection], T]) -> T:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("begin immediate")

    with engine.begin() as connection:
        return work(connection)
