"""One claimed attempt on its way through the worker."""

from dataclasses import dataclass, field

from scheduler_application.ports.execution import Lane, Stop
from scheduler_application.run.claim import ClaimedTask

CANCEL = "cancel"
SHUTDOWN = "shutdown"
LOST = "lost"


@dataclass(slots=True, eq=False)
class Attempt:
    """``claimed_at`` is monotonic. ``stop`` is set when the attempt must end, its reason is in ``stop_reason[0]``: an
    `ExecutionRequest` carries both on. ``lane`` is what it shares its slot with, from its start on."""

    claimed: ClaimedTask
    worker_id: str
    claimed_at: float
    stop: Stop = field(default_factory=Stop)
    stop_reason: list[str] = field(default_factory=list)
    lane: Lane | None = None

    @property
    def fence(self) -> tuple[str, int]:
        return self.claimed.fence

    @property
    def stopped_by(self) -> str | None:
        return self.stop_reason[0] if self.stop_reason else None

    def end(self, reason: str) -> None:
        """Asks the attempt to end; the first reason counts."""
        self.stop_reason.append(reason)
        self.stop.set()
