"""What can be asked of a server: each function describes one call as a value, which `client` sends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote

from orrery.models import (
    Alert,
    Backfill,
    BackfillPreview,
    Calendar,
    CalendarDays,
    Deployment,
    Expectation,
    Explanation,
    Fire,
    Forecast,
    Freeze,
    Heartbeat,
    HeartbeatAddress,
    LedgerRow,
    LogPage,
    PageOf,
    Plan,
    Queue,
    Run,
    StartedRun,
    Trigger,
    TriggerFires,
    Version,
    Worker,
    Workflow,
)

T = TypeVar("T")

MAX_LINES = 1_000


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One HTTP request under ``/api/v1`` and how its answer is read. ``query`` leaves out what is ``None``."""

    method: str
    path: str
    read: Callable[[Any], T]
    query: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    content_type: str | None = None


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe=":") for part in parts)


def _whole(answer: Any) -> Any:
    return answer


def _items(answer: Any) -> Any:
    return answer["items"]


def deploy(document: bytes, media_type: str, source: str | None = None) -> Call[Deployment]:
    """Saves a document and makes it live. ``source`` is the folder of its code as the server's machine sees it."""
    query = {"deploy": True, "source": source}
    return Call("POST", "/workflows", _whole, query, content=document, content_type=media_type)


def plan(document: bytes, media_type: str, source: str | None = None) -> Call[Plan]:
    """What `deploy` would change; changes nothing."""
    return Call("POST", "/workflows:plan", _whole, {"source": source}, content=document, content_type=media_type)


def undeploy(workflow: str) -> Call[Workflow]:
    return Call("POST", _path("workflows", workflow, "undeploy"), _whole)


def enable(workflow: str) -> Call[Workflow]:
    return Call("POST", _path("workflows", workflow, "enable"), _whole)


def disable(workflow: str) -> Call[Workflow]:
    return Call("POST", _path("workflows", workflow, "disable"), _whole)


def list_workflows(limit: int = 50, cursor: str | None = None) -> Call[PageOf[Workflow]]:
    return Call("GET", "/workflows", _whole, {"limit": limit, "cursor": cursor})


def get_workflow(workflow: str) -> Call[Workflow]:
    return Call("GET", _path("workflows", workflow), _whole)


def list_versions(workflow: str, limit: int = 50, cursor: str | None = None) -> Call[PageOf[Version]]:
    return Call("GET", _path("workflows", workflow, "versions"), _whole, {"limit": limit, "cursor": cursor})


def get_version(workflow: str, number: int) -> Call[Version]:
    """One version with its definition."""
    return Call("GET", _path("workflows", workflow, "versions", str(number)), _whole)


def list_triggers(workflow: str) -> Call[list[Trigger]]:
    return Call("GET", _path("workflows", workflow, "triggers"), _items)


def start_run(workflow: str, inputs: Mapping[str, Any] | None = None) -> Call[StartedRun]:
    return Call("POST", _path("workflows", workflow, "run"), _whole, json={"inputs": dict(inputs or {})})


def list_runs(
    workflow: str | None = None,
    state: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    backfill: str | None = None,
) -> Call[PageOf[Run]]:
    """Newest first."""
    query = {"workflow": workflow, "state": state, "limit": limit, "cursor": cursor, "backfill": backfill}
    return Call("GET", "/runs", _whole, query)


def get_run(run: str) -> Call[Run]:
    return Call("GET", _path("runs", run), _whole)


def cancel_run(run: str) -> Call[Run]:
    return Call("POST", _path("runs", run, "cancel"), _whole)


def rerun(run: str, from_failed: bool = False) -> Call[StartedRun]:
    return Call("POST", _path("runs", run, "rerun"), _whole, json={"from_failed": from_failed})


def pause(workflow: str) -> Call[list[Trigger]]:
    return Call("POST", _path("workflows", workflow, "pause"), _items)


def resume(workflow: str) -> Call[list[Trigger]]:
    return Call("POST", _path("workflows", workflow, "resume"), _items)


def freeze(reason: str, ends_at: str, starts_at: str | None = None, label: str | None = None) -> Call[Freeze]:
    body = {"reason": reason, "ends_at": ends_at, "starts_at": starts_at, "label": label}
    return Call("POST", "/freezes", _whole, json=body)


def list_freezes(limit: int = 50, cursor: str | None = None) -> Call[PageOf[Freeze]]:
    """Newest first."""
    return Call("GET", "/freezes", _whole, {"limit": limit, "cursor": cursor})


def lift_freeze(freeze: str) -> Call[Freeze]:
    return Call("POST", _path("freezes", freeze, "lift"), _whole)


def next_fires(workflow: str, count: int = 10) -> Call[list[TriggerFires]]:
    return Call("GET", _path("workflows", workflow, "next"), _items, {"count": count})


def forecast(hours: int = 24, queue: str | None = None) -> Call[Forecast]:
    """Planned starts, minute by minute, against the slots of live workers."""
    return Call("GET", "/schedules/forecast", _whole, {"hours": hours, "queue": queue})


def explain(
    workflow: str | None = None, at: str | None = None, run: str | None = None, task: str | None = None
) -> Call[Explanation]:
    return Call("GET", "/why", _whole, {"workflow": workflow, "at": at, "run": run, "task": task})


def preview(schedule: str, timezone: str = "UTC", after: str | None = None, count: int = 10) -> Call[list[Fire]]:
    query = {"schedule": schedule, "timezone": timezone, "after": after, "count": count}
    return Call("GET", "/schedules/preview", lambda answer: cast(list[Fire], answer["fires"]), query)


def start_backfill(
    workflow: str,
    start: str,
    end: str,
    trigger: str | None = None,
    only_missing: bool = False,
    max_parallel: int = 1,
    priority: str = "low",
) -> Call[Backfill]:
    """Runs for the due times of a schedule from ``start`` on and before ``end``."""
    return Call(
        "POST",
        "/backfills",
        _whole,
        json=_backfill_body(workflow, start, end, trigger, only_missing, max_parallel, priority),
    )


def preview_backfill(
    workflow: str,
    start: str,
    end: str,
    trigger: str | None = None,
    only_missing: bool = False,
    max_parallel: int = 1,
    priority: str = "low",
) -> Call[BackfillPreview]:
    """What `start_backfill` would come to."""
    body = _backfill_body(workflow, start, end, trigger, only_missing, max_parallel, priority)
    return Call("POST", "/backfills", _whole, json={**body, "dry_run": True})


def _backfill_body(
    workflow: str, start: str, end: str, trigger: str | None, only_missing: bool, max_parallel: int, priority: str
) -> dict[str, Any]:
    body = {"workflow": workflow, "from": start, "to": end, "only_missing": only_missing}
    return {**body, "max_parallel": max_parallel, "priority": priority, **({"trigger": trigger} if trigger else {})}


def list_backfills(workflow: str | None = None, limit: int = 50, cursor: str | None = None) -> Call[PageOf[Backfill]]:
    """Newest first."""
    return Call("GET", "/backfills", _whole, {"workflow": workflow, "limit": limit, "cursor": cursor})


def get_backfill(backfill: str) -> Call[Backfill]:
    return Call("GET", _path("backfills", backfill), _whole)


def pause_backfill(backfill: str) -> Call[Backfill]:
    return Call("POST", _path("backfills", backfill, "pause"), _whole)


def resume_backfill(backfill: str) -> Call[Backfill]:
    return Call("POST", _path("backfills", backfill, "resume"), _whole)


def cancel_backfill(backfill: str) -> Call[Backfill]:
    return Call("POST", _path("backfills", backfill, "cancel"), _whole)


def read_ledger(
    workflow: str | None = None,
    due_from: str | None = None,
    due_to: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[PageOf[LedgerRow]]:
    """Every due time and what came of it, latest first."""
    query = {"workflow": workflow, "due_from": due_from, "due_to": due_to, "limit": limit, "cursor": cursor}
    return Call("GET", "/ledger", _whole, query)


def list_calendars(limit: int = 50, cursor: str | None = None) -> Call[PageOf[Calendar]]:
    """The project's own, by name."""
    return Call("GET", "/calendars", _whole, {"limit": limit, "cursor": cursor})


def get_calendar(calendar: str) -> Call[Calendar]:
    """One of the project's own, or a built-in one such as ``holidays-de``."""
    return Call("GET", _path("calendars", calendar), _whole)


def list_calendar_days(calendar: str, first: str | None = None, last: str | None = None) -> Call[CalendarDays]:
    """From ``first`` (today where it is absent) to ``last`` (a year later), as ``2026-12-24``."""
    return Call("GET", _path("calendars", calendar, "days"), _whole, {"from": first, "to": last})


def save_calendar(calendar: str, definition: Mapping[str, Any]) -> Call[Calendar]:
    """Makes or replaces it, e.g. from ``{"kind": "dates", "dates": ["12-24"]}``."""
    return Call("PUT", _path("calendars", calendar), _whole, json=dict(definition))


def import_calendar(calendar: str, content: bytes, timezone: str = "UTC") -> Call[Calendar]:
    """Makes or replaces it from an iCalendar text; ``timezone`` says whose days its instants in UTC have."""
    query = {"timezone": timezone}
    return Call("PUT", _path("calendars", calendar), _whole, query, content=content, content_type="text/calendar")


def refresh_calendar(calendar: str) -> Call[Calendar]:
    """Fetches a subscribed calendar now; ``error`` says what failed."""
    return Call("POST", _path("calendars", calendar, "refresh"), _whole)


def delete_calendar(calendar: str) -> Call[None]:
    return Call("DELETE", _path("calendars", calendar), _whole)


def list_expectations(workflow: str) -> Call[list[Expectation]]:
    return Call("GET", _path("workflows", workflow, "expectations"), _items)


def list_alerts(
    kind: str | None = None,
    is_open: bool | None = None,
    workflow: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[PageOf[Alert]]:
    """Newest first; ``is_open`` is false for those that are resolved."""
    query = {"kind": kind, "open": is_open, "workflow": workflow, "limit": limit, "cursor": cursor}
    return Call("GET", "/alerts", _whole, query)


def get_alert(alert: str) -> Call[Alert]:
    return Call("GET", _path("alerts", alert), _whole)


def create_heartbeat(name: str, settings: Mapping[str, str]) -> Call[HeartbeatAddress]:
    """``settings`` has ``every`` or ``schedule`` (with ``timezone``), and ``grace``."""
    return Call("POST", "/heartbeats", _whole, json={"name": name, **settings})


def edit_heartbeat(name: str, settings: Mapping[str, str]) -> Call[Heartbeat]:
    """Replaces all settings."""
    return Call("PUT", _path("heartbeats", name), _whole, json=dict(settings))


def list_heartbeats(limit: int = 50, cursor: str | None = None) -> Call[PageOf[Heartbeat]]:
    return Call("GET", "/heartbeats", _whole, {"limit": limit, "cursor": cursor})


def get_heartbeat(name: str) -> Call[Heartbeat]:
    return Call("GET", _path("heartbeats", name), _whole)


def delete_heartbeat(name: str) -> Call[None]:
    return Call("DELETE", _path("heartbeats", name), _whole)


def pause_heartbeat(name: str) -> Call[Heartbeat]:
    return Call("POST", _path("heartbeats", name, "pause"), _whole)


def resume_heartbeat(name: str) -> Call[Heartbeat]:
    return Call("POST", _path("heartbeats", name, "resume"), _whole)


def rotate_heartbeat(name: str) -> Call[HeartbeatAddress]:
    """Another ping address; the one before is dead from now on."""
    return Call("POST", _path("heartbeats", name, "rotate"), _whole)


def list_workers() -> Call[list[Worker]]:
    return Call("GET", "/workers", _items)


def drain_worker(worker: str) -> Call[Worker]:
    return Call("POST", _path("workers", worker, "drain"), _whole)


def list_queues() -> Call[list[Queue]]:
    return Call("GET", "/queues", _items)


def read_logs(run: str, task: str | None = None, cursor: str | None = None) -> Call[LogPage]:
    """Lines in order of arrival, at most `MAX_LINES`; fewer where there are no more at present."""
    return Call("GET", _path("runs", run, "logs"), _whole, {"task": task, "cursor": cursor, "limit": MAX_LINES})
