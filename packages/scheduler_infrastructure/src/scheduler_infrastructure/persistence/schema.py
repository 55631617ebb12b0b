"""Which schema this code needs, and refusing to work on any other.

Asking costs one statement: the machinery of migrations is loaded only where there is something to migrate.
"""

import sqlite3

import asyncpg

from scheduler_application.errors import Rejected, Unavailable
from scheduler_infrastructure.persistence.engine import path_of_sqlite

NEEDED = "0003"
"""The newest revision in `migrations`; a test keeps both in step."""

CONNECT_SECONDS = 5.0

_REVISION = "select version_num from alembic_version"


async def migrate(url: str) -> str:
    """Upgrades the database to this code's schema and makes the default project; the schema's revision."""
    if await revision(url) == NEEDED:
        return NEEDED
    from scheduler_infrastructure.persistence.migrating import upgrade  # noqa: PLC0415 - see the module's docstring

    return await upgrade(url)


async def check_schema(url: str) -> None:
    """Raises `Rejected` (``schema_mismatch``) unless the database has exactly this code's schema."""
    found = await revision(url)
    if found != NEEDED:
        message = f"the database has schema {found or 'none'}, this version needs {NEEDED}: run `orrery migrate`"
        raise Rejected(message, code="schema_mismatch")


async def revision(url: str) -> str | None:
    """The database's revision; ``None`` where nothing was migrated yet. Raises `Unavailable`."""
    path = path_of_sqlite(url)
    if path is None:
        return await _postgres_revision(url)
    if not path.exists():
        return None
    connection = sqlite3.connect(path)
    try:
        row = connection.execute(_REVISION).fetchone()
    except sqlite3.OperationalError:
        return None
    finally:
        connection.close()
    return None if row is None else str(row[0])


async def _postgres_revision(url: str) -> str | None:
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise Unavailable(f"the database cannot be reached: {error}") from None
    try:
        async with connection.transaction():  # Behind a pooler only a transaction keeps to one session.
            found = await connection.fetchval(_REVISION, timeout=CONNECT_SECONDS)
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close(timeout=CONNECT_SECONDS)
    return None if found is None else str(found)
