"""Stores for the engine's tests: both databases, migrated, empty but for the default project, and cheap to have."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from scheduler_infrastructure.persistence.history_tables import history_metadata
from scheduler_infrastructure.persistence.schema import migrate
from scheduler_infrastructure.persistence.tables import metadata
from tests.support import services
from tests.support.services import apart, on_server
from tests.support.world import sqlite_url

STORES = ("sqlite", "postgresql")

_KEPT = "projects"


def migrated_sqlite(folder: Path) -> Path:
    """The file of a migrated database without journal files beside it: a copy of it is a store of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    apart(lambda: migrate(sqlite_url(folder)))
    return folder / "orrery.db"


def copied_sqlite(template: Path, folder: Path) -> str:
    """The URL of a new store in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, folder / "orrery.db")
    return sqlite_url(folder)


@contextlib.contextmanager
def migrated_postgres(server_url: str) -> Iterator[str]:
    """The URL of a database for one process of the test run, emptied by `empty_postgres` after each test."""
    with services.fresh_database(server_url) as url:
        apart(lambda: migrate(url))
        yield url


def empty_postgres(url: str) -> None:
    """Takes away every row but the default project. To delete few rows is much cheaper than to truncate fifteen
    tables."""
    tables = [table.name for table in reversed(metadata.sorted_tables) if table.name != _KEPT]
    tables += history_metadata.tables
    on_server(url, "".join(f'delete from "{table}";' for table in tables))
