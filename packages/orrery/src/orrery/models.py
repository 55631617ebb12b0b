"""What the server answers, as typed dictionaries: the JSON objects of the HTTP API, times as ISO 8601 text in UTC."""

from typing import Any, Generic, TypedDict, TypeVar

T = TypeVar("T")


class PageOf(TypedDict, Generic[T]):
    """One page of a list; ``next_cursor`` is ``None`` on the last."""

    items: list[T]
    next_cursor: str | None


class Workflow(TypedDict):
    id: str
    name: str
    description: str
    enabled: bool
    live_version: int | None
    created_at: str
    updated_at: str
    draft: dict[str, Any] | None
    live_digest: str | None
    draft_digest: str | None


class Version(TypedDict):
    id: str
    workflow: str
    number: int
    digest: str
    live: bool
    created_at: str
    created_by: str
    definition: dict[str, Any] | None


class Trigger(TypedDict):
    id: str
    workflow: str
    name: str
    kind: str
    expression: str
    timezone: str
    misfire: str
    paused: bool
    active: bool
    next_at: str | None
    last_due_at: str | None


class Deployment(TypedDict):
    """``created`` is false where the same content was live already."""

    workflow: str
    workflow_id: str
    version: int
    created: bool
    triggers: list[Trigger]


class StartedRun(TypedDict):
    run_id: str
    state: str


class TaskRun(TypedDict):
    id: str
    run_id: str
    task: str
    item_index: int | None
    executor: str
    state: str
    queue: str
    attempt: int
    worker_id: str | None
    started_at: str | None
    finished_at: str | None
    wake_at: str | None
    output: Any
    error: dict[str, Any] | None
    child_run_id: str | None


class Run(TypedDict):
    id: str
    workflow: str
    version: int
    state: str
    trigger: str | None
    started_by: str
    due_at: str | None
    inputs: dict[str, Any]
    priority: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    tasks_total: int
    tasks_left: int
    tasks_failed: int
    error: dict[str, Any] | None
    tasks: list[TaskRun] | None


class LogLine(TypedDict):
    """``cursor`` resumes after this line."""

    cursor: str
    task: str
    item_index: int | None
    attempt: int
    stream: str
    at: str
    text: str
    truncated: bool


class LogPage(TypedDict):
    """``next_cursor`` resumes after the last line; ``finished``: the run has ended, so no more lines come."""

    items: list[LogLine]
    next_cursor: str | None
    finished: bool


class Fire(TypedDict):
    """One due time: in UTC, in the schedule's zone, and what a change of clocks did to it."""

    at: str
    local: str
    note: str | None


class Forecast(TypedDict):
    """What a trigger of the clock will do next."""

    trigger: Trigger
    fires: list[Fire]


class Explanation(TypedDict):
    summary: str
    facts: list[dict[str, Any]]


class Expectation(TypedDict):
    """A live deadline of a workflow; ``last_result`` is what the last one came to: ``met`` or ``missed``."""

    id: str
    workflow: str
    name: str
    expression: str
    timezone: str
    state: str
    within_seconds: int | None
    next_at: str | None
    last_at: str | None
    last_result: str | None
    error: str | None


class Alert(TypedDict):
    """Open while ``resolved_at`` is ``None``; ``key`` says what it is about, the same from alert to alert."""

    id: str
    kind: str
    key: str
    workflow: str | None
    heartbeat: str | None
    message: str
    detail: dict[str, Any]
    deadline_at: str
    at: str
    resolved_at: str | None


class Heartbeat(TypedDict):
    """A job that lives elsewhere: ``new``, ``up``, ``late``, ``down`` or ``paused``."""

    id: str
    name: str
    state: str
    every: str | None
    schedule: str | None
    timezone: str
    grace: str
    due_at: str
    down_at: str | None
    last_ping_at: str | None
    started_at: str | None
    took_ms: int | None
    last_signal: str | None
    last_signal_at: str | None
    last_message: str | None
    message_truncated: bool
    created_at: str
    updated_at: str


class HeartbeatAddress(TypedDict):
    """``ping_path`` is shown once: it is ``None`` where the first answer was lost."""

    heartbeat: Heartbeat
    ping_path: str | None


class Worker(TypedDict):
    id: str
    name: str
    state: str
    queues: list[str]
    slots: int
    running: int
    started_at: str
    lease_until: str
    version: str


class Queue(TypedDict):
    name: str
    ready: int
    running: int
    oldest_ready_at: str | None
    workers: int
    slots: int


FINAL_RUN_STATES = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
