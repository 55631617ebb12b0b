"""Whatever happens, in whatever order: every run ends once, nothing starts too early, nothing is lost or counted
twice."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.properties.machine import CHILD, Machine, documents
from tests.support import stores
from tests.support.world import open_world

STEPS = 25
BOUNDS = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
"""The same examples every time: what a campaign with other seeds finds becomes an example of its own."""


async def play(url: str, document: dict[str, Any], data: st.DataObject) -> None:
    async with open_world(url, migrated=True) as world:
        await world.deploy(CHILD)
        await world.deploy(document)
        await Machine(world, data.draw).play(STEPS)


@settings(BOUNDS, max_examples=60)
@given(document=documents(), data=st.data())
def test_every_run_ends_once_on_sqlite(sqlite_template: Path, document: dict[str, Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(stores.copied_sqlite(sqlite_template, Path(folder)), document, data))


@settings(BOUNDS, max_examples=25)
@given(document=documents(), data=st.data())
def test_every_run_ends_once_on_postgresql(postgres_store: str, document: dict[str, Any], data: st.DataObject) -> None:
    try:
        asyncio.run(play(postgres_store, document, data))
    finally:
        stores.empty_postgres(postgres_store)
