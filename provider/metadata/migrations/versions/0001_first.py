"""The first schema.

Frozen: a later change is a later revision. ``tests/metadata/test_migrations.py`` compares what the revisions make with
``schema.py``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from windsock.provider.metadata.columns import JsonObject, Key, Name, Number, Serial, Source, Text, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _artifact()
    _audit_event()
    _drift_consumer()
    _drift_report()
    _model()
    _pipeline()
    _run()
    _alias_event()
    _drift_claim()
    _pipeline_version()
    _step_run()
    _artifact_version()
    _metric()
    _edge()
    _model_version()
    _alias()
    _deployment()
    _deployment_event()


def downgrade() -> None:
    for name in reversed(_TABLES):
        op.drop_table(name)


_TABLES = (
    "windsock_artifact",
    "windsock_audit_event",
    "windsock_drift_consumer",
    "windsock_drift_report",
    "windsock_model",
    "windsock_pipeline",
    "windsock_run",
    "windsock_alias_event",
    "windsock_drift_claim",
    "windsock_pipeline_version",
    "windsock_step_run",
    "windsock_artifact_version",
    "windsock_metric",
    "windsock_edge",
    "windsock_model_version",
    "windsock_alias",
    "windsock_deployment",
    "windsock_deployment_event",
)


def _artifact() -> None:
    op.create_table(
        "windsock_artifact",
        sa.Column("name", Name, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_windsock_artifact")),
    )


def _audit_event() -> None:
    op.create_table(
        "windsock_audit_event",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.String(length=250), nullable=False),
        sa.Column("action", sa.String(length=50), nullable=False),
        sa.Column("subject_kind", sa.String(length=50), nullable=False),
        sa.Column("subject", sa.String(length=250), nullable=False),
        sa.Column("before", JsonObject, nullable=True),
        sa.Column("after", JsonObject, nullable=True),
        sa.Column("reason", Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_windsock_audit_event")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_windsock_audit_event_subject", "windsock_audit_event", ["subject_kind", "subject", "id"], unique=False
    )


def _drift_consumer() -> None:
    op.create_table(
        "windsock_drift_consumer",
        sa.Column("name", Name, nullable=False),
        sa.Column("claimed_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_windsock_drift_consumer")),
    )


def _drift_report() -> None:
    op.create_table(
        "windsock_drift_report",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("key", Key, nullable=False),
        sa.Column("model", Name, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("deployment", Name, nullable=True),
        sa.Column("window_start", UtcDateTime, nullable=True),
        sa.Column("window_end", UtcDateTime, nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("drifted", sa.Boolean(), nullable=False),
        sa.Column("drift_share", Number, nullable=True),
        sa.Column("features", JsonObject, nullable=False),
        sa.Column("reasons", JsonObject, nullable=False),
        sa.Column("edges_id", sa.String(length=80), nullable=True),
        sa.Column("report_uri", sa.String(length=1024), nullable=True),
        sa.Column("json_uri", sa.String(length=1024), nullable=True),
        sa.Column("step_run", Key, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_windsock_drift_report")),
        sa.UniqueConstraint("key", name=op.f("uq_windsock_drift_report_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_windsock_drift_report_deployment", "windsock_drift_report", ["deployment", "id"], unique=False)
    op.create_index("ix_windsock_drift_report_drifted", "windsock_drift_report", ["drifted", "id"], unique=False)
    op.create_index("ix_windsock_drift_report_model", "windsock_drift_report", ["model", "id"], unique=False)


def _model() -> None:
    op.create_table(
        "windsock_model",
        sa.Column("name", Name, nullable=False),
        sa.Column("description", Text(), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_windsock_model")),
    )


def _pipeline() -> None:
    op.create_table(
        "windsock_pipeline",
        sa.Column("name", Name, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_windsock_pipeline")),
    )


def _run() -> None:
    op.create_table(
        "windsock_run",
        sa.Column("id", Key, nullable=False),
        sa.Column("dag_id", sa.String(length=250), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("pipeline", Name, nullable=True),
        sa.Column("pipeline_version", sa.Integer(), nullable=True),
        sa.Column("stack", Name, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("parameters", JsonObject, nullable=False),
        sa.Column("reason", JsonObject, nullable=True),
        sa.Column("triggered_by", sa.String(length=250), nullable=True),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_windsock_run")),
    )
    op.create_index("ix_windsock_run_dag", "windsock_run", ["dag_id", "started_at", "id"], unique=False)
    op.create_index("ix_windsock_run_pipeline", "windsock_run", ["pipeline", "started_at", "id"], unique=False)
    op.create_index(
        "ix_windsock_run_pipeline_state", "windsock_run", ["pipeline", "state", "started_at", "id"], unique=False
    )
    op.create_index("ix_windsock_run_started", "windsock_run", ["started_at", "id"], unique=False)
    op.create_index("ix_windsock_run_state", "windsock_run", ["state", "started_at", "id"], unique=False)


def _alias_event() -> None:
    op.create_table(
        "windsock_alias_event",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("model", Name, nullable=False),
        sa.Column("alias", Name, nullable=False),
        sa.Column("from_version", sa.Integer(), nullable=True),
        sa.Column("to_version", sa.Integer(), nullable=True),
        sa.Column("actor", sa.String(length=250), nullable=False),
        sa.Column("reason", Text(), nullable=True),
        sa.Column("gates", JsonObject, nullable=False),
        sa.Column("run", Key, nullable=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["model"], ["windsock_model.name"], name=op.f("fk_windsock_alias_event_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_windsock_alias_event")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_windsock_alias_event_alias", "windsock_alias_event", ["model", "alias", "id"], unique=False)
    op.create_index("ix_windsock_alias_event_model", "windsock_alias_event", ["model", "id"], unique=False)


def _drift_claim() -> None:
    op.create_table(
        "windsock_drift_claim",
        sa.Column("consumer", Name, nullable=False),
        sa.Column("report", Serial, nullable=False),
        sa.Column("claimant", sa.String(length=750), nullable=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["consumer"], ["windsock_drift_consumer.name"], name=op.f("fk_windsock_drift_claim_consumer")
        ),
        sa.ForeignKeyConstraint(["report"], ["windsock_drift_report.id"], name=op.f("fk_windsock_drift_claim_report")),
        sa.PrimaryKeyConstraint("consumer", "report", name=op.f("pk_windsock_drift_claim")),
        sqlite_with_rowid=False,
    )


def _pipeline_version() -> None:
    op.create_table(
        "windsock_pipeline_version",
        sa.Column("pipeline", Name, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("spec", JsonObject, nullable=False),
        sa.Column("source_digest", sa.String(length=80), nullable=False),
        sa.Column("requirements", JsonObject, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["pipeline"], ["windsock_pipeline.name"], name=op.f("fk_windsock_pipeline_version_pipeline")
        ),
        sa.PrimaryKeyConstraint("pipeline", "number", name=op.f("pk_windsock_pipeline_version")),
        sa.UniqueConstraint("pipeline", "digest", name=op.f("uq_windsock_pipeline_version_pipeline_digest")),
    )


def _step_run() -> None:
    op.create_table(
        "windsock_step_run",
        sa.Column("id", Key, nullable=False),
        sa.Column("run", Key, nullable=False),
        sa.Column("pipeline", Name, nullable=False, comment="'' outside a pipeline"),
        sa.Column("step", Name, nullable=False),
        sa.Column("task_id", sa.String(length=250), nullable=False),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cache_key", sa.String(length=80), nullable=True),
        sa.Column("cached_from", Key, nullable=True),
        sa.Column("worker", sa.String(length=250), nullable=True),
        sa.Column("parameters", JsonObject, nullable=False),
        sa.Column(
            "metrics", JsonObject, nullable=False, comment="the last value of each; the series is in windsock_metric"
        ),
        sa.Column("error", Text(), nullable=True),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(["run"], ["windsock_run.id"], name=op.f("fk_windsock_step_run_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_windsock_step_run")),
        sa.UniqueConstraint(
            "run",
            "task_id",
            "map_index",
            "try_number",
            name=op.f("uq_windsock_step_run_run_task_id_map_index_try_number"),
        ),
    )
    op.create_index("ix_windsock_step_run_cache", "windsock_step_run", ["cache_key", "state", "ended_at"], unique=False)


def _artifact_version() -> None:
    op.create_table(
        "windsock_artifact_version",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("artifact", Name, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("uri", sa.String(length=1024), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=250), nullable=False),
        sa.Column("materializer", sa.String(length=250), nullable=True),
        sa.Column("metadata", JsonObject, nullable=False),
        sa.Column("producer", Key, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact"], ["windsock_artifact.name"], name=op.f("fk_windsock_artifact_version_artifact")
        ),
        sa.ForeignKeyConstraint(
            ["producer"], ["windsock_step_run.id"], name=op.f("fk_windsock_artifact_version_producer")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_windsock_artifact_version")),
        sa.UniqueConstraint("artifact", "digest", name=op.f("uq_windsock_artifact_version_artifact_digest")),
        sa.UniqueConstraint("artifact", "version", name=op.f("uq_windsock_artifact_version_artifact_version")),
    )
    op.create_index("ix_windsock_artifact_version_digest", "windsock_artifact_version", ["digest", "id"], unique=False)
    op.create_index("ix_windsock_artifact_version_type", "windsock_artifact_version", ["type", "id"], unique=False)


def _metric() -> None:
    op.create_table(
        "windsock_metric",
        sa.Column("step_run", Key, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, comment="the order in which the step logged it"),
        sa.Column("key", Name, nullable=False),
        sa.Column("value", Number, nullable=True, comment="NULL is NaN"),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["step_run"], ["windsock_step_run.id"], name=op.f("fk_windsock_metric_step_run")),
        sa.PrimaryKeyConstraint("step_run", "position", name=op.f("pk_windsock_metric")),
        sqlite_with_rowid=False,
    )


def _edge() -> None:
    op.create_table(
        "windsock_edge",
        sa.Column("step_run", Key, nullable=False),
        sa.Column("direction", sa.String(length=3), nullable=False),
        sa.Column("name", Name, nullable=False, comment="the argument or the output"),
        sa.Column("artifact_version", Serial, nullable=False),
        sa.CheckConstraint("direction IN ('in', 'out')", name=op.f("ck_windsock_edge_direction")),
        sa.ForeignKeyConstraint(
            ["artifact_version"], ["windsock_artifact_version.id"], name=op.f("fk_windsock_edge_artifact_version")
        ),
        sa.ForeignKeyConstraint(["step_run"], ["windsock_step_run.id"], name=op.f("fk_windsock_edge_step_run")),
        sa.PrimaryKeyConstraint("step_run", "direction", "name", "artifact_version", name=op.f("pk_windsock_edge")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_windsock_edge_artifact_version",
        "windsock_edge",
        ["artifact_version", "direction", "step_run"],
        unique=False,
    )


def _model_version() -> None:
    op.create_table(
        "windsock_model_version",
        sa.Column("model", Name, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "artifact", JsonObject, nullable=False, comment="the reference: immutable, so a copy cannot go stale"
        ),
        sa.Column("artifact_version", Serial, nullable=False),
        sa.Column("baseline", JsonObject, nullable=True),
        sa.Column("baseline_version", Serial, nullable=True),
        sa.Column("evaluation", JsonObject, nullable=True),
        sa.Column("evaluation_version", Serial, nullable=True),
        sa.Column("metrics", JsonObject, nullable=False),
        sa.Column("parameters", JsonObject, nullable=False),
        sa.Column("input_schema", JsonObject, nullable=True),
        sa.Column("example", JsonObject, nullable=True),
        sa.Column("run", Key, nullable=True),
        sa.Column("step_run", Key, nullable=True),
        sa.Column("source", Source, nullable=True),
        sa.Column("requirements", JsonObject, nullable=False),
        sa.Column("description", Text(), nullable=True),
        sa.Column("tags", JsonObject, nullable=False),
        sa.Column("created_by", sa.String(length=250), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_version"],
            ["windsock_artifact_version.id"],
            name=op.f("fk_windsock_model_version_artifact_version"),
        ),
        sa.ForeignKeyConstraint(
            ["baseline_version"],
            ["windsock_artifact_version.id"],
            name=op.f("fk_windsock_model_version_baseline_version"),
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_version"],
            ["windsock_artifact_version.id"],
            name=op.f("fk_windsock_model_version_evaluation_version"),
        ),
        sa.ForeignKeyConstraint(["model"], ["windsock_model.name"], name=op.f("fk_windsock_model_version_model")),
        sa.PrimaryKeyConstraint("model", "version", name=op.f("pk_windsock_model_version")),
        sa.UniqueConstraint(
            "model", "source", "artifact_version", name=op.f("uq_windsock_model_version_model_source_artifact_version")
        ),
    )
    op.create_index("ix_windsock_model_version_artifact", "windsock_model_version", ["artifact_version"], unique=False)
    op.create_index("ix_windsock_model_version_baseline", "windsock_model_version", ["baseline_version"], unique=False)
    op.create_index(
        "ix_windsock_model_version_evaluation", "windsock_model_version", ["evaluation_version"], unique=False
    )
    op.create_index("ix_windsock_model_version_run", "windsock_model_version", ["run"], unique=False)


def _alias() -> None:
    op.create_table(
        "windsock_alias",
        sa.Column("model", Name, nullable=False),
        sa.Column("alias", Name, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["windsock_model_version.model", "windsock_model_version.version"],
            name=op.f("fk_windsock_alias_model_version"),
        ),
        sa.PrimaryKeyConstraint("model", "alias", name=op.f("pk_windsock_alias")),
    )


def _deployment() -> None:
    op.create_table(
        "windsock_deployment",
        sa.Column("name", Name, nullable=False),
        sa.Column("model", Name, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("previous_version", sa.Integer(), nullable=True),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("url", sa.String(length=1024), nullable=True),
        sa.Column("flavor", sa.String(length=250), nullable=False),
        sa.Column("stack", Name, nullable=True),
        sa.Column("handle", JsonObject, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["windsock_model_version.model", "windsock_model_version.version"],
            name=op.f("fk_windsock_deployment_model_version"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_windsock_deployment")),
    )
    op.create_index("ix_windsock_deployment_model", "windsock_deployment", ["model", "version"], unique=False)


def _deployment_event() -> None:
    op.create_table(
        "windsock_deployment_event",
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("deployment", Name, nullable=False),
        sa.Column("action", sa.String(length=50), nullable=False),
        sa.Column("from_version", sa.Integer(), nullable=True),
        sa.Column("to_version", sa.Integer(), nullable=True),
        sa.Column("actor", sa.String(length=250), nullable=False),
        sa.Column("reason", Text(), nullable=True),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment"], ["windsock_deployment.name"], name=op.f("fk_windsock_deployment_event_deployment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_windsock_deployment_event")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_windsock_deployment_event_deployment", "windsock_deployment_event", ["deployment", "id"], unique=False
    )
