"""Where finished runs are kept on PostgreSQL, and the views through which everybody reads runs wherever they are.

SQLite has no history tables: there the views are the live tables.
"""

from sqlalchemy import Column, Index, MetaData, Table, text

from scheduler_infrastructure.persistence.tables import metadata, runs, task_runs

history_metadata = MetaData(naming_convention=metadata.naming_convention)
"""Tables that exist on PostgreSQL only."""

_view_metadata = MetaData()


def _columns(table: Table, *, key: tuple[str, ...] = ()) -> list[Column[object]]:
    return [Column(c.name, c.type, primary_key=c.name in key, nullable=c.nullable) for c in table.columns]


run_history = Table(
    "run_history",
    history_metadata,
    *_columns(runs, key=("id",)),
    Index("ix_run_history_project_id_id", "project_id", "id"),
    Index("ix_run_history_workflow_id_id", "workflow_id", "id"),
    # Lists of the runs in a rare state walk these, not the whole history.
    Index("ix_run_history_project_id_state_id", "project_id", "state", "id"),
    Index("ix_run_history_workflow_id_state_id", "workflow_id", "state", "id"),
    # Deadlines ask whether a run came to something in a span of time.
    Index("ix_run_history_ended", "workflow_id", "state", "finished_at"),
    Index("ix_run_history_started", "workflow_id", "started_at", postgresql_where=text("started_at is not null")),
    Index("ix_run_history_trigger", "trigger_id", "id", postgresql_where=text("trigger_id is not null")),
    Index("ix_run_history_backfill", "backfill_id", "due_at", postgresql_where=text("backfill_id is not null")),
    postgresql_partition_by="RANGE (id)",
)
"""Runs that ended a while ago; no row is ever changed."""

task_run_history = Table(
    "task_run_history",
    history_metadata,
    *_columns(task_runs, key=("run_id", "id")),
    Index("ix_task_run_history_id", "id"),
    postgresql_partition_by="RANGE (run_id)",
)
"""The task runs of the runs in `run_history`, in partitions of the same bounds, so that a run's go when it goes."""

all_runs = Table("all_runs", _view_metadata, *_columns(runs))
all_task_runs = Table("all_task_runs", _view_metadata, *_columns(task_runs))

VIEWS = {"all_runs": ("runs", "run_history"), "all_task_runs": ("task_runs", "task_run_history")}
"""Each view with its live table and its history."""
