"""Quiet, for tests of what services do while they are broken on purpose."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog


@pytest.fixture
def quiet() -> Iterator[None]:
    """What services log is not looked at, and drawing tracebacks for a terminal takes longer than a test."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])
    yield
    structlog.reset_defaults()
