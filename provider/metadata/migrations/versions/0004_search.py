"""What lists and searches are filtered by: indexes, and tables of the values that used to be in JSON only.

The values of runs and of model versions that are there already are taken over.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from windsock.provider.metadata.columns import JsonObject, Key, Name, Number, UtcDateTime
from windsock.provider.metadata.terms import values_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BATCH = 1000
_LATEST: dict[str, Any] = {"sqlite_where": sa.text("latest = 1"), "postgresql_where": sa.text("latest")}
_ADDED = {
    "ix_windsock_run_dag_state": ("windsock_run", ["dag_id", "state", "started_at", "id"]),
    "ix_windsock_run_stack": ("windsock_run", ["stack", "started_at", "id"]),
    "ix_windsock_artifact_version_created": ("windsock_artifact_version", ["created_at", "id"]),
    "ix_windsock_artifact_version_type": ("windsock_artifact_version", ["type", "created_at", "id"]),
    "ix_windsock_artifact_version_producer": ("windsock_artifact_version", ["producer", "created_at", "id"]),
    "ix_windsock_artifact_version_size": ("windsock_artifact_version", ["size", "id"]),
    "ix_windsock_model_version_created": ("windsock_model_version", ["created_at", "model", "version"]),
    "ix_windsock_deployment_model_name": ("windsock_deployment", ["model", "name"]),
    "ix_windsock_deployment_phase": ("windsock_deployment", ["phase", "name"]),
    "ix_windsock_deployment_stack": ("windsock_deployment", ["stack", "name"]),
    "ix_windsock_drift_report_created": ("windsock_drift_report", ["created_at", "id"]),
    "ix_windsock_drift_report_model_created": ("windsock_drift_report", ["model", "created_at", "id"]),
    "ix_windsock_drift_report_deployment_created": ("windsock_drift_report", ["deployment", "created_at", "id"]),
    "ix_windsock_drift_report_drifted_created": ("windsock_drift_report", ["drifted", "created_at", "id"]),
    "ix_windsock_audit_event_at": ("windsock_audit_event", ["at", "id"]),
    "ix_windsock_audit_event_actor": ("windsock_audit_event", ["actor", "at", "id"]),
    "ix_windsock_audit_event_action": ("windsock_audit_event", ["action", "at", "id"]),
    "ix_windsock_audit_event_subject": ("windsock_audit_event", ["subject_kind", "subject", "at", "id"]),
}
_BY_BYTES = {
    "ix_windsock_artifact_prefix": "windsock_artifact",
    "ix_windsock_model_prefix": "windsock_model",
    "ix_windsock_deployment_prefix": "windsock_deployment",
}
_REPLACED = {
    "ix_windsock_artifact_version_type": ("windsock_artifact_version", ["type", "id"]),
    "ix_windsock_audit_event_subject": ("windsock_audit_event", ["subject_kind", "subject", "id"]),
}


def upgrade() -> None:
    for name, (table, _) in _REPLACED.items():
        op.drop_index(name, table)
    for name, (table, columns) in _ADDED.items():
        op.create_index(name, table, columns)
    for name, table in _BY_BYTES.items():
        op.create_index(name, table, ["name"], postgresql_ops={"name": "text_pattern_ops"})
    _make_run_parameter()
    _make_model_version_value()
    _take_over()
    _mark_latest_metrics()
    op.create_index("ix_windsock_metric_value", "windsock_metric", ["key", "value", "step_run"], **_LATEST)
    op.create_index("ix_windsock_metric_of_step", "windsock_metric", ["step_run", "key", "value"], **_LATEST)


def downgrade() -> None:
    _drop_metric_index("ix_windsock_metric_of_step")
    _drop_metric_index("ix_windsock_metric_value")
    if op.get_context().dialect.name == "sqlite":
        _rebuild_metric(latest=False)
    else:
        op.drop_column("windsock_metric", "latest")
    op.drop_table("windsock_model_version_value")
    op.drop_table("windsock_run_parameter")
    for name, table in _BY_BYTES.items():
        op.drop_index(name, table)
    for name, (table, _) in _ADDED.items():
        op.drop_index(name, table)
    for name, (table, columns) in _REPLACED.items():
        op.create_index(name, table, columns)


def _drop_metric_index(name: str) -> None:
    op.drop_index(name, "windsock_metric")


def _make_run_parameter() -> None:
    op.create_table(
        "windsock_run_parameter",
        sa.Column("run", Key, nullable=False),
        sa.Column("name", Name, nullable=False),
        sa.Column("number", Number, nullable=True),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["run"], ["windsock_run.id"], name=op.f("fk_windsock_run_parameter_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run", "name", name=op.f("pk_windsock_run_parameter")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_windsock_run_parameter_number", "windsock_run_parameter", ["name", "number", "run"])
    op.create_index("ix_windsock_run_parameter_text", "windsock_run_parameter", ["name", "text", "run"])


def _make_model_version_value() -> None:
    table = "windsock_model_version_value"
    op.create_table(
        table,
        sa.Column("model", Name, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=9), nullable=False, comment="metric, parameter or tag"),
        sa.Column("name", Name, nullable=False),
        sa.Column("number", Number, nullable=True),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["windsock_model_version.model", "windsock_model_version.version"],
            name=op.f("fk_windsock_model_version_value_model_version"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model", "version", "kind", "name", name=op.f("pk_windsock_model_version_value")),
        sqlite_with_rowid=False,
    )
    op.create_index(f"ix_{table}_number", table, ["kind", "name", "number", "model", "version"])
    op.create_index(f"ix_{table}_text", table, ["kind", "name", "text", "model", "version"])


def _take_over() -> None:
    """Fill the two tables from the JSON, a thousand rows at a time."""
    connection = op.get_bind()
    for table in ("windsock_run_parameter", "windsock_model_version_value"):  # where a killed upgrade began
        connection.execute(sa.delete(sa.table(table)))
    run = sa.table("windsock_run", sa.column("id", Key), sa.column("parameters", JsonObject))
    parameter = _values_table("windsock_run_parameter", "run")
    last = ""
    while rows := connection.execute(sa.select(run).where(run.c.id > last).order_by(run.c.id).limit(_BATCH)).all():
        last = rows[-1].id
        if found := [{"run": row.id, **value} for row in rows for value in values_of(row.parameters)]:
            connection.execute(sa.insert(parameter), found)
    version = sa.table(
        "windsock_model_version",
        sa.column("model", Name),
        sa.column("version", sa.Integer),
        *(sa.column(name, JsonObject) for name in ("metrics", "parameters", "tags")),
    )
    value_table = _values_table("windsock_model_version_value", "model", "version", "kind")
    place = ("", 0)
    key = sa.tuple_(version.c.model, version.c.version)
    statement = sa.select(version).order_by(version.c.model, version.c.version).limit(_BATCH)
    while rows := connection.execute(statement.where(key > sa.tuple_(*map(sa.literal, place)))).all():
        place = (rows[-1].model, rows[-1].version)
        found = [
            {"model": row.model, "version": row.version, "kind": kind, **value}
            for row in rows
            for kind, given in (("metric", row.metrics), ("parameter", row.parameters), ("tag", row.tags))
            for value in values_of(given)
        ]
        if found:
            connection.execute(sa.insert(value_table), found)


def _values_table(name: str, *keys: str) -> sa.TableClause:
    columns: list[sa.ColumnClause[Any]] = [sa.column(key) for key in (*keys, "name", "text")]
    return sa.table(name, *columns, sa.column("number", Number))


def _mark_latest_metrics() -> None:
    if op.get_context().dialect.name == "sqlite":
        _rebuild_metric(latest=True)
        return
    op.add_column(
        "windsock_metric", sa.Column("latest", sa.Boolean(), nullable=True, comment="the last value of its key")
    )
    metric = sa.table(
        "windsock_metric", *map(sa.column, ("step_run", "position", "key")), sa.column("latest", sa.Boolean)
    )
    last = (
        sa.select(metric.c.step_run, sa.func.max(metric.c.position).label("position"))
        .group_by(metric.c.step_run, metric.c.key)
        .subquery("last")
    )
    op.execute(sa.update(metric).values(latest=sa.false()))
    is_last = (metric.c.step_run == last.c.step_run) & (metric.c.position == last.c.position)
    op.execute(sa.update(metric).where(is_last).values(latest=sa.true()))
    op.alter_column(
        "windsock_metric",
        "latest",
        existing_type=sa.Boolean(),
        existing_comment="the last value of its key",
        nullable=False,
    )


def _rebuild_metric(*, latest: bool) -> None:
    """SQLite cannot add a column that must not be NULL to a table with rows: made again, in one pass over the rows."""
    op.rename_table("windsock_metric", "windsock_metric_old")
    added: list[sa.Column[Any]] = [sa.Column("latest", sa.Boolean(), nullable=False)] if latest else []
    op.create_table(
        "windsock_metric",
        sa.Column("step_run", Key, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", Name, nullable=False),
        sa.Column("value", Number, nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("at", UtcDateTime, nullable=False),
        *added,
        sa.ForeignKeyConstraint(["step_run"], ["windsock_step_run.id"], name=op.f("fk_windsock_metric_step_run")),
        sa.PrimaryKeyConstraint("step_run", "position", name=op.f("pk_windsock_metric")),
        sqlite_with_rowid=False,
    )
    marked = ", position = max(position) OVER (PARTITION BY step_run, key)" if latest else ""
    op.execute(
        "INSERT INTO windsock_metric "  # noqa: S608 - no value of anybody's
        f"SELECT step_run, position, key, value, step, at{marked} FROM windsock_metric_old"
    )
    op.drop_table("windsock_metric_old")
