"""Who gets a slot knows when the last run left it."""

import sqlalchemy as sa
from alembic import op

from scheduler_infrastructure.persistence.columns import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("slots", sa.Column("left_at", Instant(), nullable=True))


def downgrade() -> None:
    op.drop_column("slots", "left_at")
