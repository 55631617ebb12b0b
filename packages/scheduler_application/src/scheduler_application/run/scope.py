"""What expressions may see: plain JSON values by root name."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from scheduler_application.json_values import json_value
from scheduler_application.ports.rows import LockedRun, SettledTask


def run_scope(
    *,
    run_id: str,
    workflow: str,
    started_by: str,
    scheduled_for: str | None,
    created_at: datetime,
    failed: bool,
) -> dict[str, Any]:
    """``run`` in expressions. ``run.state`` is what the run would come to if it ended now: ``succeeded`` or ``failed``;
    ``run.scheduled_for`` is the due time in its trigger's zone, or the time of the start where nothing scheduled it."""
    return {
        "id": run_id,
        "workflow": workflow,
        "started_by": started_by,
        "scheduled_for": scheduled_for or created_at.isoformat(),
        "created_at": created_at.isoformat(),
        "state": "failed" if failed else "succeeded",
    }


def scope_of(run: LockedRun, workflow: str, variables: Mapping[str, Any], *, failed: int) -> dict[str, Any]:
    """The scope of control expressions of a locked run, without ``tasks``."""
    return {
        "inputs": json_value(run.inputs),
        "vars": variables,
        "run": run_scope(
            run_id=run.id,
            workflow=workflow,
            started_by=run.started_by,
            scheduled_for=run.scheduled_for,
            created_at=run.created_at,
            failed=failed > 0,
        ),
    }


def tasks_scope(results: Iterable[SettledTask]) -> dict[str, Any]:
    """``tasks`` in expressions: ``tasks.<name>.state`` and ``tasks.<name>.output``."""
    return {result.task: {"state": result.state, "output": json_value(result.output)} for result in results}


def named_tasks(references: Iterable[tuple[str, ...]]) -> set[str]:
    """The tasks whose results an expression with these references reads."""
    return {path[1] for path in references if len(path) > 1 and path[0] == "tasks"}
