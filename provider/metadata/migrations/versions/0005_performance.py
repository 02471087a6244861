"""Performance reports: metrics of deployed models by true values, and estimates of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from windsock.provider.metadata.columns import JsonObject, Key, Name, Serial, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLE = "windsock_performance_report"


def upgrade() -> None:
    op.create_table(
        _TABLE,
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("key", Key, nullable=False),
        sa.Column("model", Name, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("deployment", Name, nullable=True),
        sa.Column("window_start", UtcDateTime, nullable=True),
        sa.Column("window_end", UtcDateTime, nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("labelled", sa.BigInteger(), nullable=False),
        sa.Column("mature", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("metrics", JsonObject, nullable=False),
        sa.Column("report_uri", sa.String(length=1024), nullable=True),
        sa.Column("step_run", Key, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_windsock_performance_report")),
        sa.UniqueConstraint("key", name=op.f("uq_windsock_performance_report_key")),
        sqlite_autoincrement=True,
    )
    for name, columns in (
        ("created", ["created_at", "id"]),
        ("model", ["model", "id"]),
        ("deployment", ["deployment", "id"]),
        ("model_created", ["model", "created_at", "id"]),
        ("deployment_created", ["deployment", "created_at", "id"]),
    ):
        op.create_index(f"ix_{_TABLE}_{name}", _TABLE, columns)


def downgrade() -> None:
    op.drop_table(_TABLE)
