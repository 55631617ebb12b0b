"""The first schema: projects, workflows, triggers and their ledger, runs, workers, logs."""

import sqlalchemy as sa
from alembic import op

from scheduler_infrastructure.persistence.columns import Id, Instant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source_id", Id(), nullable=False),
        sa.Column("deadline_at", Instant(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=True),
        sa.Column("heartbeat", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("resolved_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("source_id", "deadline_at", "kind", name=op.f("uq_alerts_source_id_deadline_at_kind")),
    )
    op.create_index(
        "ix_alerts_open",
        "alerts",
        ["source_id"],
        unique=False,
        postgresql_where=sa.text("resolved_at is null"),
        sqlite_where=sa.text("resolved_at is null"),
    )
    op.create_index(
        "ix_alerts_open_of_project",
        "alerts",
        ["project_id", "id"],
        unique=False,
        postgresql_where=sa.text("resolved_at is null"),
        sqlite_where=sa.text("resolved_at is null"),
    )
    op.create_index("ix_alerts_project_id_id", "alerts", ["project_id", "id"], unique=False)
    op.create_index(
        "ix_alerts_workflow_id_id",
        "alerts",
        ["workflow_id", "id"],
        unique=False,
        postgresql_where=sa.text("workflow_id is not null"),
        sqlite_where=sa.text("workflow_id is not null"),
    )
    op.create_table(
        "attempts",
        sa.Column("task_run_id", Id(), nullable=False),
        sa.Column("claim_no", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker_id", Id(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("task_run_id", "claim_no", name=op.f("pk_attempts")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("run_id", Id(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "principal", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "leadership",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leadership")),
    )
    op.create_table(
        "ledger",
        sa.Column("trigger_id", Id(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("run_id", Id(), nullable=True),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("outcome in ('fired', 'missed', 'skipped')", name=op.f("ck_ledger_outcome")),
        sa.PrimaryKeyConstraint("trigger_id", "due_at", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_project_id_due_at", "ledger", ["project_id", "due_at"], unique=False)
    op.create_index("ix_ledger_workflow_id_due_at", "ledger", ["workflow_id", "due_at"], unique=False)
    op.create_table(
        "log_chunks",
        sa.Column("task_run_id", Id(), nullable=False),
        sa.Column("claim_no", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("task_run_id", "claim_no", "seq", name=op.f("pk_log_chunks")),
    )
    op.create_index(
        "ix_log_chunks_run_id", "log_chunks", ["run_id", "at", "task_run_id", "claim_no", "seq"], unique=False
    )
    op.create_table(
        "projects",
        sa.Column("id", Id(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_table(
        "runs",
        sa.Column("id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("version_id", Id(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("trigger_id", Id(), nullable=True),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("scheduled_for", sa.Text(), nullable=True),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("slot_key", sa.Text(), nullable=True),
        sa.Column("tasks_total", sa.Integer(), nullable=False),
        sa.Column("tasks_left", sa.Integer(), nullable=False),
        sa.Column("tasks_failed", sa.Integer(), nullable=False),
        sa.Column("tasks_cancelled", sa.Integer(), nullable=False),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("parent_task_run_id", Id(), nullable=True),
        sa.Column("depth", sa.SmallInteger(), nullable=False),
        sa.Column("rerun_of", Id(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("deadline_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("backfill_id", Id(), nullable=True),
        sa.CheckConstraint(
            "(finished_at is null) = (state not in ('cancelled', 'failed', 'succeeded', 'timed_out'))",
            name=op.f("ck_runs_finished_when_final"),
        ),
        sa.CheckConstraint(
            "state in ('cancelled', 'cancelling', 'failed', 'pending', 'running', 'succeeded', 'timed_out')",
            name=op.f("ck_runs_state"),
        ),
        sa.CheckConstraint("tasks_left between 0 and tasks_total", name=op.f("ck_runs_tasks_left")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("trigger_id", "due_at", name=op.f("uq_runs_trigger_id_due_at")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ix_runs_deadline",
        "runs",
        ["deadline_at"],
        unique=False,
        postgresql_where=sa.text("deadline_at is not null and finished_at is null"),
        sqlite_where=sa.text("deadline_at is not null and finished_at is null"),
    )
    op.create_index(
        "ix_runs_ended",
        "runs",
        ["workflow_id", "state", "finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at is not null"),
        sqlite_where=sa.text("finished_at is not null"),
    )
    op.create_index(
        "ix_runs_live_of_backfill",
        "runs",
        ["backfill_id"],
        unique=False,
        postgresql_where=sa.text("backfill_id is not null and finished_at is null"),
        sqlite_where=sa.text("backfill_id is not null and finished_at is null"),
    )
    op.create_index(
        "ix_runs_live_of_trigger",
        "runs",
        ["trigger_id"],
        unique=False,
        postgresql_where=sa.text("trigger_id is not null and finished_at is null"),
        sqlite_where=sa.text("trigger_id is not null and finished_at is null"),
    )
    op.create_index(
        "ix_runs_parent",
        "runs",
        ["parent_task_run_id"],
        unique=False,
        postgresql_where=sa.text("parent_task_run_id is not null"),
        sqlite_where=sa.text("parent_task_run_id is not null"),
    )
    op.create_index("ix_runs_project_id_id", "runs", ["project_id", "id"], unique=False)
    op.create_index(
        "ix_runs_slot",
        "runs",
        ["workflow_id", "slot_key", "id"],
        unique=False,
        postgresql_where=sa.text("slot_key is not null and finished_at is null"),
        sqlite_where=sa.text("slot_key is not null and finished_at is null"),
    )
    op.create_index(
        "ix_runs_started",
        "runs",
        ["workflow_id", "started_at"],
        unique=False,
        postgresql_where=sa.text("started_at is not null"),
        sqlite_where=sa.text("started_at is not null"),
    )
    op.create_index("ix_runs_workflow_id_id", "runs", ["workflow_id", "id"], unique=False)
    op.create_index(
        "uq_runs_backfill_id_due_at",
        "runs",
        ["backfill_id", "due_at"],
        unique=True,
        postgresql_where=sa.text("backfill_id is not null"),
        sqlite_where=sa.text("backfill_id is not null"),
    )
    op.create_table(
        "slots",
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("slot_key", sa.Text(), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False),
        sa.CheckConstraint("live >= 0", name=op.f("ck_slots_live")),
        sa.PrimaryKeyConstraint("workflow_id", "slot_key", name=op.f("pk_slots")),
    )
    op.create_table(
        "task_runs",
        sa.Column("id", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("item_index", sa.Integer(), nullable=False),
        sa.Column("group_id", Id(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("needs_left", sa.Integer(), nullable=False),
        sa.Column("needs_failed", sa.Integer(), nullable=False),
        sa.Column("needs_skipped", sa.Integer(), nullable=False),
        sa.Column("claim_no", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker_losses", sa.Integer(), nullable=False),
        sa.Column("worker_id", Id(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("item", sa.Text(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("child_run_id", Id(), nullable=True),
        sa.Column("wake_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("ready_at", Instant(), nullable=True),
        sa.Column("hinted_at", Instant(), nullable=True),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "(finished_at is null) = (state not in ('cancelled', 'failed', 'skipped', 'succeeded', 'timed_out'))",
            name=op.f("ck_task_runs_finished_when_final"),
        ),
        sa.CheckConstraint(
            "(worker_id is not null) or (state <> 'running')", name=op.f("ck_task_runs_running_has_worker")
        ),
        sa.CheckConstraint(
            "state in ('blocked', 'cancelled', 'failed', 'queued', 'ready', 'retrying', 'running', 'skipped', 'succeeded', 'timed_out', 'waiting')",
            name=op.f("ck_task_runs_state"),
        ),
        sa.CheckConstraint("needs_left >= 0", name=op.f("ck_task_runs_needs_left")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_runs")),
        sa.UniqueConstraint("run_id", "task", "item_index", name=op.f("uq_task_runs_run_id_task_item_index")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ix_task_runs_claimable",
        "task_runs",
        ["ready_at"],
        unique=False,
        postgresql_where=sa.text("state in ('ready', 'queued')"),
        sqlite_where=sa.text("state in ('ready', 'queued')"),
    )
    op.create_index(
        "ix_task_runs_group",
        "task_runs",
        ["group_id", "item_index"],
        unique=False,
        postgresql_where=sa.text("group_id is not null"),
        sqlite_where=sa.text("group_id is not null"),
    )
    op.create_index(
        "ix_task_runs_running",
        "task_runs",
        ["worker_id"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
        sqlite_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_task_runs_wake",
        "task_runs",
        ["wake_at"],
        unique=False,
        postgresql_where=sa.text("state in ('waiting', 'retrying') and wake_at is not null"),
        sqlite_where=sa.text("state in ('waiting', 'retrying') and wake_at is not null"),
    )
    op.create_table(
        "workers",
        sa.Column("id", Id(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("queues", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("lease_until", Instant(), nullable=False),
        sa.CheckConstraint("state in ('active', 'draining', 'gone', 'lost')", name=op.f("ck_workers_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index(
        "ix_workers_lease",
        "workers",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state in ('active', 'draining')"),
        sqlite_where=sa.text("state in ('active', 'draining')"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_api_keys_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_api_keys_project_id_name")),
    )
    op.create_table(
        "calendars",
        sa.Column("id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("days", sa.Text(), nullable=True),
        sa.Column("days_first", sa.Text(), nullable=True),
        sa.Column("days_last", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("last_modified", sa.Text(), nullable=True),
        sa.Column("fetched_at", Instant(), nullable=True),
        sa.Column("refresh_at", Instant(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.CheckConstraint("(kind = 'ics') = (days is not null)", name=op.f("ck_calendars_ics_has_days")),
        sa.CheckConstraint("kind in ('business_days', 'dates', 'holidays', 'ics')", name=op.f("ck_calendars_kind")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_calendars_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendars")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_calendars_project_id_name")),
    )
    op.create_index(
        "ix_calendars_refresh",
        "calendars",
        ["refresh_at"],
        unique=False,
        postgresql_where=sa.text("refresh_at is not null"),
        sqlite_where=sa.text("refresh_at is not null"),
    )
    op.create_table(
        "freezes",
        sa.Column("id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("starts_at", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False),
        sa.Column("lifted_at", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_freezes_window")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_freezes_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_freezes")),
    )
    op.create_index("ix_freezes_ends_at", "freezes", ["ends_at"], unique=False)
    op.create_index("ix_freezes_project_id_id", "freezes", ["project_id", "id"], unique=False)
    op.create_table(
        "heartbeats",
        sa.Column("id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("expression", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("grace_seconds", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("next_at", Instant(), nullable=True),
        sa.Column("last_ping_at", Instant(), nullable=True),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("took_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_signal", sa.Text(), nullable=True),
        sa.Column("last_signal_at", Instant(), nullable=True),
        sa.Column("last_message", sa.Text(), nullable=True),
        sa.Column("message_truncated", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.CheckConstraint("(next_at is not null) = (state in ('new', 'up'))", name=op.f("ck_heartbeats_awaited")),
        sa.CheckConstraint("kind in ('every', 'schedule')", name=op.f("ck_heartbeats_kind")),
        sa.CheckConstraint("state in ('down', 'new', 'paused', 'up')", name=op.f("ck_heartbeats_state")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_heartbeats_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_heartbeats")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_heartbeats_project_id_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_heartbeats_token_hash")),
    )
    op.create_index(
        "ix_heartbeats_due",
        "heartbeats",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("next_at is not null"),
        sqlite_where=sa.text("next_at is not null"),
    )
    op.create_table(
        "workflows",
        sa.Column("id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("labels", sa.Text(), server_default="[]", nullable=False),
        sa.Column("draft", sa.Text(), nullable=False),
        sa.Column("draft_digest", sa.Text(), nullable=False),
        sa.Column("live_version_id", Id(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("deleted_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_workflows_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflows")),
    )
    op.create_index(
        "uq_workflows_project_id_name",
        "workflows",
        ["project_id", "name"],
        unique=True,
        postgresql_where=sa.text("deleted_at is null"),
        sqlite_where=sa.text("deleted_at is null"),
    )
    op.create_table(
        "expectations",
        sa.Column("id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("expression", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("within_seconds", sa.Integer(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("next_at", Instant(), nullable=True),
        sa.Column("last_at", Instant(), nullable=True),
        sa.Column("last_result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("last_result in ('met', 'missed')", name=op.f("ck_expectations_last_result")),
        sa.CheckConstraint("state in ('finished', 'started', 'succeeded')", name=op.f("ck_expectations_state")),
        sa.CheckConstraint("(last_at is null) = (last_result is null)", name=op.f("ck_expectations_last_at")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_expectations_project_id")),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflows.id"], name=op.f("fk_expectations_workflow_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_expectations")),
        sa.UniqueConstraint("workflow_id", "name", name=op.f("uq_expectations_workflow_id_name")),
    )
    op.create_index(
        "ix_expectations_due",
        "expectations",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("active and next_at is not null"),
        sqlite_where=sa.text("active and next_at is not null"),
    )
    op.create_table(
        "triggers",
        sa.Column("id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("expression", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("anchor_at", Instant(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("next_at", Instant(), nullable=True),
        sa.Column("last_due_at", Instant(), nullable=True),
        sa.Column("skip_until", Instant(), nullable=True),
        sa.Column("frozen_by", Id(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_triggers_project_id")),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflows.id"], name=op.f("fk_triggers_workflow_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triggers")),
        sa.UniqueConstraint("workflow_id", "name", name=op.f("uq_triggers_workflow_id_name")),
    )
    op.create_index(
        "ix_triggers_due",
        "triggers",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("active and not paused and next_at is not null"),
        sqlite_where=sa.text("active and not paused and next_at is not null"),
    )
    op.create_index(
        "ix_triggers_frozen",
        "triggers",
        ["frozen_by"],
        unique=False,
        postgresql_where=sa.text("frozen_by is not null"),
        sqlite_where=sa.text("frozen_by is not null"),
    )
    op.create_index(
        "ix_triggers_project_due",
        "triggers",
        ["project_id", "next_at"],
        unique=False,
        postgresql_where=sa.text("active and not paused and next_at is not null"),
        sqlite_where=sa.text("active and not paused and next_at is not null"),
    )
    op.create_table(
        "versions",
        sa.Column("id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflows.id"], name=op.f("fk_versions_workflow_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        sa.UniqueConstraint("workflow_id", "number", name=op.f("uq_versions_workflow_id_number")),
    )
    op.create_table(
        "backfills",
        sa.Column("id", Id(), nullable=False),
        sa.Column("project_id", Id(), nullable=False),
        sa.Column("workflow_id", Id(), nullable=False),
        sa.Column("trigger_id", Id(), nullable=False),
        sa.Column("from_at", Instant(), nullable=False),
        sa.Column("to_at", Instant(), nullable=False),
        sa.Column("only_missing", sa.Boolean(), nullable=False),
        sa.Column("max_parallel", sa.Integer(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("next_at", Instant(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("started", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "(finished_at is null) = (state not in ('cancelled', 'finished'))",
            name=op.f("ck_backfills_finished_when_final"),
        ),
        sa.CheckConstraint(
            "state in ('cancelled', 'cancelling', 'finished', 'paused', 'running')", name=op.f("ck_backfills_state")
        ),
        sa.CheckConstraint("from_at < to_at", name=op.f("ck_backfills_range")),
        sa.CheckConstraint("max_parallel > 0", name=op.f("ck_backfills_max_parallel")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_backfills_project_id")),
        sa.ForeignKeyConstraint(["trigger_id"], ["triggers.id"], name=op.f("fk_backfills_trigger_id")),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflows.id"], name=op.f("fk_backfills_workflow_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfills")),
    )
    op.create_index(
        "ix_backfills_open",
        "backfills",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state in ('running', 'cancelling')"),
        sqlite_where=sa.text("state in ('running', 'cancelling')"),
    )
    op.create_index("ix_backfills_project_id_id", "backfills", ["project_id", "id"], unique=False)
    op.create_index("ix_backfills_trigger_id", "backfills", ["trigger_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_backfills_trigger_id", table_name="backfills")
    op.drop_index("ix_backfills_project_id_id", table_name="backfills")
    op.drop_index(
        "ix_backfills_open",
        table_name="backfills",
        postgresql_where=sa.text("state in ('running', 'cancelling')"),
        sqlite_where=sa.text("state in ('running', 'cancelling')"),
    )
    op.drop_table("backfills")
    op.drop_table("versions")
    op.drop_index(
        "ix_triggers_project_due",
        table_name="triggers",
        postgresql_where=sa.text("active and not paused and next_at is not null"),
        sqlite_where=sa.text("active and not paused and next_at is not null"),
    )
    op.drop_index(
        "ix_triggers_frozen",
        table_name="triggers",
        postgresql_where=sa.text("frozen_by is not null"),
        sqlite_where=sa.text("frozen_by is not null"),
    )
    op.drop_index(
        "ix_triggers_due",
        table_name="triggers",
        postgresql_where=sa.text("active and not paused and next_at is not null"),
        sqlite_where=sa.text("active and not paused and next_at is not null"),
    )
    op.drop_table("triggers")
    op.drop_index(
        "ix_expectations_due",
        table_name="expectations",
        postgresql_where=sa.text("active and next_at is not null"),
        sqlite_where=sa.text("active and next_at is not null"),
    )
    op.drop_table("expectations")
    op.drop_index(
        "uq_workflows_project_id_name",
        table_name="workflows",
        postgresql_where=sa.text("deleted_at is null"),
        sqlite_where=sa.text("deleted_at is null"),
    )
    op.drop_table("workflows")
    op.drop_index(
        "ix_heartbeats_due",
        table_name="heartbeats",
        postgresql_where=sa.text("next_at is not null"),
        sqlite_where=sa.text("next_at is not null"),
    )
    op.drop_table("heartbeats")
    op.drop_index("ix_freezes_project_id_id", table_name="freezes")
    op.drop_index("ix_freezes_ends_at", table_name="freezes")
    op.drop_table("freezes")
    op.drop_index(
        "ix_calendars_refresh",
        table_name="calendars",
        postgresql_where=sa.text("refresh_at is not null"),
        sqlite_where=sa.text("refresh_at is not null"),
    )
    op.drop_table("calendars")
    op.drop_table("api_keys")
    op.drop_index(
        "ix_workers_lease",
        table_name="workers",
        postgresql_where=sa.text("state in ('active', 'draining')"),
        sqlite_where=sa.text("state in ('active', 'draining')"),
    )
    op.drop_table("workers")
    op.drop_index(
        "ix_task_runs_wake",
        table_name="task_runs",
        postgresql_where=sa.text("state in ('waiting', 'retrying') and wake_at is not null"),
        sqlite_where=sa.text("state in ('waiting', 'retrying') and wake_at is not null"),
    )
    op.drop_index(
        "ix_task_runs_running",
        table_name="task_runs",
        postgresql_where=sa.text("state = 'running'"),
        sqlite_where=sa.text("state = 'running'"),
    )
    op.drop_index(
        "ix_task_runs_group",
        table_name="task_runs",
        postgresql_where=sa.text("group_id is not null"),
        sqlite_where=sa.text("group_id is not null"),
    )
    op.drop_index(
        "ix_task_runs_claimable",
        table_name="task_runs",
        postgresql_where=sa.text("state in ('ready', 'queued')"),
        sqlite_where=sa.text("state in ('ready', 'queued')"),
    )
    op.drop_table("task_runs")
    op.drop_table("slots")
    op.drop_index(
        "uq_runs_backfill_id_due_at",
        table_name="runs",
        postgresql_where=sa.text("backfill_id is not null"),
        sqlite_where=sa.text("backfill_id is not null"),
    )
    op.drop_index("ix_runs_workflow_id_id", table_name="runs")
    op.drop_index(
        "ix_runs_started",
        table_name="runs",
        postgresql_where=sa.text("started_at is not null"),
        sqlite_where=sa.text("started_at is not null"),
    )
    op.drop_index(
        "ix_runs_slot",
        table_name="runs",
        postgresql_where=sa.text("slot_key is not null and finished_at is null"),
        sqlite_where=sa.text("slot_key is not null and finished_at is null"),
    )
    op.drop_index("ix_runs_project_id_id", table_name="runs")
    op.drop_index(
        "ix_runs_parent",
        table_name="runs",
        postgresql_where=sa.text("parent_task_run_id is not null"),
        sqlite_where=sa.text("parent_task_run_id is not null"),
    )
    op.drop_index(
        "ix_runs_live_of_trigger",
        table_name="runs",
        postgresql_where=sa.text("trigger_id is not null and finished_at is null"),
        sqlite_where=sa.text("trigger_id is not null and finished_at is null"),
    )
    op.drop_index(
        "ix_runs_live_of_backfill",
        table_name="runs",
        postgresql_where=sa.text("backfill_id is not null and finished_at is null"),
        sqlite_where=sa.text("backfill_id is not null and finished_at is null"),
    )
    op.drop_index(
        "ix_runs_ended",
        table_name="runs",
        postgresql_where=sa.text("finished_at is not null"),
        sqlite_where=sa.text("finished_at is not null"),
    )
    op.drop_index(
        "ix_runs_deadline",
        table_name="runs",
        postgresql_where=sa.text("deadline_at is not null and finished_at is null"),
        sqlite_where=sa.text("deadline_at is not null and finished_at is null"),
    )
    op.drop_table("runs")
    op.drop_table("projects")
    op.drop_index("ix_log_chunks_run_id", table_name="log_chunks")
    op.drop_table("log_chunks")
    op.drop_index("ix_ledger_workflow_id_due_at", table_name="ledger")
    op.drop_index("ix_ledger_project_id_due_at", table_name="ledger")
    op.drop_table("ledger")
    op.drop_table("leadership")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_table("attempts")
    op.drop_index(
        "ix_alerts_workflow_id_id",
        table_name="alerts",
        postgresql_where=sa.text("workflow_id is not null"),
        sqlite_where=sa.text("workflow_id is not null"),
    )
    op.drop_index("ix_alerts_project_id_id", table_name="alerts")
    op.drop_index(
        "ix_alerts_open_of_project",
        table_name="alerts",
        postgresql_where=sa.text("resolved_at is null"),
        sqlite_where=sa.text("resolved_at is null"),
    )
    op.drop_index(
        "ix_alerts_open",
        table_name="alerts",
        postgresql_where=sa.text("resolved_at is null"),
        sqlite_where=sa.text("resolved_at is null"),
    )
    op.drop_table("alerts")
