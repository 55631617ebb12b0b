"""After the commit: figures and watchers learn of alerts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from scheduler_application.ports.observing import Metrics
from scheduler_application.ports.rows import NewAlert, ResolvedAlert
from scheduler_application.run.announce import Announcer
from scheduler_application.run.progress import Progress


class AlertKind(StrEnum):
    EXPECTATION_MISSED = "expectation_missed"
    HEARTBEAT_MISSED = "heartbeat_missed"
    HEARTBEAT_FAILED = "heartbeat_failed"
    HEARTBEAT_RECOVERED = "heartbeat_recovered"


@dataclass(slots=True)
class Alerted:
    """What one or more transactions decided: ``deadlines`` is how many, ``raised`` and ``resolved`` what came of it."""

    deadlines: int = 0
    raised: list[NewAlert] = field(default_factory=list)
    resolved: list[ResolvedAlert] = field(default_factory=list)

    def __iadd__(self, other: "Alerted") -> Self:
        self.deadlines += other.deadlines
        self.raised += other.raised
        self.resolved += other.resolved
        return self


def tell_alerts(announcer: Announcer, metrics: Metrics, alerted: Alerted) -> None:
    """Returns at once."""
    progress = Progress()
    for alert in alerted.raised:
        metrics.alert_raised(alert.kind)
        progress.changed_alert(alert.project_id, alert.id, _standing(alert))
    for resolved in alerted.resolved:
        progress.changed_alert(resolved.project_id, resolved.id, "resolved")
    if progress.changes:
        announcer.tell(progress)


def _standing(alert: NewAlert) -> str:
    return "open" if alert.resolved_at is None else "resolved"


def only_new(alerts: Sequence[NewAlert], new: set[str]) -> list[NewAlert]:
    """Those of ``alerts`` that were inserted."""
    return [alert for alert in alerts if alert.id in new]
