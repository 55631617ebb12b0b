"""Heartbeats that were not heard in time, said that they failed, or are back."""

from datetime import UTC, datetime
from typing import Any

from scheduler_application.alert.telling import Alerted, AlertKind, only_new
from scheduler_application.json_values import json_text
from scheduler_application.ports.persistence import Transaction
from scheduler_application.ports.rows import HeartbeatRow, NewAlert
from scheduler_application.ports.time import Ids
from scheduler_domain.errors import InvalidDefinition
from scheduler_domain.schedule.zones import zone_named
from scheduler_domain.workflow.durations import show_duration

HEARTBEATS_AT_ONCE = 500
"""How many heartbeats one transaction judges."""

MAX_QUOTED = 500
"""Characters of a job's own message that an alert repeats."""


async def judge_heartbeats(tx: Transaction, ids: Ids, now: datetime) -> tuple[Alerted, bool]:
    """Those whose grace is over are down, each with one alert until it is heard again; and whether there are more."""
    due = await tx.heartbeats.due(now, HEARTBEATS_AT_ONCE)
    if not due:
        return Alerted(), False
    await tx.heartbeats.set_down([row.id for row in due])
    alerts = [missed_alert(ids.new(), row, now) for row in due]
    alerted = Alerted(len(due), only_new(alerts, await tx.alerts.add(alerts)))
    return alerted, len(due) == HEARTBEATS_AT_ONCE


def missed_alert(alert_id: str, row: HeartbeatRow, now: datetime) -> NewAlert:
    """``row`` was not heard by the end of its grace."""
    due, grace = _local(row, row.due_at), show_duration(row.grace_seconds)
    last = None if row.last_ping_at is None else _local(row, row.last_ping_at)
    heard = "it has never pinged" if last is None else f"its last ping was at {last}"
    message = f"the heartbeat {row.name} was due by {due} with a grace of {grace}, and did not ping; {heard}"
    detail = {"due": due, "grace": grace, "last_ping": last}
    return _alert(alert_id, AlertKind.HEARTBEAT_MISSED, row, row.due_at, message, detail, now)


def failed_alert(alert_id: str, row: HeartbeatRow, said: str, now: datetime) -> NewAlert:
    """The job itself says that it failed."""
    quoted = said[:MAX_QUOTED]
    message = f"the heartbeat {row.name} says that its job failed"
    return _alert(alert_id, AlertKind.HEARTBEAT_FAILED, row, now, message, {"message": quoted}, now)


def recovered_alert(alert_id: str, row: HeartbeatRow, now: datetime) -> NewAlert:
    """``row`` was down and pings again: this only tells something, so it is never open."""
    at = _local(row, now)
    message = f"the heartbeat {row.name} is back: it pinged at {at}"
    alert = _alert(alert_id, AlertKind.HEARTBEAT_RECOVERED, row, now, message, {"at": at}, now)
    return alert._replace(resolved_at=now)


def _alert(
    alert_id: str,
    kind: AlertKind,
    row: HeartbeatRow,
    deadline_at: datetime,
    message: str,
    detail: dict[str, Any],
    now: datetime,
) -> NewAlert:
    return NewAlert(
        id=alert_id,
        project_id=row.project_id,
        kind=kind.value,
        source_id=row.id,
        deadline_at=deadline_at,
        workflow_id=None,
        heartbeat=row.name,
        key=f"heartbeat/{row.name}",
        message=message,
        detail=json_text(detail),
        at=now,
    )


def _local(row: HeartbeatRow, moment: datetime) -> str:
    """To the second, in the heartbeat's own zone; a zone that has gone since must not keep anybody from being told."""
    try:
        return moment.astimezone(zone_named(row.timezone)).isoformat(timespec="seconds")
    except InvalidDefinition:
        return moment.astimezone(UTC).isoformat(timespec="seconds")
