"""What a forecast reads: many rows of few columns, in bounded statements."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol


class PlannedTrigger(NamedTuple):
    """A trigger that the clock will satisfy; ``policy`` is JSON text, ``version_id`` the live version of its
    workflow."""

    id: str
    workflow_id: str
    workflow: str
    name: str
    kind: str
    expression: str
    timezone: str
    policy: str
    anchor_at: datetime
    due_at: datetime | None
    next_at: datetime
    version_id: str


class ForecastReader(Protocol):
    async def planned_triggers(self, project: str, limit: int) -> list[PlannedTrigger]:
        """The active, unpaused triggers of enabled workflows that are due at some time, the next ones first."""
        ...

    async def contents(self, version_ids: Sequence[str]) -> dict[str, str]:
        """The documents of versions as JSON text, by id."""
        ...

    async def mean_seconds(self, workflow_ids: Sequence[str], runs: int) -> dict[str, float]:
        """How long the last ``runs`` finished runs of each workflow took on average, by its id; a workflow without any
        (among its newest runs) is left out."""
        ...
