"""Answers to calls over REST that must not happen twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from windsock.provider.metadata.columns import JsonObject, Key, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "windsock_call",
        sa.Column("key", Key, nullable=False),
        sa.Column("method", sa.String(length=80), nullable=False),
        sa.Column("answer", JsonObject, nullable=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_windsock_call")),
    )
    op.create_index("ix_windsock_call_at", "windsock_call", ["at"], unique=False)


def downgrade() -> None:
    op.drop_table("windsock_call")
