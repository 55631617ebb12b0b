"""Time, identity and chance come from outside, so that a test can hold them."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The store's idea of now, aware and in UTC. On PostgreSQL: the database's time, as an offset from the
        monotonic clock that is refreshed with every lease renewal; on SQLite: the machine's."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for deadlines and durations."""
        ...


class Ids(Protocol):
    def new(self) -> str:
        """A new version 7 UUID as canonical text; later ones sort after earlier ones of the same process."""
        ...


class Randomness(Protocol):
    def uniform(self, low: float, high: float) -> float: ...
