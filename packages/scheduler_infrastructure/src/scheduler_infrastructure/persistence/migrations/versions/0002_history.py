"""Cost follows work: finished runs have tables of their own, cut by time, and so have ledger, attempts and logs.

The tables of 0001 become the first partitions of the new ones, so nothing is copied. Runs stay where they are: the
leader moves those that are finished, page by page.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ORIGIN = datetime(2018, 1, 1, tzinfo=UTC)
_WEEK = 7 * 86_400

# table, key of its partitions, weeks of one, primary key, other indexes
_CUT: tuple[tuple[str, str, int, str, dict[str, str]], ...] = (
    ("attempts", "task_run_id", 1, "task_run_id, claim_no", {}),
    (
        "log_chunks",
        "task_run_id",
        1,
        "task_run_id, claim_no, seq",
        {"ix_log_chunks_run_id": "run_id, at, task_run_id, claim_no, seq"},
    ),
    (
        "ledger",
        "due_at",
        4,
        "trigger_id, due_at",
        {
            "ix_ledger_project_id_due_at": "project_id, due_at",
            "ix_ledger_workflow_id_due_at": "workflow_id, due_at",
        },
    ),
)

_HISTORY_INDEXES = {
    "run_history": {
        "ix_run_history_project_id_id": "(project_id, id)",
        "ix_run_history_workflow_id_id": "(workflow_id, id)",
        "ix_run_history_project_id_state_id": "(project_id, state, id)",
        "ix_run_history_workflow_id_state_id": "(workflow_id, state, id)",
        "ix_run_history_ended": "(workflow_id, state, finished_at)",
        "ix_run_history_started": "(workflow_id, started_at) where started_at is not null",
        "ix_run_history_trigger": "(trigger_id, id) where trigger_id is not null",
        "ix_run_history_backfill": "(backfill_id, due_at) where backfill_id is not null",
    },
    "task_run_history": {"ix_task_run_history_id": "(id)"},
}

_VIEWS = {"all_runs": ("runs", "run_history"), "all_task_runs": ("task_runs", "task_run_history")}


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for view, (live, _) in _VIEWS.items():
            op.execute(f"create view {view} as select * from {live}")  # noqa: S608
        return
    for table, key, weeks, primary, indexes in _CUT:
        _cut(table, key, weeks, primary, indexes)
    _make_history()
    for view, (live, history) in _VIEWS.items():
        op.execute(f"create view {view} as select * from {live} union all select * from {history}")  # noqa: S608


def downgrade() -> None:
    for view in _VIEWS:
        op.execute(f"drop view {view}")
    if op.get_bind().dialect.name == "sqlite":
        return
    for live, history in _VIEWS.values():
        op.execute(f"insert into {live} select * from {history}")  # noqa: S608
        op.execute(f"drop table {history}")
    for table, _, _, primary, indexes in _CUT:
        _join(table, primary, indexes)


def _cut(table: str, key: str, weeks: int, primary: str, indexes: dict[str, str]) -> None:
    end = _end(table, key, weeks * _WEEK)
    first = f"{table}_to_{end:%Y%m%d}"
    op.execute(f"alter table {table} rename to {first}")
    op.execute(f"alter table {first} rename constraint pk_{table} to {first}_pkey")
    for name in indexes:
        op.execute(f"alter index {name} rename to {name.replace(f'ix_{table}', f'ix_{first}')}")
    op.execute(
        f"create table {table} (like {first} including defaults including constraints) partition by range ({key})"
    )
    op.execute(f"alter table {table} add constraint pk_{table} primary key ({primary})")
    for name, columns in indexes.items():
        op.execute(f"create index {name} on {table} ({columns})")
    until = f"'{end:%Y-%m-%d} 00:00:00+00'" if key == "due_at" else f"'{_first_id(end)}'"
    op.execute(f"alter table {table} attach partition {first} for values from (minvalue) to ({until})")
    op.execute(f"create table {table}_rest partition of {table} default")


def _end(table: str, key: str, width: int) -> datetime:
    """The end of the first partition: after everything that there is."""
    if key == "due_at":
        last = op.get_bind().scalar(sa.text(f"select max({key}) from {table}"))  # noqa: S608 - ours
    else:
        text = op.get_bind().scalar(sa.text(f"select {key} from {table} order by {key} desc limit 1"))  # noqa: S608
        last = datetime.fromtimestamp(int(str(text).replace("-", "")[:12], 16) / 1_000, UTC) if text else None
    now = op.get_bind().scalar(sa.text("select clock_timestamp()"))
    seconds = (max(now, last or now) - _ORIGIN).total_seconds()
    return datetime.fromtimestamp(_ORIGIN.timestamp() + (seconds // width + 1) * width, UTC)


def _first_id(moment: datetime) -> str:
    digits = f"{int(moment.timestamp() * 1_000):012x}"
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"


def _make_history() -> None:
    for table, live, key, primary in (
        ("run_history", "runs", "id", "id"),
        ("task_run_history", "task_runs", "run_id", "run_id, id"),
    ):
        op.execute(f"create table {table} (like {live}) partition by range ({key})")
        op.execute(f"alter table {table} add constraint pk_{table} primary key ({primary})")
        for name, columns in _HISTORY_INDEXES[table].items():
            op.execute(f"create index {name} on {table} {columns}")


def _join(table: str, primary: str, indexes: dict[str, str]) -> None:
    op.execute(f"create table {table}_whole (like {table} including defaults including constraints)")
    op.execute(f"insert into {table}_whole select * from {table}")  # noqa: S608
    op.execute(f"drop table {table}")
    op.execute(f"alter table {table}_whole rename to {table}")
    op.execute(f"alter table {table} add constraint pk_{table} primary key ({primary})")
    for name, columns in indexes.items():
        op.execute(f"create index {name} on {table} ({columns})")
