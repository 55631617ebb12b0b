"""The schema: made by migrations, the same as the tables in code, up and down, and refused where it is another."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select

from scheduler_application.errors import Rejected
from scheduler_domain.ids import DEFAULT_PROJECT
from scheduler_infrastructure.persistence import migrating
from scheduler_infrastructure.persistence.history_tables import history_metadata
from scheduler_infrastructure.persistence.migrating import downgrade
from scheduler_infrastructure.persistence.partitions import is_partition
from scheduler_infrastructure.persistence.schema import NEEDED, check_schema, migrate
from scheduler_infrastructure.persistence.tables import metadata, projects
from tests.support.world import sqlite_url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database in which nobody has made anything yet."""
    return sqlite_url(tmp_path) if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


async def tables(url: str) -> set[str]:
    return await migrating._with_connection(url, lambda connection: set(inspect(connection).get_table_names()))


async def described(url: str) -> Any:
    """Columns, keys, indexes and checks of every table, as the database tells them."""

    def describe(connection: Connection) -> Any:
        look = inspect(connection)
        return {
            name: (
                sorted((column["name"], str(column["type"]), column["nullable"]) for column in look.get_columns(name)),
                sorted(str(index["name"]) for index in look.get_indexes(name)),
                sorted(str(check["sqltext"]) for check in look.get_check_constraints(name)),
                sorted(str(key["name"]) for key in look.get_foreign_keys(name)),
            )
            for name in look.get_table_names()
            if not is_partition(name)
        }

    return await migrating._with_connection(url, describe)


def test_the_code_needs_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(migrating._config()).get_current_head() == NEEDED


async def test_up_and_down_and_up_again_comes_to_the_same(empty_url: str) -> None:
    revision = await migrate(empty_url)
    first = await described(empty_url)
    assert set(metadata.tables) <= first.keys()
    await downgrade(empty_url, "base")
    assert await tables(empty_url) == {"alembic_version"}
    assert await migrate(empty_url) == revision
    assert await described(empty_url) == first


async def test_migrations_make_exactly_the_tables_of_the_code(empty_url: str) -> None:
    await migrate(empty_url)
    # Raises where `alembic revision --autogenerate` would find something to do.
    await migrating._with_connection(empty_url, lambda connection: command.check(migrating._config(connection)))


async def test_checks_and_indexes_are_those_of_the_code(empty_url: str) -> None:
    """Alembic's own comparison leaves check constraints and the conditions of indexes out."""
    await migrate(empty_url)
    migrated = await described(empty_url)
    await downgrade(empty_url, "base")
    await migrating._with_connection(empty_url, metadata.create_all)
    if empty_url.startswith("postgresql:"):
        await migrating._with_connection(empty_url, history_metadata.create_all)
    made = await described(empty_url)
    assert {name: table for name, table in migrated.items() if name != "alembic_version"} == {
        name: table for name, table in made.items() if name != "alembic_version"
    }


async def test_migrating_twice_is_migrating_once_and_the_default_project_is_there(empty_url: str) -> None:
    await migrate(empty_url)
    await migrate(empty_url)
    found = await migrating._with_connection(
        empty_url, lambda connection: connection.execute(select(projects.c.id, projects.c.name)).all()
    )
    assert [(str(row.id), row.name) for row in found] == [(DEFAULT_PROJECT, "default")]


async def test_processes_that_migrate_at_once_wait_for_one_another(empty_url: str) -> None:
    """SQLite's migrations are synchronous: there a thread stands for each process."""
    await asyncio.gather(*(asyncio.to_thread(asyncio.run, migrate(empty_url)) for _ in range(4)))
    await check_schema(empty_url)


async def test_another_schema_is_refused_with_what_to_do(empty_url: str) -> None:
    with pytest.raises(Rejected, match=r"has schema none.*orrery migrate") as none:
        await check_schema(empty_url)
    assert none.value.code == "schema_mismatch"
    await migrate(empty_url)
    await check_schema(empty_url)

    def newer(connection: Connection) -> None:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")

    await migrating._with_connection(empty_url, newer)
    with pytest.raises(Rejected, match="has schema 9999"):
        await check_schema(empty_url)
