"""What the author of a trigger wants to happen to its due times, beside when they are."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from scheduler_domain.schedule.calendar import CalendarMode, Shift
from scheduler_domain.schedule.dst import DEBIAN, DstPolicy

MAX_FIRED_LATE = 100
"""How many missed due times ``fire_all`` still fires after one outage: the latest ones."""


class MisfirePolicy(StrEnum):
    """What is done about due times that are past by more than the grace."""

    SKIP = "skip"
    FIRE_ONCE = "fire_once"
    FIRE_ALL = "fire_all"

    @property
    def rule(self) -> str:
        return f"misfire:{self.value}"

    @property
    def fired_late(self) -> int:
        """How many of the missed due times still fire, counted from the latest."""
        return {MisfirePolicy.SKIP: 0, MisfirePolicy.FIRE_ONCE: 1, MisfirePolicy.FIRE_ALL: MAX_FIRED_LATE}[self]


class OverlapPolicy(StrEnum):
    """What is done about a due time while a run of the same trigger is live."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"
    CANCEL_RUNNING = "cancel_running"

    @property
    def in_turn(self) -> bool:
        """Whether a run waits until the one before it has ended."""
        return self in (OverlapPolicy.QUEUE, OverlapPolicy.CANCEL_RUNNING)


@dataclass(frozen=True, slots=True)
class CalendarUse:
    """The calendar of the project, by name, and what it does to the due times of a trigger."""

    name: str
    mode: CalendarMode
    shift: Shift | None = None


@dataclass(frozen=True, slots=True)
class FirePolicy:
    """``jitter`` is the window over which triggers spread their starts. Due times older than ``max_lateness`` are
    dropped. A ``shadow`` trigger only records what it would have done."""

    misfire: MisfirePolicy = MisfirePolicy.FIRE_ONCE
    overlap: OverlapPolicy = OverlapPolicy.ALLOW
    jitter: timedelta = timedelta(0)
    max_lateness: timedelta | None = None
    dst: DstPolicy = DEBIAN
    calendar: CalendarUse | None = None
    shadow: bool = False
