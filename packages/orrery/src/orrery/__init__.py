"""Orrery for Python programs: write workflows as functions, and talk to a server.

Write with `task`, `workflow` and the triggers; talk with `Client`, or `AsyncClient` where there is an event loop.
"""

from typing import TYPE_CHECKING, Any

from orrery.authoring import task, workflow
from orrery.triggers import at, every, manual, schedule

if TYPE_CHECKING:
    from orrery.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "at", "every", "manual", "schedule", "task", "workflow"]


def __getattr__(name: str) -> Any:
    """The clients, imported when first named: task processes import this package and never need HTTP."""
    if name in ("AsyncClient", "Client"):
        from orrery import client

        return getattr(client, name)
    raise AttributeError(f"module 'orrery' has no attribute {name!r}")
