"""The write side: one transaction per use case, and in it one protocol per noun.

Everything here is set-based: a method takes many rows and is one or two statements. Every change of state is guarded by
the states from which the tables in `scheduler_domain.run.states` allow it; what the guard refused is absent from the
answer. Locks are taken in one order: slots, runs from the youngest id to the oldest, task runs by id.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from scheduler_application.ports.history import HistoryWrites
from scheduler_application.ports.rows import (
    AttemptEnd,
    BlockedTask,
    CalendarKey,
    CalendarRevision,
    CalendarRow,
    CancelledTask,
    ClaimedRow,
    CountDown,
    DueExpectation,
    DueTrigger,
    ExpectedRun,
    Freeze,
    GroupCount,
    HeartbeatRow,
    HeldBackfill,
    HeldKey,
    JudgedExpectation,
    LastRun,
    Lead,
    LedgerRow,
    LiveWorkflow,
    LockedRun,
    LockedSlot,
    NewAlert,
    NewBackfill,
    NewRun,
    NewTaskRun,
    OwnedTask,
    ParentTask,
    PastAttempt,
    Resolution,
    ResolvedAlert,
    RunChange,
    RunningTask,
    SettledTask,
    Slot,
    StoredVersion,
    TriggerMove,
    UnhintedTask,
    WakingTask,
    WorkerRow,
)
from scheduler_domain.run.states import TaskState
from scheduler_domain.schedule.backfill import BackfillEvent


class RunWrites(Protocol):
    """Runs and their slots; task runs when they are made."""

    async def lock_slots(self, slots: Sequence[Slot]) -> dict[Slot, LockedSlot]:
        """Locks the keys (making those that do not exist) in order and tells about each."""
        ...

    async def set_slots(self, live: dict[Slot, int], left_at: datetime | None = None) -> None:
        """Writes how many runs hold locked keys, and when one let go of them where one did."""
        ...

    async def insert_runs(self, rows: Sequence[NewRun]) -> set[str]:
        """Inserts; a run whose (trigger, due time) already has one is left out. The ids that are new."""
        ...

    async def insert_task_runs(self, rows: Sequence[NewTaskRun]) -> None: ...

    async def lock_runs(self, run_ids: Sequence[str]) -> list[LockedRun]:
        """Locks them, the youngest first, and returns those that exist."""
        ...

    async def save_runs(self, changes: Sequence[RunChange], now: datetime) -> None:
        """Writes the figures and states of locked runs."""
        ...

    async def stop_runs(self, run_ids: Sequence[str], reason: str, error: str | None) -> None:
        """Moves locked pending or running runs to cancelling; ``reason`` is ``cancel``, ``timeout`` or ``unreadable``,
        ``error`` (JSON text) is what the runs are to say of it."""
        ...

    async def slots_of(self, run_ids: Sequence[str]) -> list[Slot]:
        """The concurrency keys of runs, not locked."""
        ...

    async def admit(self, slot: Slot, limit: int, now: datetime) -> list[str]:
        """Pending → running for the oldest pending runs of a locked key; their ids."""
        ...

    async def runs_of_slot(self, slot: Slot) -> list[str]:
        """Pending and running runs of a locked key, oldest first."""
        ...

    async def reserve_keys(
        self, rows: Sequence[tuple[str, str, str, str, str, str, datetime]]
    ) -> dict[tuple[str, str, str], HeldKey]:
        """Idempotency keys as (project, principal, key, route, request hash, run id, now): inserts those that are new,
        and says by (project, principal, key) who holds each now."""
        ...

    async def release_key(self, project_id: str, principal: str, key: str, run_id: str) -> None:
        """Forgets a key that was reserved for ``run_id``."""
        ...


class GraphWrites(Protocol):
    """What becomes of task runs as the graph advances. All runs concerned are locked."""

    async def roots(self, run_ids: Sequence[str]) -> list[BlockedTask]:
        """The blocked task runs without needs of runs that are being admitted."""
        ...

    async def count_down(self, counts: Sequence[CountDown]) -> list[BlockedTask]:
        """Lowers the counters of blocked successors; those that have no need left now."""
        ...

    async def count_groups(self, counts: Sequence[GroupCount]) -> list[BlockedTask]:
        """Lowers the counters of waiting ``for_each`` task runs; those whose items are all final now, with their
        failures."""
        ...

    async def next_items(self, group_id: str, limit: int) -> list[BlockedTask]:
        """The next blocked items of a group, in order."""
        ...

    async def resolve(self, resolutions: Sequence[Resolution], now: datetime) -> set[str]:
        """Writes decisions about blocked, waiting or retrying task runs; the ids that were still in such a state."""
        ...

    async def results(self, wanted: Sequence[tuple[str, str]]) -> list[SettledTask]:
        """The states and outputs of (run, task) pairs; items of a ``for_each`` are not included."""
        ...

    async def item_results(self, group_ids: Sequence[str]) -> list[SettledTask]:
        """The states and outputs of the items of groups, in order."""
        ...


class ClaimWrites(Protocol):
    """The hot path of a task run: claimed, ended, hinted."""

    async def claim(self, worker_id: str, hints: Sequence[tuple[str, int]], now: datetime) -> list[ClaimedRow]:
        """Ready or queued → running under the next fence, for a worker whose lease is valid by the store's clock."""
        ...

    async def claimed_before(self, worker_id: str, hints: Sequence[tuple[str, int]]) -> list[ClaimedRow]:
        """What of ``hints`` the worker owns under the next fence: an earlier claim was committed and its answer
        lost."""
        ...

    async def end_attempts(self, ends: Sequence[AttemptEnd], now: datetime) -> dict[str, TaskState]:
        """Ends running attempts by the holders of their fences; what each that was written came to.

        A task run that was to be cancelled gets no further attempt: instead of becoming ready or retrying it is
        cancelled.
        """
        ...

    async def remember_attempts(self, attempts: Sequence[PastAttempt]) -> None: ...

    async def mark_hinted(self, hints: Sequence[tuple[str, int]], now: datetime) -> None:
        """Ready → queued, where a hint was confirmed."""
        ...

    async def unhinted(self, ready_before: datetime, limit: int) -> list[UnhintedTask]:
        """Ready since before then, and nobody confirmed a hint; oldest first."""
        ...

    async def unclaimed(self, hinted_before: datetime, limit: int) -> list[UnhintedTask]:
        """Hinted before then, and nobody claimed them; oldest first."""
        ...

    async def any_open(self) -> bool:
        """Whether any task run may be claimed or is running."""
        ...


class UpkeepWrites(Protocol):
    """Cancelling, timers, and what lost workers left."""

    async def cancel_idle_task(self, task_run_id: str, now: datetime) -> list[CancelledTask]:
        """The same for one task run and its items."""
        ...

    async def cancel_idle(self, run_ids: Sequence[str], now: datetime) -> list[CancelledTask]:
        """Cancels whatever of locked runs is not running and has no running items."""
        ...

    async def request_cancel(self, task_run_id: str) -> list[RunningTask]:
        """Marks a running task run, or a group and its running items, as cancelled; what workers must end."""
        ...

    async def running_in(self, run_ids: Sequence[str]) -> list[RunningTask]: ...

    async def waking(self, now: datetime, limit: int) -> list[WakingTask]: ...

    async def wake(self, task_run_ids: Sequence[str], now: datetime) -> list[UnhintedTask]:
        """Retrying → ready with the next attempt's number."""
        ...

    async def next_attempt(self, task_run_ids: Sequence[str]) -> set[str]:
        """Counts another attempt of retrying task runs that the engine itself carries; the ids of those that still
        are."""
        ...

    async def overdue_runs(self, now: datetime, limit: int) -> list[str]:
        """Live runs past their deadline."""
        ...

    async def orphans(self, limit: int) -> list[str]:
        """Live child runs whose parent task run was cancelled, and is not among the live ones any more perhaps: the
        cancel did not reach them yet."""
        ...

    async def parents(self, task_run_ids: Sequence[str]) -> list[ParentTask]:
        """Waiting task runs that a child run belongs to."""
        ...

    async def owned_by(self, worker_ids: Sequence[str], limit: int) -> list[OwnedTask]:
        """What workers that are gone left running."""
        ...


class WorkflowWrites(Protocol):
    async def find(self, project_id: str, name_or_id: str, *, lock: bool = False) -> dict[str, Any] | None:
        """The workflow's row; ``lock`` holds it until the end of the transaction."""
        ...

    async def live(self, project_id: str, names_or_ids: Sequence[str]) -> dict[str, LiveWorkflow]:
        """By the name or id that was asked for."""
        ...

    async def insert(self, row: dict[str, Any]) -> bool:
        """False when the name is taken."""
        ...

    async def update(self, workflow_id: str, values: dict[str, Any]) -> None: ...
    async def delete(self, workflow_id: str, now: datetime) -> None:
        """Takes it out of every list; its history keeps its name."""
        ...

    async def version(self, version_id: str) -> StoredVersion | None: ...
    async def versions(self, version_ids: Sequence[str]) -> Sequence[StoredVersion]:
        """Those that there are."""
        ...

    async def version_by_digest(self, workflow_id: str, digest: str, source: str | None) -> StoredVersion | None:
        """The version with this content whose code is in ``source``."""
        ...

    async def insert_version(self, row: dict[str, Any]) -> None: ...
    async def last_number(self, workflow_id: str) -> int: ...
    async def live_runs(self, workflow_id: str) -> list[str]:
        """Ids of its runs that are not final."""
        ...

    async def live_documents(self, project_id: str, holding: str) -> list[tuple[str, str]]:
        """(name, content) of the live version of every workflow, where the content's text has ``holding`` in it."""
        ...


class TriggerWrites(Protocol):
    async def of_workflow(self, workflow_id: str) -> list[dict[str, Any]]: ...
    async def insert(self, rows: Sequence[dict[str, Any]]) -> None: ...
    async def update(self, trigger_id: str, values: dict[str, Any]) -> None: ...

    async def due(self, now: datetime, limit: int) -> list[DueTrigger]:
        """Active, unpaused triggers whose next time has come, locked: the earliest first, or, when more than ``limit``
        are due, those of each project in turn."""
        ...

    async def next_due_at(self) -> datetime | None:
        """The earliest moment at which anything is due: a trigger, a wake-up, a run's deadline, an expectation or a
        heartbeat."""
        ...

    async def next_fire_at(self) -> datetime | None:
        """The earliest moment at which a trigger is due."""
        ...

    async def next_wake_at(self) -> datetime | None:
        """The earliest moment at which anything but a trigger is due."""
        ...

    async def advance(self, moves: Sequence[TriggerMove]) -> None:
        """Moves many triggers on; none of them is frozen any more."""
        ...

    async def live_runs(self, trigger_ids: Sequence[str]) -> dict[str, int]:
        """How many runs of each trigger are live; triggers without any are left out."""
        ...

    async def quarantine(self, trigger_id: str, error: str) -> None:
        """Takes a trigger that cannot be evaluated out of the firing pass, with the reason."""
        ...

    async def record(self, rows: Sequence[LedgerRow]) -> None:
        """Ledger rows; a due time that already has one is left alone."""
        ...


class BackfillWrites(Protocol):
    async def insert(self, row: NewBackfill) -> bool:
        """Whether it is new: an earlier try may have been committed and its answer lost."""
        ...

    async def unfinished(self, project_id: str) -> int: ...

    async def overlapping(self, row: NewBackfill) -> str | None:
        """Another backfill of the same trigger that is not over and whose range meets the row's; its id."""
        ...

    async def open(self, limit: int) -> list[str]:
        """Backfills that the leader has something to do with: running or cancelling, the oldest first."""
        ...

    async def lock(self, backfill_id: str) -> HeldBackfill | None:
        """The backfill, held until the end of the transaction."""
        ...

    async def live_runs(self, backfill_id: str) -> int: ...

    async def stoppable_runs(self, backfill_id: str, limit: int) -> list[str]:
        """Its live runs that nobody is stopping yet."""
        ...

    async def covered(self, trigger_id: str, besides: str | None, due_ats: Sequence[datetime]) -> set[datetime]:
        """Which of ``due_ats`` have a run: one that the trigger started, or one of a backfill of the trigger that was
        not cancelled. The runs of the backfill ``besides`` do not count."""
        ...

    async def advance(self, backfill_id: str, next_at: datetime | None, started: int, skipped: int) -> None:
        """Moves a locked backfill on, and adds to its counters."""
        ...

    async def move(self, backfill_id: str, event: BackfillEvent, reason: str | None, now: datetime) -> None:
        """Writes the state that ``event`` gives a locked backfill, where it is in one from which that is allowed."""
        ...


class FreezeWrites(Protocol):
    async def active(self, now: datetime) -> list[Freeze]:
        """The freezes of all projects that hold at ``now``."""
        ...

    async def ahead(self, project_id: str, now: datetime) -> int:
        """How many freezes of a project are not over."""
        ...

    async def insert(self, freeze: Freeze) -> bool:
        """Whether it is new: an earlier try may have been committed and its answer lost."""
        ...

    async def lift(self, project_id: str, freeze_id: str, now: datetime) -> Freeze | None:
        """Ends a freeze that is not over, and lets the next pass look at what it held; the freeze, or ``None``."""
        ...

    async def hold(self, held: Sequence[tuple[str, str, datetime]]) -> None:
        """(trigger, freeze, its end): a firing pass looks at the triggers again when the freeze ends."""


class CalendarWrites(Protocol):
    async def find(self, project_id: str, name: str, *, lock: bool = False) -> dict[str, Any] | None:
        """The calendar's row; ``lock`` holds it until the end of the transaction."""
        ...

    async def insert(self, row: dict[str, Any]) -> bool:
        """False when the name is taken."""
        ...

    async def update(self, calendar_id: str, values: dict[str, Any]) -> None: ...
    async def delete(self, calendar_id: str) -> None: ...
    async def definitions(self, project_id: str) -> dict[str, str]:
        """The definition (JSON text) of every calendar of the project, by its name."""
        ...

    async def revisions(self, keys: Sequence[CalendarKey]) -> dict[CalendarKey, CalendarRevision]:
        """Of those that exist; the one question of a firing pass, so it reads nothing else."""
        ...

    async def load(self, keys: Sequence[CalendarKey]) -> dict[CalendarKey, CalendarRow]: ...

    async def take_due(self, now: datetime, until: datetime) -> dict[str, Any] | None:
        """The row that has waited longest for being read again, which nobody else takes before ``until``."""
        ...

    async def renew(self, calendar_id: str, version: int, values: dict[str, Any]) -> bool:
        """Writes what reading it again gave; false where somebody changed or deleted the calendar meanwhile."""


class ExpectationWrites(Protocol):
    async def of_workflow(self, workflow_id: str) -> list[dict[str, Any]]: ...
    async def insert(self, rows: Sequence[dict[str, Any]]) -> None: ...
    async def update(self, expectation_id: str, values: dict[str, Any]) -> None: ...

    async def due(self, now: datetime, limit: int) -> list[DueExpectation]:
        """Active expectations whose deadline has come, earliest first, locked."""
        ...

    async def met(self, questions: Sequence[ExpectedRun]) -> set[int]:
        """The places of the questions whose answer is yes."""
        ...

    async def last_runs(self, workflow_ids: Sequence[str]) -> dict[str, LastRun]:
        """The youngest run of each workflow that ever had one."""
        ...

    async def advance(self, judged: Sequence[JudgedExpectation]) -> None: ...

    async def quarantine(self, expectation_id: str, error: str) -> None:
        """Takes an expectation that cannot be evaluated out of the pass, with the reason."""
        ...


class HeartbeatWrites(Protocol):
    async def insert(self, row: dict[str, Any]) -> bool:
        """False when the project already has a heartbeat of that name."""
        ...

    async def find(self, project_id: str, name: str) -> HeartbeatRow | None:
        """Locked."""
        ...

    async def by_token(self, token_hash: str) -> HeartbeatRow | None:
        """Locked."""
        ...

    async def update(self, heartbeat_id: str, values: dict[str, Any]) -> None: ...
    async def delete(self, heartbeat_id: str) -> None: ...

    async def due(self, now: datetime, limit: int) -> list[HeartbeatRow]:
        """Those whose grace is over, earliest first, locked."""
        ...

    async def set_down(self, heartbeat_ids: Sequence[str]) -> None:
        """Nothing is awaited of them until they are heard."""
        ...


class AlertWrites(Protocol):
    async def add(self, alerts: Sequence[NewAlert]) -> set[str]:
        """Inserts; a deadline that already has an alert of this kind is left alone. The ids that are new."""
        ...

    async def resolve(self, source_ids: Sequence[str], now: datetime) -> list[ResolvedAlert]:
        """Ends every open alert of the sources."""
        ...


class WorkerWrites(Protocol):
    async def register(self, worker: WorkerRow, lease_seconds: float) -> None: ...

    async def renew(self, worker_id: str, lease_seconds: float) -> str | None:
        """Prolongs a lease that is still valid by the store's clock; the worker's state, or ``None`` when it is too
        late."""
        ...

    async def set_state(self, worker_id: str, state: str) -> bool: ...

    async def to_cancel(self, worker_id: str) -> list[tuple[str, int]]:
        """(task run, fence) of what the worker must end."""
        ...

    async def expired(self, limit: int) -> list[str]:
        """Marks workers whose lease ran out as lost; the ids of all lost or gone workers that still own running task
        runs."""
        ...

    async def any_live(self) -> bool: ...


class LeadershipWrites(Protocol):
    async def acquire(self, holder: str, lease_seconds: float) -> Lead | None:
        """Takes the lease when it is free or expired, or prolongs one's own; ``None`` when another holds it. By the
        store's clock."""
        ...

    async def assert_epoch(self, holder: str, epoch: int) -> None:
        """Raises `LeadershipLost` unless ``holder`` leads in ``epoch`` now; keeps others from taking over until this
        transaction ends."""
        ...

    async def resign(self, holder: str, epoch: int, vacant_seconds: float) -> None:
        """Ends the lease, as if it had ended so many seconds ago."""
        ...


class AccessWrites(Protocol):
    async def api_key(self, key_id: str) -> tuple[str, str] | None:
        """(secret hash, project) of a key that is not revoked."""
        ...

    async def has_admin(self) -> bool: ...

    async def insert_key(self, key_id: str, project_id: str, name: str, secret_hash: str, now: datetime) -> bool:
        """False when the project already has a key of that name."""
        ...


class IdempotencyWrites(Protocol):
    async def begin(self, row: dict[str, Any], stale_before: datetime) -> dict[str, Any] | None:
        """Reserves a key; an existing row (unless it was abandoned before ``stale_before``) is returned instead."""
        ...

    async def finish(self, project_id: str, principal: str, key: str, status: int, body: bytes) -> None: ...
    async def abandon(self, project_id: str, principal: str, key: str) -> None: ...


class Transaction(Protocol):
    """Everything that one transaction may do."""

    @property
    def runs(self) -> RunWrites: ...
    @property
    def graph(self) -> GraphWrites: ...
    @property
    def claims(self) -> ClaimWrites: ...
    @property
    def upkeep(self) -> UpkeepWrites: ...
    @property
    def workflows(self) -> WorkflowWrites: ...
    @property
    def triggers(self) -> TriggerWrites: ...
    @property
    def freezes(self) -> FreezeWrites: ...
    @property
    def backfills(self) -> BackfillWrites: ...
    @property
    def calendars(self) -> CalendarWrites: ...
    @property
    def expectations(self) -> ExpectationWrites: ...
    @property
    def heartbeats(self) -> HeartbeatWrites: ...
    @property
    def alerts(self) -> AlertWrites: ...
    @property
    def workers(self) -> WorkerWrites: ...
    @property
    def leadership(self) -> LeadershipWrites: ...
    @property
    def access(self) -> AccessWrites: ...
    @property
    def idempotency(self) -> IdempotencyWrites: ...
    @property
    def history(self) -> HistoryWrites: ...


T = TypeVar("T")


class Store(Protocol):
    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Runs ``work`` in one transaction: commits when it returns, rolls back when it raises.

        ``work`` is run again after a transient failure (deadlock, lost connection…), also when the commit's answer was
        lost, so it must not change anything but the store; every write is guarded, so a repeat changes nothing twice.
        Raises `Unavailable` when the store does not answer in time.
        """
        ...
