"""Calendars that the test lists."""

from collections.abc import Iterable
from datetime import date

from scheduler_application.errors import NotFound
from scheduler_application.ports.persistence import Transaction


class Days:
    """`Calendar`."""

    def __init__(self, days: Iterable[date]) -> None:
        self.days = set(days)

    def contains(self, day: date) -> bool:
        return day in self.days


class ListedCalendars:
    """`Calendars`: the same ones for every project."""

    def __init__(self) -> None:
        self.listed: dict[str, Days] = {}
        self.asked: list[str] = []

    async def calendar(self, tx: Transaction, project: str, name: str) -> Days:
        self.asked.append(name)
        if name not in self.listed:
            raise NotFound(f"there is no calendar '{name}'")
        return self.listed[name]
