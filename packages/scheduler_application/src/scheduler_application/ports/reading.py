"""The read side: what lists and pages show. Views are plain values; nothing here changes anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from scheduler_application.paging import Page, PageRequest


@dataclass(frozen=True, slots=True)
class WorkflowView:
    id: str
    name: str
    description: str
    labels: list[str]
    """Of the live version."""
    enabled: bool
    live_version: int | None
    created_at: datetime
    updated_at: datetime
    draft: dict[str, Any] | None = None
    """The draft's document as plain data; only on the view of one workflow."""
    live_digest: str | None = None
    draft_digest: str | None = None


@dataclass(frozen=True, slots=True)
class VersionView:
    id: str
    workflow: str
    number: int
    digest: str
    live: bool
    created_at: datetime
    created_by: str
    definition: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TriggerView:
    id: str
    workflow: str
    name: str
    kind: str
    expression: str
    timezone: str
    policy: dict[str, Any]
    """What is done about its due times: ``misfire``, ``overlap``, and what else was chosen (spans in seconds)."""
    anchor_at: datetime
    paused: bool
    active: bool
    due_at: datetime | None
    """The first due time that is not decided yet."""
    next_at: datetime | None
    """When that is decided: later than ``due_at`` by the trigger's jitter, or when a freeze ends."""
    last_due_at: datetime | None
    error: str | None
    """Why it was taken out of the firing pass, where it cannot be evaluated."""
    frozen_by: str | None = None
    """The freeze that holds ``due_at``."""


@dataclass(frozen=True, slots=True)
class FreezeView:
    """``label`` is ``None`` for the whole project; ``held`` says how many triggers wait for its end."""

    id: str
    label: str | None
    reason: str
    starts_at: datetime
    ends_at: datetime
    lifted_at: datetime | None
    created_at: datetime
    created_by: str
    held: int


@dataclass(frozen=True, slots=True)
class CalendarView:
    name: str
    kind: str
    """``dates``, ``holidays``, ``business_days`` or ``ics``."""
    definition: dict[str, Any]
    """As it was given, without the text of a file."""
    built_in: bool = False
    version: int = 1
    days_first: date | None = None
    days_last: date | None = None
    """Of an iCalendar text: what lies outside is not known, and counts as no day of the calendar."""
    fetched_at: datetime | None = None
    """When its address last had a text, or said that it is the same."""
    refresh_at: datetime | None = None
    error: str | None = None
    """Why it could not be read again; then the days are those of the last good text."""
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    id: str
    workflow: str
    version: int
    state: str
    trigger: str | None
    """The trigger's name; ``None`` for a run that somebody started."""
    started_by: str
    due_at: datetime | None
    inputs: dict[str, Any]
    priority: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    tasks_total: int
    tasks_left: int
    tasks_failed: int
    error: dict[str, Any] | None
    parent_run_id: str | None
    rerun_of: str | None
    backfill_id: str | None = None
    """The backfill that started it for ``due_at``."""
    tasks: list["TaskRunView"] | None = None
    """Only on the view of one run; at most 1,000 task runs (`RunReader.task_runs` pages through all)."""


@dataclass(frozen=True, slots=True)
class AttemptView:
    claim_no: int
    attempt: int
    worker_id: str | None
    outcome: str
    started_at: datetime | None
    finished_at: datetime | None
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TaskRunView:
    id: str
    run_id: str
    task: str
    item_index: int | None
    state: str
    queue: str
    priority: str
    attempt: int
    claim_no: int
    worker_losses: int
    worker_id: str | None
    created_at: datetime
    ready_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    wake_at: datetime | None
    output: Any
    error: dict[str, Any] | None
    child_run_id: str | None
    attempts: list[AttemptView] | None = None
    """Only on the view of one task run."""


@dataclass(frozen=True, slots=True)
class LedgerView:
    trigger_id: str
    workflow: str
    trigger: str
    due_at: datetime
    outcome: str
    """``fired``, ``skipped`` or ``missed``."""
    rule: str
    """The rule that decided, e.g. ``on_time``, ``misfire:fire_once``, ``paused``, ``disabled``,
    ``concurrency:skip``."""
    run_id: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class ExpectationView:
    id: str
    workflow: str
    name: str
    expression: str
    timezone: str
    state: str
    within_seconds: int | None
    """How far before each deadline counts; ``None``: since the deadline before, at most a day."""
    next_at: datetime | None
    last_at: datetime | None
    """The last deadline that was judged."""
    last_result: str | None
    """``met`` or ``missed``."""
    error: str | None
    """Why its deadlines are not judged any more, where they cannot be."""


@dataclass(frozen=True, slots=True)
class HeartbeatView:
    id: str
    name: str
    state: str
    """``new``, ``up``, ``late``, ``down`` or ``paused``."""
    every: str | None
    """The interval, such as ``1h``; ``None`` where there is a schedule."""
    schedule: str | None
    timezone: str
    grace: str
    due_at: datetime
    """When the next ping is due, while one is awaited; when the last one was due that did not come, otherwise."""
    down_at: datetime | None
    """The end of the grace, while a ping is awaited."""
    last_ping_at: datetime | None
    started_at: datetime | None
    """When the job said that it begins, where it has not said yet how it ended."""
    took_ms: int | None
    """How long the job took last, where it said when it began."""
    last_signal: str | None
    """``ping``, ``start`` or ``fail``."""
    last_signal_at: datetime | None
    last_message: str | None
    message_truncated: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AlertView:
    id: str
    kind: str
    key: str
    """What the alert is about, the same from alert to alert."""
    workflow: str | None
    heartbeat: str | None
    message: str
    detail: dict[str, Any]
    deadline_at: datetime
    at: datetime
    resolved_at: datetime | None
    """``None`` while the alert is open."""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """``open`` is ``None`` for all, ``False`` for those that are resolved."""

    kind: str | None = None
    open: bool | None = None
    workflow: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerView:
    id: str
    name: str
    state: str
    """``active``, ``draining``, ``gone`` or ``lost``."""
    queues: list[str]
    slots: int
    running: int
    started_at: datetime
    lease_until: datetime
    version: str


@dataclass(frozen=True, slots=True)
class QueueView:
    name: str
    ready: int
    """Waiting for a worker (``ready`` or ``queued``)."""
    running: int
    oldest_ready_at: datetime | None
    workers: int
    """Live workers that serve it."""
    slots: int


@dataclass(frozen=True, slots=True)
class BackfillView:
    id: str
    workflow: str
    trigger: str
    from_at: datetime
    to_at: datetime
    """The range ends before this instant."""
    only_missing: bool
    max_parallel: int
    priority: str
    state: str
    """``running``, ``paused``, ``cancelling``, ``cancelled`` or ``finished``."""
    reason: str | None
    """Why it is paused."""
    next_at: datetime | None
    """Due times before this instant are handled; ``None`` when all are."""
    total: int
    """How many due times the range had when the backfill was made."""
    started: int
    skipped: int
    """Due times that had a run already."""
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    runs: dict[str, int] | None = None
    """How many of its runs are in each state; only on the view of one backfill."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    workflow: str | None = None
    states: Sequence[str] = ()
    trigger: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    backfill: str | None = None
    """The id of a backfill."""


class Reader(Protocol):
    """Every method answers for one project; what belongs to another is as absent as what does not exist (``None``)."""

    async def workflows(self, project: str, page: PageRequest) -> Page[WorkflowView]: ...
    async def workflow(self, project: str, name_or_id: str) -> WorkflowView | None: ...
    async def versions(self, project: str, workflow_id: str, page: PageRequest) -> Page[VersionView]: ...
    async def version(self, project: str, workflow_id: str, number: int) -> VersionView | None: ...
    async def triggers(self, project: str, workflow_id: str) -> list[TriggerView]: ...
    async def schedules(self, project: str, page: PageRequest) -> Page[TriggerView]:
        """The active triggers that the clock satisfies, by the names of their workflows and their own."""
        ...

    async def calendars(self, project: str, page: PageRequest) -> Page[CalendarView]:
        """The project's own, by name."""
        ...

    async def calendar(self, project: str, name: str) -> CalendarView | None:
        """One of the project's own."""
        ...

    async def runs(self, project: str, where: RunFilter, page: PageRequest) -> Page[RunView]:
        """Newest first."""
        ...

    async def run(self, project: str, run_id: str) -> RunView | None: ...
    async def task_runs(self, project: str, run_id: str, page: PageRequest) -> Page[TaskRunView]: ...
    async def task_run(self, project: str, task_run_id: str) -> TaskRunView | None: ...
    async def slot_holders(self, project: str, run_id: str) -> list[str]:
        """The ids of runs that hold the slot for which a run waits; at most ten."""
        ...

    async def ledger(
        self,
        project: str,
        page: PageRequest,
        *,
        workflow: str | None = None,
        due_from: datetime | None = None,
        due_to: datetime | None = None,
    ) -> Page[LedgerView]:
        """Latest due time first."""
        ...

    async def freezes(self, project: str, page: PageRequest) -> Page[FreezeView]:
        """The newest first."""
        ...

    async def freezes_ahead(self, project: str, now: datetime) -> list[FreezeView]:
        """Those that are not over, the one that ends last first; at most a thousand."""
        ...

    async def freeze(self, project: str, freeze_id: str) -> FreezeView | None: ...
    async def backfills(self, project: str, page: PageRequest, *, workflow: str | None = None) -> Page[BackfillView]:
        """Newest first."""
        ...

    async def backfill(self, project: str, backfill_id: str) -> BackfillView | None: ...
    async def expectations(self, project: str, workflow_id: str) -> list[ExpectationView]:
        """The live ones, by name."""
        ...

    async def heartbeats(self, project: str, page: PageRequest) -> Page[HeartbeatView]:
        """By name; never late, which only a clock can tell."""
        ...

    async def heartbeat(self, project: str, name: str) -> HeartbeatView | None: ...
    async def alerts(self, project: str, where: AlertFilter, page: PageRequest) -> Page[AlertView]:
        """Newest first."""
        ...

    async def alert(self, project: str, alert_id: str) -> AlertView | None: ...
    async def workers(self) -> list[WorkerView]: ...
    async def queues(self, project: str) -> list[QueueView]: ...
