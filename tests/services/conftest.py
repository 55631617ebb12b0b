"""Stages for services under test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.services.stage import Stage
from tests.support.clock import ManualClock
from tests.support.world import open_world, sqlite_url


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What services log is not looked at here, and drawing tracebacks for a terminal takes longer than a test."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])
    yield
    structlog.reset_defaults()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = ManualClock()
    async with open_world(sqlite_url(tmp_path), clock) as world:
        yield Stage(world, clock, tmp_path)
