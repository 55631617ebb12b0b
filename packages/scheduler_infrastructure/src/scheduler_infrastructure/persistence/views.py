"""Rows as people see them: the values of `ports.reading`, made from what the queries of `reader` give."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from scheduler_application.ports.reading import (
    AlertView,
    AttemptView,
    BackfillView,
    CalendarView,
    ExpectationView,
    FreezeView,
    HeartbeatView,
    LedgerView,
    QueueView,
    RunView,
    TaskRunView,
    TriggerView,
    VersionView,
    WorkerView,
    WorkflowView,
)
from scheduler_domain.workflow.definition import Priority
from scheduler_domain.workflow.durations import show_duration
from scheduler_infrastructure.persistence.tables import NO_ITEM
from scheduler_infrastructure.persistence.worker import queues_of

_PRIORITIES = tuple(Priority)


def workflow_view(row: Any, draft: dict[str, Any] | None = None) -> WorkflowView:
    return WorkflowView(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        labels=_list(row["labels"]),
        enabled=bool(row["enabled"]),
        live_version=row["live_version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        draft=draft,
        live_digest=row["live_digest"],
        draft_digest=row["draft_digest"],
    )


def version_view(row: Any, definition: dict[str, Any] | None = None) -> VersionView:
    return VersionView(
        id=row["id"],
        workflow=row["workflow"],
        number=row["number"],
        digest=row["digest"],
        live=bool(row["live"]),
        created_at=row["created_at"],
        created_by=row["created_by"],
        definition=definition,
    )


def freeze_view(row: Any) -> FreezeView:
    return FreezeView(**{name: row[name] for name in FreezeView.__dataclass_fields__})


def trigger_view(row: Any) -> TriggerView:
    return TriggerView(
        id=row["id"],
        workflow=row["workflow"],
        name=row["name"],
        kind=row["kind"],
        expression=row["expression"],
        timezone=row["timezone"],
        policy=stored_object(row["policy"]),
        anchor_at=row["anchor_at"],
        paused=bool(row["paused"]),
        active=bool(row["active"]),
        due_at=row["due_at"],
        next_at=row["next_at"],
        last_due_at=row["last_due_at"],
        error=row["error"],
        frozen_by=row["frozen_by"],
    )


def calendar_view(row: Any) -> CalendarView:
    return CalendarView(
        name=row["name"],
        kind=row["kind"],
        definition=stored_object(row["definition"]),
        version=row["version"],
        days_first=_day(row["days_first"]),
        days_last=_day(row["days_last"]),
        fetched_at=row["fetched_at"],
        refresh_at=row["refresh_at"],
        error=row["error"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def run_view(row: Any, parents: Mapping[str, str], tasks: list[TaskRunView] | None = None) -> RunView:
    """``parents`` has the runs of the task runs that started runs."""
    return RunView(
        id=row["id"],
        workflow=row["workflow"] or row["workflow_id"],
        version=row["version"],
        state=row["state"],
        trigger=row["trigger"],
        started_by=row["started_by"],
        due_at=row["due_at"],
        inputs=stored_object(row["inputs"]),
        priority=_PRIORITIES[row["priority"]],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        tasks_total=row["tasks_total"],
        tasks_left=row["tasks_left"],
        tasks_failed=row["tasks_failed"],
        error=stored_value(row["error"]),
        parent_run_id=parents.get(row["parent_task_run_id"]),
        rerun_of=row["rerun_of"],
        backfill_id=row["backfill_id"],
        tasks=tasks,
    )


def task_run_view(row: Any, past: list[AttemptView] | None = None) -> TaskRunView:
    return TaskRunView(
        id=row["id"],
        run_id=row["run_id"],
        task=row["task"],
        item_index=None if row["item_index"] == NO_ITEM else row["item_index"],
        state=row["state"],
        queue=row["queue"],
        priority=_PRIORITIES[row["priority"]],
        attempt=row["attempt"],
        claim_no=row["claim_no"],
        worker_losses=row["worker_losses"],
        worker_id=row["worker_id"],
        created_at=row["created_at"],
        ready_at=row["ready_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        wake_at=row["wake_at"],
        output=stored_value(row["output"]),
        error=stored_value(row["error"]),
        child_run_id=row["child_run_id"],
        attempts=past,
    )


def attempt_view(row: Any) -> AttemptView:
    return AttemptView(
        claim_no=row["claim_no"],
        attempt=row["attempt"],
        worker_id=row["worker_id"],
        outcome=row["outcome"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        error=stored_value(row["error"]),
    )


def last_attempt(row: Any) -> list[AttemptView]:
    """The attempt that runs or ran last; absent while the task run waits for a worker."""
    if row["worker_id"] is None or row["claim_no"] == 0:
        return []
    return [
        AttemptView(
            claim_no=row["claim_no"],
            attempt=row["attempt"],
            worker_id=row["worker_id"],
            outcome=row["state"],
            started_at=row["started_at"],
            finished_at=row["finished_at"],
            error=stored_value(row["error"]),
        )
    ]


def ledger_view(row: Any) -> LedgerView:
    return LedgerView(
        trigger_id=row["trigger_id"],
        workflow=row["workflow"] or row["workflow_id"],
        trigger=row["trigger"] or row["trigger_id"],
        due_at=row["due_at"],
        outcome=row["outcome"],
        rule=row["rule"],
        run_id=row["run_id"],
        decided_at=row["decided_at"],
    )


def backfill_view(row: Any, runs: dict[str, int] | None = None) -> BackfillView:
    return BackfillView(
        id=row["id"],
        workflow=row["workflow"] or row["workflow_id"],
        trigger=row["trigger"] or row["trigger_id"],
        from_at=row["from_at"],
        to_at=row["to_at"],
        only_missing=bool(row["only_missing"]),
        max_parallel=row["max_parallel"],
        priority=_PRIORITIES[row["priority"]],
        state=row["state"],
        reason=row["reason"],
        next_at=row["next_at"],
        total=row["total"],
        started=row["started"],
        skipped=row["skipped"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        finished_at=row["finished_at"],
        runs=runs,
    )


def expectation_view(row: Any) -> ExpectationView:
    return ExpectationView(
        id=row["id"],
        workflow=row["workflow"],
        name=row["name"],
        expression=row["expression"],
        timezone=row["timezone"],
        state=row["state"],
        within_seconds=row["within_seconds"],
        next_at=row["next_at"],
        last_at=row["last_at"],
        last_result=row["last_result"],
        error=row["error"],
    )


def heartbeat_view(row: Any) -> HeartbeatView:
    interval = row["kind"] == "every"
    return HeartbeatView(
        id=row["id"],
        name=row["name"],
        state=row["state"],
        every=show_duration(int(row["expression"])) if interval else None,
        schedule=None if interval else row["expression"],
        timezone=row["timezone"],
        grace=show_duration(row["grace_seconds"]),
        due_at=row["due_at"],
        down_at=row["next_at"],
        last_ping_at=row["last_ping_at"],
        started_at=row["started_at"],
        took_ms=row["took_ms"],
        last_signal=row["last_signal"],
        last_signal_at=row["last_signal_at"],
        last_message=row["last_message"],
        message_truncated=bool(row["message_truncated"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def alert_view(row: Any) -> AlertView:
    return AlertView(
        id=row["id"],
        kind=row["kind"],
        key=row["key"],
        workflow=row["workflow"] or row["workflow_id"],
        heartbeat=row["heartbeat"],
        message=row["message"],
        detail=stored_object(row["detail"]),
        deadline_at=row["deadline_at"],
        at=row["at"],
        resolved_at=row["resolved_at"],
    )


def worker_view(row: Any) -> WorkerView:
    return WorkerView(
        id=row["id"],
        name=row["name"],
        state=row["state"],
        queues=list(queues_of(row["queues"])),
        slots=row["slots"],
        running=row["running"],
        started_at=row["started_at"],
        lease_until=row["lease_until"],
        version=row["version"],
    )


def queue_view(name: str, ready: Any | None, running: int, live: Sequence[WorkerView]) -> QueueView:
    serving = [worker for worker in live if name in worker.queues]
    return QueueView(
        name=name,
        ready=ready["ready"] if ready is not None else 0,
        running=running,
        oldest_ready_at=ready["oldest_at"] if ready is not None else None,
        workers=len(serving),
        slots=sum(worker.slots for worker in serving),
    )


def stored_value(text: str | None) -> Any:
    """What is stored; a value that cannot be read any more is said to be so, and hides nobody else's."""
    try:
        return None if text is None else msgspec.json.decode(text)
    except ValueError as error:
        return {"unreadable": str(error)}


def stored_object(text: str) -> dict[str, Any]:
    value = stored_value(text)
    return value if isinstance(value, dict) else {"unreadable": "it is no object"}


def _list(text: str) -> list[Any]:
    value = stored_value(text)
    return value if isinstance(value, list) else []
