"""The schema. JSON values are text: SQL never looks into them, and text keeps what the author wrote.

States are checked by the database too, with the lists that `scheduler_domain.run.states` has.
"""

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from scheduler_domain.run.states import (
    FINAL_RUN_STATES,
    FINAL_TASK_STATES,
    RunState,
    TaskState,
)
from scheduler_domain.schedule.backfill import FINAL_BACKFILL_STATES, BackfillState
from scheduler_domain.schedule.deadlines import STORED_STATES, Verdict
from scheduler_domain.workflow.definition import ExpectedState
from scheduler_infrastructure.persistence.columns import Id, Instant

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

NO_ITEM = -1
"""``item_index`` of a task run that is not an item of a ``for_each``."""


def _listed(states: Iterable[str]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


def _state_checks(states: Iterable[str], final: Iterable[str]) -> tuple[CheckConstraint, CheckConstraint]:
    return (
        CheckConstraint(f"state in ({_listed(states)})", name="state"),
        CheckConstraint(
            f"(finished_at is null) = (state not in ({_listed(final)}))",
            name="finished_when_final",
        ),
    )


projects = Table(
    "projects",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    UniqueConstraint("project_id", "name"),
)

workflows = Table(
    "workflows",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("labels", Text, nullable=False, server_default="[]"),
    Column("draft", Text, nullable=False),
    Column("draft_digest", Text, nullable=False),
    Column("live_version_id", Id),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("deleted_at", Instant),
    # A deleted workflow stays as the name of its history; its name may be used again.
    Index(
        "uq_workflows_project_id_name",
        "project_id",
        "name",
        unique=True,
        postgresql_where=text("deleted_at is null"),
        sqlite_where=text("deleted_at is null"),
    ),
)

versions = Table(
    "versions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("workflow_id", Id, ForeignKey("workflows.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("source", Text),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("workflow_id", "number"),
)

triggers = Table(
    "triggers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("workflow_id", Id, ForeignKey("workflows.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("expression", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("anchor_at", Instant, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("paused", Boolean, nullable=False),
    # The first due time that is not decided yet, and when a firing pass looks at it: later by the jitter or a freeze.
    Column("due_at", Instant),
    Column("next_at", Instant),
    Column("last_due_at", Instant),
    Column("skip_until", Instant),
    Column("frozen_by", Id),
    Column("error", Text),
    UniqueConstraint("workflow_id", "name"),
    Index(
        "ix_triggers_frozen",
        "frozen_by",
        postgresql_where=text("frozen_by is not null"),
        sqlite_where=text("frozen_by is not null"),
    ),
    # What is due is found here and nowhere else: a firing pass costs what is due, not what exists.
    Index(
        "ix_triggers_due",
        "next_at",
        postgresql_where=text("active and not paused and next_at is not null"),
        sqlite_where=text("active and not paused and next_at is not null"),
    ),
    # A backlog is shared out by project along this one.
    Index(
        "ix_triggers_project_due",
        "project_id",
        "next_at",
        postgresql_where=text("active and not paused and next_at is not null"),
        sqlite_where=text("active and not paused and next_at is not null"),
    ),
)

freezes = Table(
    "freezes",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("label", Text),
    Column("reason", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("lifted_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    CheckConstraint("starts_at < ends_at", name="window"),
    Index("ix_freezes_ends_at", "ends_at"),
    Index("ix_freezes_project_id_id", "project_id", "id"),
)
"""Windows in which the clock starts nothing: of a whole project, or of its workflows with a label."""

backfills = Table(
    "backfills",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("workflow_id", Id, ForeignKey("workflows.id"), nullable=False),
    Column("trigger_id", Id, ForeignKey("triggers.id"), nullable=False),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant, nullable=False),
    Column("only_missing", Boolean, nullable=False),
    Column("max_parallel", Integer, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    # Due times before it are handled; null when all are.
    Column("next_at", Instant),
    Column("total", Integer, nullable=False),
    Column("started", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("finished_at", Instant),
    *_state_checks(BackfillState, FINAL_BACKFILL_STATES),
    CheckConstraint("from_at < to_at", name="range"),
    CheckConstraint("max_parallel > 0", name="max_parallel"),
    Index("ix_backfills_project_id_id", "project_id", "id"),
    Index("ix_backfills_trigger_id", "trigger_id"),
    # The leader looks for work here and nowhere else.
    Index(
        "ix_backfills_open",
        "id",
        postgresql_where=text("state in ('running', 'cancelling')"),
        sqlite_where=text("state in ('running', 'cancelling')"),
    ),
)
"""Ranges of past due times of a trigger that somebody wants runs for."""
calendars = Table(
    "calendars",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("definition", Text, nullable=False),
    # Of iCalendar texts: the text, and the days that it has in a window of years.
    Column("source", Text),
    Column("days", Text),
    Column("days_first", Text),
    Column("days_last", Text),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("fetched_at", Instant),
    Column("refresh_at", Instant),
    Column("error", Text),
    Column("version", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("project_id", "name"),
    CheckConstraint("kind in ('business_days', 'dates', 'holidays', 'ics')", name="kind"),
    CheckConstraint("(kind = 'ics') = (days is not null)", name="ics_has_days"),
    Index(
        "ix_calendars_refresh",
        "refresh_at",
        postgresql_where=text("refresh_at is not null"),
        sqlite_where=text("refresh_at is not null"),
    ),
)
"""``version`` counts the changes of what days there are, so that a process knows whether those it remembers still
hold."""

ledger = Table(
    "ledger",
    metadata,
    Column("trigger_id", Id, primary_key=True),
    Column("due_at", Instant, primary_key=True),
    Column("project_id", Id, nullable=False),
    Column("workflow_id", Id, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("run_id", Id),
    Column("decided_at", Instant, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    CheckConstraint("outcome in ('fired', 'missed', 'skipped')", name="outcome"),
    Index("ix_ledger_project_id_due_at", "project_id", "due_at"),
    Index("ix_ledger_workflow_id_due_at", "workflow_id", "due_at"),
    # The key has the due time, so a due time is still decided once however the table is cut.
    postgresql_partition_by="RANGE (due_at)",
)

expectations = Table(
    "expectations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("workflow_id", Id, ForeignKey("workflows.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("expression", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("within_seconds", Integer),
    Column("active", Boolean, nullable=False),
    Column("next_at", Instant),
    Column("last_at", Instant),
    Column("last_result", Text),
    Column("error", Text),
    CheckConstraint(f"state in ({_listed(ExpectedState)})", name="state"),
    CheckConstraint(f"last_result in ({_listed(Verdict)})", name="last_result"),
    CheckConstraint("(last_at is null) = (last_result is null)", name="last_at"),
    UniqueConstraint("workflow_id", "name"),
    Index(
        "ix_expectations_due",
        "next_at",
        postgresql_where=text("active and next_at is not null"),
        sqlite_where=text("active and next_at is not null"),
    ),
)
"""Deadlines by which a run must have come to something; ``last_at`` is the last one that was judged."""

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("expression", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("grace_seconds", Integer, nullable=False),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("next_at", Instant),
    Column("last_ping_at", Instant),
    Column("started_at", Instant),
    Column("took_ms", BigInteger),
    Column("last_signal", Text),
    Column("last_signal_at", Instant),
    Column("last_message", Text),
    Column("message_truncated", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    CheckConstraint("kind in ('every', 'schedule')", name="kind"),
    CheckConstraint(f"state in ({_listed(STORED_STATES)})", name="state"),
    CheckConstraint("(next_at is not null) = (state in ('new', 'up'))", name="awaited"),
    UniqueConstraint("project_id", "name"),
    Index(
        "ix_heartbeats_due",
        "next_at",
        postgresql_where=text("next_at is not null"),
        sqlite_where=text("next_at is not null"),
    ),
)
"""Jobs that live elsewhere and say that they live. ``due_at`` is when the next ping is due, ``next_at`` the end of its
grace, while one is awaited."""

alerts = Table(
    "alerts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, nullable=False),
    Column("kind", Text, nullable=False),
    Column("source_id", Id, nullable=False),
    Column("deadline_at", Instant, nullable=False),
    Column("workflow_id", Id),
    Column("heartbeat", Text),
    Column("key", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("resolved_at", Instant),
    # A deadline is judged once, whoever judges it and however often.
    UniqueConstraint("source_id", "deadline_at", "kind"),
    Index("ix_alerts_project_id_id", "project_id", "id"),
    Index(
        "ix_alerts_workflow_id_id",
        "workflow_id",
        "id",
        postgresql_where=text("workflow_id is not null"),
        sqlite_where=text("workflow_id is not null"),
    ),
    Index(
        "ix_alerts_open",
        "source_id",
        postgresql_where=text("resolved_at is null"),
        sqlite_where=text("resolved_at is null"),
    ),
    Index(
        "ix_alerts_open_of_project",
        "project_id",
        "id",
        postgresql_where=text("resolved_at is null"),
        sqlite_where=text("resolved_at is null"),
    ),
)
"""What somebody must be told of. ``source_id`` is the expectation or heartbeat, ``key`` its name for people and
programs, which stays the same from alert to alert. ``deadline_at`` is what was missed, or the moment of what has no
deadline. An alert is open until ``resolved_at``."""

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", Id, nullable=False),
    Column("workflow_id", Id, nullable=False),
    Column("version_id", Id, nullable=False),
    Column("state", Text, nullable=False),
    Column("trigger_id", Id),
    Column("due_at", Instant),
    Column("scheduled_for", Text),
    Column("started_by", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("slot_key", Text),
    Column("tasks_total", Integer, nullable=False),
    Column("tasks_left", Integer, nullable=False),
    Column("tasks_failed", Integer, nullable=False),
    Column("tasks_cancelled", Integer, nullable=False),
    Column("stop_reason", Text),
    Column("error", Text),
    Column("parent_task_run_id", Id),
    Column("depth", SmallInteger, nullable=False),
    Column("rerun_of", Id),
    Column("traceparent", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("deadline_at", Instant),
    Column("finished_at", Instant),
    Column("backfill_id", Id),
    *_state_checks(RunState, FINAL_RUN_STATES),
    CheckConstraint("tasks_left between 0 and tasks_total", name="tasks_left"),
    UniqueConstraint("trigger_id", "due_at"),
    # A due time has at most one run in each backfill; partial, so that other runs are not in it.
    Index(
        "uq_runs_backfill_id_due_at",
        "backfill_id",
        "due_at",
        unique=True,
        postgresql_where=text("backfill_id is not null"),
        sqlite_where=text("backfill_id is not null"),
    ),
    Index(
        "ix_runs_live_of_backfill",
        "backfill_id",
        postgresql_where=text("backfill_id is not null and finished_at is null"),
        sqlite_where=text("backfill_id is not null and finished_at is null"),
    ),
    Index("ix_runs_project_id_id", "project_id", "id"),
    Index("ix_runs_workflow_id_id", "workflow_id", "id"),
    Index(
        "ix_runs_slot",
        "workflow_id",
        "slot_key",
        "id",
        postgresql_where=text("slot_key is not null and finished_at is null"),
        sqlite_where=text("slot_key is not null and finished_at is null"),
    ),
    Index(
        "ix_runs_live_of_trigger",
        "trigger_id",
        postgresql_where=text("trigger_id is not null and finished_at is null"),
        sqlite_where=text("trigger_id is not null and finished_at is null"),
    ),
    Index(
        "ix_runs_deadline",
        "deadline_at",
        postgresql_where=text("deadline_at is not null and finished_at is null"),
        sqlite_where=text("deadline_at is not null and finished_at is null"),
    ),
    Index(
        "ix_runs_parent",
        "parent_task_run_id",
        postgresql_where=text("parent_task_run_id is not null"),
        sqlite_where=text("parent_task_run_id is not null"),
    ),
    # Whether a run came to something in a span of time is one look, however long the history and however many failed.
    Index(
        "ix_runs_ended",
        "workflow_id",
        "state",
        "finished_at",
        postgresql_where=text("finished_at is not null"),
        sqlite_where=text("finished_at is not null"),
    ),
    Index(
        "ix_runs_started",
        "workflow_id",
        "started_at",
        postgresql_where=text("started_at is not null"),
        sqlite_where=text("started_at is not null"),
    ),
    # Rows are updated twice in a short life; room on the page keeps those updates off the indexes.
    postgresql_with={"fillfactor": 70},
)

task_runs = Table(
    "task_runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", Id, nullable=False),
    Column("project_id", Id, nullable=False),
    Column("task", Text, nullable=False),
    Column("item_index", Integer, nullable=False),
    Column("group_id", Id),
    Column("state", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("needs_left", Integer, nullable=False),
    Column("needs_failed", Integer, nullable=False),
    Column("needs_skipped", Integer, nullable=False),
    Column("claim_no", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker_losses", Integer, nullable=False),
    Column("worker_id", Id),
    Column("cancel_requested", Boolean, nullable=False),
    Column("item", Text),
    Column("output", Text),
    Column("error", Text),
    Column("child_run_id", Id),
    Column("wake_at", Instant),
    Column("created_at", Instant, nullable=False),
    Column("ready_at", Instant),
    Column("hinted_at", Instant),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    *_state_checks(TaskState, FINAL_TASK_STATES),
    CheckConstraint("needs_left >= 0", name="needs_left"),
    CheckConstraint("(worker_id is not null) or (state <> 'running')", name="running_has_worker"),
    UniqueConstraint("run_id", "task", "item_index"),
    Index(
        "ix_task_runs_claimable",
        "ready_at",
        postgresql_where=text("state in ('ready', 'queued')"),
        sqlite_where=text("state in ('ready', 'queued')"),
    ),
    Index(
        "ix_task_runs_wake",
        "wake_at",
        postgresql_where=text("state in ('waiting', 'retrying') and wake_at is not null"),
        sqlite_where=text("state in ('waiting', 'retrying') and wake_at is not null"),
    ),
    Index(
        "ix_task_runs_running",
        "worker_id",
        postgresql_where=text("state = 'running'"),
        sqlite_where=text("state = 'running'"),
    ),
    Index(
        "ix_task_runs_group",
        "group_id",
        "item_index",
        postgresql_where=text("group_id is not null"),
        sqlite_where=text("group_id is not null"),
    ),
    postgresql_with={"fillfactor": 70},
)

attempts = Table(
    "attempts",
    metadata,
    Column("task_run_id", Id, primary_key=True),
    Column("claim_no", Integer, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("worker_id", Id),
    Column("outcome", Text, nullable=False),
    Column("error", Text),
    Column("started_at", Instant),
    Column("finished_at", Instant, nullable=False),
    postgresql_partition_by="RANGE (task_run_id)",
)
"""Attempts that were followed by another; the last attempt of a task run is in its own row."""

slots = Table(
    "slots",
    metadata,
    Column("workflow_id", Id, primary_key=True),
    Column("slot_key", Text, primary_key=True),
    Column("live", Integer, nullable=False),
    Column("left_at", Instant),
    CheckConstraint("live >= 0", name="live"),
)
"""How many runs hold a concurrency key, and when the last one that nobody followed at once let go of it; its row lock
orders everything that concerns the key."""

workers = Table(
    "workers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("queues", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("lease_until", Instant, nullable=False),
    CheckConstraint("state in ('active', 'draining', 'gone', 'lost')", name="state"),
    Index(
        "ix_workers_lease",
        "lease_until",
        postgresql_where=text("state in ('active', 'draining')"),
        sqlite_where=text("state in ('active', 'draining')"),
    ),
)

leadership = Table(
    "leadership",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("lease_until", Instant, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("project_id", Id, primary_key=True),
    Column("principal", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("route", Text, nullable=False),
    Column("request_hash", Text, nullable=False),
    Column("run_id", Id),
    Column("status", Integer),
    Column("body", LargeBinary),
    Column("created_at", Instant, nullable=False),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

log_chunks = Table(
    "log_chunks",
    metadata,
    Column("task_run_id", Id, primary_key=True),
    Column("claim_no", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("run_id", Id, nullable=False),
    Column("project_id", Id, nullable=False),
    Column("stream", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("truncated", Boolean, nullable=False),
    Index("ix_log_chunks_run_id", "run_id", "at", "task_run_id", "claim_no", "seq"),
    postgresql_partition_by="RANGE (task_run_id)",
)
