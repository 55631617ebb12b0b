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
    labels: list[str]
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
    policy: dict[str, Any]
    paused: bool
    active: bool
    due_at: str | None
    next_at: str | None
    last_due_at: str | None


class Freeze(TypedDict):
    """``label`` is ``None`` for the whole project; ``held`` says how many triggers wait for its end."""

    id: str
    label: str | None
    reason: str
    starts_at: str
    ends_at: str
    lifted_at: str | None
    created_at: str
    created_by: str
    held: int


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
    backfill_id: str | None
    tasks: list[TaskRun] | None


class Backfill(TypedDict):
    """``runs`` (how many are in each state) only where one backfill was asked for."""

    id: str
    workflow: str
    trigger: str
    from_at: str
    to_at: str
    only_missing: bool
    max_parallel: int
    priority: str
    state: str
    reason: str | None
    next_at: str | None
    total: int
    started: int
    skipped: int
    created_at: str
    created_by: str
    finished_at: str | None
    runs: dict[str, int] | None


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


class TriggerFires(TypedDict):
    """What a trigger of the clock will do next."""

    trigger: Trigger
    fires: list[Fire]


class FireTime(TypedDict):
    at: str
    local: str


class MovedFire(TypedDict):
    before: FireTime
    after: FireTime


class DayChanges(TypedDict):
    day: str
    appear: int
    vanish: int
    move: int


class FireChanges(TypedDict):
    """The lists have the first 50 of each sort, the totals count all."""

    until: str
    unchanged: int
    appear_total: int
    vanish_total: int
    move_total: int
    appear: list[FireTime]
    vanish: list[FireTime]
    move: list[MovedFire]
    days: list[DayChanges]


class TriggerPlan(TypedDict):
    """``change`` is added, removed, or ``None`` for a trigger that stays."""

    trigger: str
    change: str | None
    paused: bool
    fires: FireChanges
    truncated: bool
    note: str | None


class DefinitionChange(TypedDict):
    """``change`` is added, removed or changed; ``before`` and ``after`` are JSON text."""

    path: list[str]
    change: str
    before: str | None
    after: str | None


class Plan(TypedDict):
    """What a deploy would change."""

    workflow: str
    live_version: int | None
    version: int
    creates_version: bool
    enabled: bool
    unchanged: bool
    planned_from: str
    planned_until: str
    definition_total: int
    definition: list[DefinitionChange]
    triggers: list[TriggerPlan]


class MinuteLoad(TypedDict):
    at: str
    starts: int
    busy: float


class QueueForecast(TypedDict):
    queue: str
    slots: int
    starts: int
    peak: MinuteLoad
    crowded: int


class Advice(TypedDict):
    """``change`` has the keys of the trigger to change; ``peak_after`` the most starts in one minute once it and all
    before it are followed."""

    workflow: str
    trigger: str
    expression: str
    change: dict[str, str]
    crowded_starts: int
    peak_after: int


class Forecast(TypedDict):
    """Planned starts against slots: one entry of ``starts`` and ``busy`` a minute from ``planned_from`` on."""

    planned_from: str
    planned_until: str
    truncated: bool
    queue: str | None
    slots: int
    total: int
    peak: MinuteLoad | None
    starts: list[int]
    busy: list[float]
    queues: list[QueueForecast]
    crowded_total: int
    crowded: list[MinuteLoad]
    advice_total: int
    advice: list[Advice]
    without_history: int


class LedgerRow(TypedDict):
    """One due time and what came of it: ``outcome`` is fired, skipped or missed, by ``rule``."""

    trigger_id: str
    workflow: str
    trigger: str
    due_at: str
    outcome: str
    rule: str
    run_id: str | None
    decided_at: str


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


class BackfillPreview(TypedDict):
    """What a backfill would come to; seconds are ``None`` where no run has succeeded yet."""

    workflow: str
    trigger: str
    from_at: str
    to_at: str
    due_times: int
    missing: int
    to_start: int
    first_at: str | None
    last_at: str | None
    at_a_time: int
    mean_run_seconds: float | None
    expected_seconds: float | None
    queues: list[Queue]


FINAL_RUN_STATES = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
