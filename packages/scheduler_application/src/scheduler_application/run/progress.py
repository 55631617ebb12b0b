"""What one transaction set in motion: told to the world after the commit, never before."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from scheduler_application.ports.rows import RunningTask, UnhintedTask
from scheduler_domain.run.states import RunState


class EndedRun(NamedTuple):
    id: str
    state: RunState
    seconds: float


@dataclass(slots=True)
class Progress:
    """``ready`` wants hints, ``to_cancel`` are runs that must be cancelled next, ``to_end`` are running task runs
    whose workers must end them, ``wake_at`` is the earliest new moment at which something is due, ``changes`` are for
    watchers, ``put_aside`` counts by kind (``run``, ``trigger``) the rows that could not be read."""

    ready: list[UnhintedTask] = field(default_factory=list)
    ended: list[EndedRun] = field(default_factory=list)
    to_cancel: list[str] = field(default_factory=list)
    to_end: list[RunningTask] = field(default_factory=list)
    wake_at: datetime | None = None
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    put_aside: Counter[str] = field(default_factory=Counter)

    def wakes(self, moment: datetime | None) -> None:
        """Something is due at ``moment``."""
        if moment is not None and (self.wake_at is None or moment < self.wake_at):
            self.wake_at = moment

    def changed_run(self, project_id: str, run_id: str, state: str) -> None:
        self.changes.append({"project": project_id, "kind": "run", "id": run_id, "state": state})

    def changed_alert(self, project_id: str, alert_id: str, state: str) -> None:
        """``state`` is ``open`` or ``resolved``."""
        self.changes.append({"project": project_id, "kind": "alert", "id": alert_id, "state": state})

    def changed_task(self, project_id: str, run_id: str, task_run_id: str, task: str, state: str) -> None:
        self.changes.append(
            {
                "project": project_id,
                "kind": "task_run",
                "id": task_run_id,
                "run_id": run_id,
                "task": task,
                "state": state,
            }
        )
