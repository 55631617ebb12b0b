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


class Calendar(TypedDict):
    """``definition`` is as it was given, without the text of a file. ``error``: why it could not be fetched again; then
    the last good days stay."""

    name: str
    kind: str
    definition: dict[str, Any]
    built_in: bool
    version: int
    days_first: str | None
    days_last: str | None
    fetched_at: str | None
    refresh_at: str | None
    error: str | None
    created_at: str | None
    updated_at: str | None


class CalendarDay(TypedDict):
    day: str
    name: str


class CalendarDays(TypedDict):
    calendar: str
    first: str
    last: str
    items: list[CalendarDay]


class Explanation(TypedDict):
    summary: str
    facts: list[dict[str, Any]]


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
