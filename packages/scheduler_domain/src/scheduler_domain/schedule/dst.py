"""What becomes of local times that a clock change leaves out or repeats: Debian's rule, or what a trigger says.

A trigger's ``dst`` has two keys, ``gap`` and ``repeat``. A key that is not given leaves Debian's rule for the kind of
schedule: a fixed time runs after a gap and once in a repeat, a wildcard follows real time. A given one holds for both
kinds and for changes of any length.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from scheduler_domain.schedule.clock_changes import ClockChange

LONGEST_CAUGHT_UP = timedelta(hours=3)
"""A larger clock change counts as a correction of the clock (cron(8), daylight saving time and other time changes)."""

CLOCK_CHANGE = "clock_change"
"""Rule of the ledger: a correction of the clock left the time out."""
DST_SKIP = "dst:skip"
"""Rule of the ledger: the time does not exist, and the trigger says ``gap: skip``."""


class GapRule(StrEnum):
    RUN_AFTER = "run_after"
    SKIP = "skip"


class RepeatRule(StrEnum):
    ONCE = "once"
    TWICE = "twice"


@dataclass(frozen=True, slots=True)
class DstPolicy:
    """``None``: Debian's rule for the kind of schedule (``wildcard`` or fixed time)."""

    gap: GapRule | None = None
    repeat: RepeatRule | None = None

    def runs_after(self, gap: ClockChange, *, wildcard: bool) -> bool:
        """Whether times that lie in the gap fire, once, at the first instant after it."""
        if self.gap is None:
            return not wildcard and gap.length <= LONGEST_CAUGHT_UP
        return self.gap is GapRule.RUN_AFTER

    def runs_twice(self, overlap: ClockChange, *, wildcard: bool) -> bool:
        """Whether times that come twice fire in both passes; otherwise in the first only."""
        if self.repeat is None:
            return wildcard or overlap.length > LONGEST_CAUGHT_UP
        return self.repeat is RepeatRule.TWICE

    def lost_by(self, *, wildcard: bool) -> str | None:
        """The ledger's rule for a gap whose times do not fire; ``None`` where they count as no times at all."""
        if self.gap is None:
            return None if wildcard else CLOCK_CHANGE
        return DST_SKIP


DEBIAN = DstPolicy()
