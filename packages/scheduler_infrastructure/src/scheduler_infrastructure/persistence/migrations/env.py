"""Alembic's entry point; the caller hands in an open connection."""

from alembic import context

from scheduler_infrastructure.persistence.history_tables import history_metadata
from scheduler_infrastructure.persistence.partitions import is_partition
from scheduler_infrastructure.persistence.tables import metadata

connection = context.config.attributes["connection"]


def _is_compared(name: str | None, kind: str, _parents: object) -> bool:
    """Partitions are made and dropped as time goes by."""
    return kind != "table" or not is_partition(name or "")


context.configure(
    connection=connection,
    target_metadata=[metadata, history_metadata] if connection.dialect.name == "postgresql" else metadata,
    include_name=_is_compared,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
