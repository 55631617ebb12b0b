"""The calendars of projects, as triggers use them."""

from typing import Protocol

from scheduler_application.ports.persistence import Transaction
from scheduler_domain.schedule.calendar import Calendar


class Calendars(Protocol):
    """Calendars by name; those that come with Orrery are everybody's, others belong to a project."""

    async def calendar(self, tx: Transaction, project: str, name: str) -> Calendar:
        """Raises `NotFound`."""
        ...
