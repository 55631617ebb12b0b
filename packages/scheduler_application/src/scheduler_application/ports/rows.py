"""The rows that pass between the use cases and the store: plain tuples, so that a batch of thousands costs little.

Every JSON value is text here; ids are text too.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from scheduler_domain.run.states import RunState, TaskState
from scheduler_domain.schedule.backfill import BackfillState

NO_ITEM = -1
"""``item_index`` of a task run that is not an item of a ``for_each``."""


class Slot(NamedTuple):
    """A concurrency key of a workflow."""

    workflow_id: str
    key: str


class LockedSlot(NamedTuple):
    """How many runs hold a slot, and when the last one that nobody followed at once let go of it."""

    live: int
    left_at: datetime | None


class NewRun(NamedTuple):
    """A row of ``runs``; ``inputs`` is JSON text, ``priority`` a rank, ``scheduled_for`` the due time in its trigger's
    zone (ISO 8601)."""

    id: str
    project_id: str
    workflow_id: str
    version_id: str
    state: RunState
    trigger_id: str | None
    due_at: datetime | None
    scheduled_for: str | None
    started_by: str
    inputs: str
    priority: int
    slot_key: str | None
    tasks_total: int
    tasks_left: int
    parent_task_run_id: str | None
    depth: int
    rerun_of: str | None
    traceparent: str
    created_at: datetime
    started_at: datetime | None
    deadline_at: datetime | None
    backfill_id: str | None


class NewTaskRun(NamedTuple):
    """A row of ``task_runs``; ``item`` and ``output`` are JSON text. ``state`` is blocked, ready or (carried over by a
    rerun) succeeded."""

    id: str
    run_id: str
    project_id: str
    task: str
    item_index: int
    group_id: str | None
    state: TaskState
    queue: str
    priority: int
    needs_left: int
    item: str | None
    output: str | None
    created_at: datetime
    ready_at: datetime | None
    finished_at: datetime | None


class LockedRun(NamedTuple):
    """What a transaction needs to know of a run that it has locked."""

    id: str
    project_id: str
    workflow_id: str
    version_id: str
    state: RunState
    tasks_left: int
    tasks_failed: int
    tasks_cancelled: int
    slot_key: str | None
    stop_reason: str | None
    parent_task_run_id: str | None
    depth: int
    priority: int
    started_by: str
    traceparent: str
    inputs: str
    trigger_id: str | None
    due_at: datetime | None
    scheduled_for: str | None
    created_at: datetime
    started_at: datetime | None


class BlockedTask(NamedTuple):
    """A task run whose turn has come: none of its needs is left, or it wakes for another try. ``item`` is JSON text."""

    id: str
    run_id: str
    task: str
    item_index: int
    group_id: str | None
    claim_no: int
    attempt: int
    needs_failed: int
    needs_skipped: int
    state: TaskState
    item: str | None = None
    cancel_requested: bool = False


class CountDown(NamedTuple):
    """How many needs of a task run became final, and how many of those failed or were skipped."""

    run_id: str
    task: str
    done: int
    failed: int
    skipped: int


class GroupCount(NamedTuple):
    """How many items of a ``for_each`` became final, and how many of those failed."""

    group_id: str
    done: int
    failed: int


class Resolution(NamedTuple):
    """What becomes of a blocked or retrying task run. ``error`` and ``output`` are JSON text; ``items`` is the number
    of task runs that a ``for_each`` waits for."""

    id: str
    state: TaskState
    wake_at: datetime | None = None
    output: str | None = None
    error: str | None = None
    items: int | None = None
    child_run_id: str | None = None


class AttemptEnd(NamedTuple):
    """How one attempt ended: only the holder of ``claim_no`` may say so, and only while the row is running."""

    id: str
    claim_no: int
    state: TaskState
    output: str | None
    error: str | None
    wake_at: datetime | None
    lost: bool = False


class PastAttempt(NamedTuple):
    """An attempt that another one follows."""

    task_run_id: str
    claim_no: int
    attempt: int
    worker_id: str | None
    outcome: str
    error: str | None
    started_at: datetime | None
    finished_at: datetime


class RunChange(NamedTuple):
    """A locked run's new figures; ``state`` only where it changes."""

    id: str
    tasks_left: int
    tasks_failed: int
    tasks_cancelled: int
    state: RunState
    started_at: datetime | None
    finished_at: datetime | None


class ClaimedRow(NamedTuple):
    """A task run that now belongs to the claiming worker, with what its run says."""

    id: str
    run_id: str
    task: str
    item_index: int
    group_id: str | None
    claim_no: int
    attempt: int
    worker_losses: int
    item: str | None
    queue: str
    priority: int
    ready_at: datetime
    started_at: datetime
    project_id: str
    workflow_id: str
    version_id: str
    inputs: str
    traceparent: str
    slot_key: str | None
    trigger_id: str | None
    due_at: datetime | None
    scheduled_for: str | None
    created_at: datetime
    started_by: str
    tasks_failed: int


class RunningTask(NamedTuple):
    id: str
    claim_no: int
    worker_id: str
    run_id: str


class OwnedTask(NamedTuple):
    """A running task run as recovery sees it."""

    id: str
    run_id: str
    task: str
    item_index: int
    group_id: str | None
    claim_no: int
    attempt: int
    worker_losses: int
    worker_id: str
    queue: str
    priority: int
    started_at: datetime | None
    workflow_id: str
    slot_key: str | None


class CancelledTask(NamedTuple):
    """A task run that was ended before anything of it ran, or while nothing of it ran."""

    id: str
    run_id: str
    task: str
    item_index: int
    group_id: str | None
    child_run_id: str | None


class WakingTask(NamedTuple):
    """A waiting or retrying task run whose ``wake_at`` has come."""

    id: str
    run_id: str
    task: str
    item_index: int
    group_id: str | None
    claim_no: int
    attempt: int
    state: TaskState
    item: str | None
    workflow_id: str
    slot_key: str | None


class ParentTask(NamedTuple):
    """The task run that waits for a child run."""

    id: str
    run_id: str
    task: str
    item_index: int
    group_id: str | None
    claim_no: int
    attempt: int
    child_run_id: str
    started_at: datetime | None


class SettledTask(NamedTuple):
    """A finished task run's result, as successors see it; ``output`` is JSON text."""

    run_id: str
    task: str
    item_index: int
    state: TaskState
    output: str | None
    group_id: str | None = None


class UnhintedTask(NamedTuple):
    """``hinted_at`` is told of what was hinted and not claimed."""

    id: str
    claim_no: int
    queue: str
    priority: int
    hinted_at: datetime | None = None


class StoredVersion(NamedTuple):
    """``content`` is the document as JSON text; ``source`` the folder with the code, where the version has one."""

    id: str
    workflow_id: str
    number: int
    content: str
    source: str | None


class LiveWorkflow(NamedTuple):
    """A workflow and its live version; ``version_id`` is ``None`` where nothing is deployed."""

    id: str
    name: str
    project_id: str
    enabled: bool
    version_id: str | None


class HeldKey(NamedTuple):
    """An idempotency key as it is stored; ``state`` is that of the run it started, ``None`` while there is no such
    run."""

    route: str
    request_hash: str
    run_id: str | None
    state: str | None


class DueTrigger(NamedTuple):
    """A trigger whose time has come. ``policy`` and ``labels`` (the workflow's) are JSON text; ``due_at`` is its first
    due time that is not decided. Due times up to ``skip_until`` belong to a pause that is over, and those since
    ``frozen_at`` to a freeze that is."""

    id: str
    project_id: str
    workflow_id: str
    name: str
    kind: str
    expression: str
    timezone: str
    policy: str
    anchor_at: datetime
    due_at: datetime
    skip_until: datetime | None
    frozen_at: datetime | None
    frozen_until: datetime | None
    labels: str
    version_id: str | None
    enabled: bool


class TriggerMove(NamedTuple):
    """A trigger after a firing pass: ``due_at`` is its first due time that is not decided, ``next_at`` when a pass
    looks at it again; both are ``None`` when there is none any more."""

    trigger_id: str
    due_at: datetime | None
    next_at: datetime | None
    last_due_at: datetime | None


class Freeze(NamedTuple):
    """A window of a project, or of its workflows with a label, in which the clock starts nothing. ``lifted_at`` is set
    where somebody ended it early."""

    id: str
    project_id: str
    label: str | None
    reason: str
    starts_at: datetime
    ends_at: datetime
    lifted_at: datetime | None
    created_at: datetime
    created_by: str


class LedgerRow(NamedTuple):
    trigger_id: str
    due_at: datetime
    project_id: str
    workflow_id: str
    outcome: str
    rule: str
    run_id: str | None
    decided_at: datetime
    epoch: int


class NewBackfill(NamedTuple):
    """A row of ``backfills``: due times of a trigger from ``from_at`` on and before ``to_at``. ``priority`` is a rank;
    ``next_at`` is the first moment from which due times are not handled, ``total`` how many the range has."""

    id: str
    project_id: str
    workflow_id: str
    trigger_id: str
    from_at: datetime
    to_at: datetime
    only_missing: bool
    max_parallel: int
    priority: int
    state: BackfillState
    next_at: datetime
    total: int
    created_at: datetime
    created_by: str


class HeldBackfill(NamedTuple):
    """A locked backfill with its trigger and its workflow as they are now. ``next_at`` is ``None`` when every due time
    is handled; ``version_id`` is the live version's, ``None`` where nothing is deployed; ``active`` says whether that
    version has the trigger."""

    id: str
    project_id: str
    workflow_id: str
    trigger_id: str
    to_at: datetime
    only_missing: bool
    max_parallel: int
    priority: int
    state: BackfillState
    next_at: datetime | None
    trigger: str
    kind: str
    expression: str
    timezone: str
    policy: str
    anchor_at: datetime
    active: bool
    version_id: str | None
    enabled: bool


class CalendarKey(NamedTuple):
    """A calendar as a trigger names it."""

    project_id: str
    name: str


class CalendarRevision(NamedTuple):
    """What changes whenever the days of a calendar do."""

    id: str
    version: int


class CalendarRow(NamedTuple):
    """A calendar as it is evaluated: ``definition`` and ``days`` are JSON text; ``days`` (a day to its label) only of
    an iCalendar text."""

    revision: CalendarRevision
    definition: str
    days: str | None


class WorkerRow(NamedTuple):
    id: str
    name: str
    version: str
    queues: Sequence[str]
    slots: int


class Lead(NamedTuple):
    """A lease that was taken or prolonged. ``vacant_seconds`` is how long nobody had held it, by the store's clock;
    ``None`` where it was prolonged, or is the first there ever was."""

    epoch: int
    vacant_seconds: float | None


class DueExpectation(NamedTuple):
    """An expectation whose deadline ``next_at`` has come; ``workflow`` is the workflow's name."""

    id: str
    project_id: str
    workflow_id: str
    workflow: str
    name: str
    expression: str
    timezone: str
    state: str
    within_seconds: int | None
    next_at: datetime


class ExpectedRun(NamedTuple):
    """The question whether a run of the workflow came to ``state`` (``started``, ``finished``, ``succeeded``) after
    ``since_at`` and at ``until_at`` at the latest. ``place`` numbers the questions of one call."""

    place: int
    workflow_id: str
    state: str
    since_at: datetime
    until_at: datetime


class JudgedExpectation(NamedTuple):
    """The last of its deadlines that was judged, what it came to, and the next deadline."""

    id: str
    next_at: datetime | None
    last_at: datetime
    last_result: str


class LastRun(NamedTuple):
    workflow_id: str
    id: str
    state: str
    created_at: datetime
    finished_at: datetime | None


class HeartbeatRow(NamedTuple):
    """A heartbeat as pings and deadlines see it, locked; ``kind`` is ``every`` (the expression is seconds as text) or
    ``schedule``."""

    id: str
    project_id: str
    name: str
    kind: str
    expression: str
    timezone: str
    grace_seconds: int
    state: str
    due_at: datetime
    next_at: datetime | None
    last_ping_at: datetime | None
    started_at: datetime | None


class NewAlert(NamedTuple):
    """A row of ``alerts``: ``source_id`` is the expectation or heartbeat, ``key`` its name for people and programs,
    ``detail`` JSON text. One that only tells something is resolved from the start."""

    id: str
    project_id: str
    kind: str
    source_id: str
    deadline_at: datetime
    workflow_id: str | None
    heartbeat: str | None
    key: str
    message: str
    detail: str
    at: datetime
    resolved_at: datetime | None = None


class ResolvedAlert(NamedTuple):
    id: str
    project_id: str
