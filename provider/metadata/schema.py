"""The tables. Migrations make the same ones; a test compares the two.

Names: ``windsock_*``, so that they may share a database with anything else. Every list that a noun offers has an
index that yields it in order; ``tests/metadata`` reads the query plans. Rows point at artifacts by number (two
million edges stay small), at everything else by its natural key (no join to show a name).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    text,
)

from .columns import JsonObject, Key, Name, Number, Serial, Source, Text, UtcDateTime

HEAD = "0005"
"""The revision that this code works with; the last of ``migrations/versions``."""

VERSION_TABLE = "windsock_alembic_version"

# PostgreSQL sorts texts as a language does; how a text begins is a question of its bytes.
_BY_BYTES: dict[str, Any] = {"postgresql_ops": {"name": "text_pattern_ops"}}

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

pipeline = Table(
    "windsock_pipeline",
    metadata,
    Column("name", Name, primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
)

pipeline_version = Table(
    "windsock_pipeline_version",
    metadata,
    Column("pipeline", Name, ForeignKey("windsock_pipeline.name"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("spec", JsonObject, nullable=False),
    Column("source_digest", String(80), nullable=False),
    Column("requirements", JsonObject, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("pipeline", "number"),
    UniqueConstraint("pipeline", "digest"),
)

# A run's pipeline and version are no foreign keys: a DAG that only drops steps in has no registered pipeline.
run = Table(
    "windsock_run",
    metadata,
    Column("id", Key, primary_key=True),
    Column("dag_id", String(250), nullable=False),
    Column("run_id", String(250), nullable=False),
    Column("pipeline", Name),
    Column("pipeline_version", Integer),
    Column("stack", Name),
    Column("state", String(16), nullable=False),
    Column("parameters", JsonObject, nullable=False),
    Column("reason", JsonObject),
    Column("triggered_by", String(250)),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Index("ix_windsock_run_started", "started_at", "id"),
    Index("ix_windsock_run_dag", "dag_id", "started_at", "id"),
    Index("ix_windsock_run_dag_state", "dag_id", "state", "started_at", "id"),
    Index("ix_windsock_run_pipeline", "pipeline", "started_at", "id"),
    Index("ix_windsock_run_pipeline_state", "pipeline", "state", "started_at", "id"),
    Index("ix_windsock_run_state", "state", "started_at", "id"),
    Index("ix_windsock_run_stack", "stack", "started_at", "id"),
)

# What runs are found by: their parameters, one a row. ``text`` is always there (cut to its length), ``number`` for
# numbers and booleans. Written with the run, and gone with it.
run_parameter = Table(
    "windsock_run_parameter",
    metadata,
    Column("run", Key, ForeignKey("windsock_run.id", ondelete="CASCADE"), nullable=False),
    Column("name", Name, nullable=False),
    Column("number", Number),
    Column("text", String(200), nullable=False),
    PrimaryKeyConstraint("run", "name"),
    Index("ix_windsock_run_parameter_number", "name", "number", "run"),
    Index("ix_windsock_run_parameter_text", "name", "text", "run"),
    sqlite_with_rowid=False,
)

step_run = Table(
    "windsock_step_run",
    metadata,
    Column("id", Key, primary_key=True),
    Column("run", Key, ForeignKey("windsock_run.id"), nullable=False),
    Column("pipeline", Name, nullable=False, comment="'' outside a pipeline"),
    Column("step", Name, nullable=False),
    Column("task_id", String(250), nullable=False),
    Column("map_index", Integer, nullable=False),
    Column("try_number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("cache_key", String(80)),
    Column("cached_from", Key),
    Column("worker", String(250)),
    Column("parameters", JsonObject, nullable=False),
    Column("metrics", JsonObject, nullable=False, comment="the last value of each; the series is in windsock_metric"),
    Column("error", Text),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    UniqueConstraint("run", "task_id", "map_index", "try_number"),
    Index("ix_windsock_step_run_cache", "cache_key", "state", "ended_at"),
)

_LATEST: dict[str, Any] = {"sqlite_where": text("latest = 1"), "postgresql_where": text("latest")}

metric = Table(
    "windsock_metric",
    metadata,
    Column("step_run", Key, ForeignKey("windsock_step_run.id"), nullable=False),
    Column("position", Integer, nullable=False, comment="the order in which the step logged it"),
    Column("key", Name, nullable=False),
    Column("value", Number, comment="NULL is NaN"),
    Column("step", BigInteger),
    Column("at", UtcDateTime, nullable=False),
    Column("latest", Boolean(create_constraint=False), nullable=False, comment="the last value of its key"),
    PrimaryKeyConstraint("step_run", "position"),
    # A thousand values of one key cost two entries here, not two thousand, where the database can do that.
    Index("ix_windsock_metric_value", "key", "value", "step_run", **_LATEST),
    Index("ix_windsock_metric_of_step", "step_run", "key", "value", **_LATEST),
    sqlite_with_rowid=False,
)

artifact = Table(
    "windsock_artifact",
    metadata,
    Column("name", Name, primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_windsock_artifact_prefix", "name", **_BY_BYTES),
)

artifact_version = Table(
    "windsock_artifact_version",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("artifact", Name, ForeignKey("windsock_artifact.name"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("uri", String(1024), nullable=False),
    Column("digest", String(80), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("type", String(250), nullable=False),
    Column("materializer", String(250)),
    Column("metadata", JsonObject, nullable=False),
    Column("producer", Key, ForeignKey("windsock_step_run.id")),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("artifact", "version"),
    UniqueConstraint("artifact", "digest"),
    Index("ix_windsock_artifact_version_digest", "digest", "id"),
    Index("ix_windsock_artifact_version_created", "created_at", "id"),
    Index("ix_windsock_artifact_version_type", "type", "created_at", "id"),
    Index("ix_windsock_artifact_version_producer", "producer", "created_at", "id"),
    Index("ix_windsock_artifact_version_size", "size", "id"),
)

edge = Table(
    "windsock_edge",
    metadata,
    Column("step_run", Key, ForeignKey("windsock_step_run.id"), nullable=False),
    Column("direction", String(3), nullable=False),
    Column("name", Name, nullable=False, comment="the argument or the output"),
    Column("artifact_version", Serial, ForeignKey("windsock_artifact_version.id"), nullable=False),
    PrimaryKeyConstraint("step_run", "direction", "name", "artifact_version"),
    CheckConstraint("direction IN ('in', 'out')", name="direction"),
    Index("ix_windsock_edge_artifact_version", "artifact_version", "direction", "step_run"),
    sqlite_with_rowid=False,
)

model = Table(
    "windsock_model",
    metadata,
    Column("name", Name, primary_key=True),
    Column("description", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_windsock_model_prefix", "name", **_BY_BYTES),
)

model_version = Table(
    "windsock_model_version",
    metadata,
    Column("model", Name, ForeignKey("windsock_model.name"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("artifact", JsonObject, nullable=False, comment="the reference: immutable, so a copy cannot go stale"),
    Column("artifact_version", Serial, ForeignKey("windsock_artifact_version.id"), nullable=False),
    Column("baseline", JsonObject),
    Column("baseline_version", Serial, ForeignKey("windsock_artifact_version.id")),
    Column("evaluation", JsonObject),
    Column("evaluation_version", Serial, ForeignKey("windsock_artifact_version.id")),
    Column("metrics", JsonObject, nullable=False),
    Column("parameters", JsonObject, nullable=False),
    Column("input_schema", JsonObject),
    Column("example", JsonObject),
    Column("run", Key),
    Column("step_run", Key),
    Column("source", Source),
    Column("requirements", JsonObject, nullable=False),
    Column("description", Text),
    Column("tags", JsonObject, nullable=False),
    Column("created_by", String(250)),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("model", "version"),
    UniqueConstraint("model", "source", "artifact_version"),
    Index("ix_windsock_model_version_artifact", "artifact_version"),
    Index("ix_windsock_model_version_baseline", "baseline_version"),
    Index("ix_windsock_model_version_evaluation", "evaluation_version"),
    Index("ix_windsock_model_version_run", "run"),
    Index("ix_windsock_model_version_created", "created_at", "model", "version"),
)

# What model versions are found by: metrics, parameters and tags, as ``windsock_run_parameter`` is for runs.
model_version_value = Table(
    "windsock_model_version_value",
    metadata,
    Column("model", Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", String(9), nullable=False, comment="metric, parameter or tag"),
    Column("name", Name, nullable=False),
    Column("number", Number),
    Column("text", String(200), nullable=False),
    PrimaryKeyConstraint("model", "version", "kind", "name"),
    ForeignKeyConstraint(
        ["model", "version"], ["windsock_model_version.model", "windsock_model_version.version"], ondelete="CASCADE"
    ),
    Index("ix_windsock_model_version_value_number", "kind", "name", "number", "model", "version"),
    Index("ix_windsock_model_version_value_text", "kind", "name", "text", "model", "version"),
    sqlite_with_rowid=False,
)

alias = Table(
    "windsock_alias",
    metadata,
    Column("model", Name, nullable=False),
    Column("alias", Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("model", "alias"),
    ForeignKeyConstraint(["model", "version"], ["windsock_model_version.model", "windsock_model_version.version"]),
)

alias_event = Table(
    "windsock_alias_event",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("model", Name, ForeignKey("windsock_model.name"), nullable=False),
    Column("alias", Name, nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("actor", String(250), nullable=False),
    Column("reason", Text),
    Column("gates", JsonObject, nullable=False),
    Column("run", Key),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_windsock_alias_event_model", "model", "id"),
    Index("ix_windsock_alias_event_alias", "model", "alias", "id"),
    sqlite_autoincrement=True,
)

deployment = Table(
    "windsock_deployment",
    metadata,
    Column("name", Name, primary_key=True),
    Column("model", Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("previous_version", Integer),
    Column("phase", String(16), nullable=False),
    Column("url", String(1024)),
    Column("flavor", String(250), nullable=False),
    Column("stack", Name),
    Column("handle", JsonObject, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    ForeignKeyConstraint(["model", "version"], ["windsock_model_version.model", "windsock_model_version.version"]),
    Index("ix_windsock_deployment_model", "model", "version"),
    Index("ix_windsock_deployment_prefix", "name", **_BY_BYTES),
    Index("ix_windsock_deployment_model_name", "model", "name"),
    Index("ix_windsock_deployment_phase", "phase", "name"),
    Index("ix_windsock_deployment_stack", "stack", "name"),
)

deployment_event = Table(
    "windsock_deployment_event",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("deployment", Name, ForeignKey("windsock_deployment.name"), nullable=False),
    Column("action", String(50), nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("actor", String(250), nullable=False),
    Column("reason", Text),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_windsock_deployment_event_deployment", "deployment", "id"),
    sqlite_autoincrement=True,
)

drift_report = Table(
    "windsock_drift_report",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("key", Key, nullable=False, unique=True),
    Column("model", Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("deployment", Name),
    Column("window_start", UtcDateTime),
    Column("window_end", UtcDateTime),
    Column("rows", BigInteger, nullable=False),
    Column("drifted", Boolean(create_constraint=False), nullable=False),
    Column("drift_share", Number),
    Column("features", JsonObject, nullable=False),
    Column("reasons", JsonObject, nullable=False),
    Column("edges_id", String(80)),
    Column("report_uri", String(1024)),
    Column("json_uri", String(1024)),
    Column("step_run", Key),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_windsock_drift_report_model", "model", "id"),
    Index("ix_windsock_drift_report_deployment", "deployment", "id"),
    Index("ix_windsock_drift_report_drifted", "drifted", "id"),
    Index("ix_windsock_drift_report_created", "created_at", "id"),
    Index("ix_windsock_drift_report_model_created", "model", "created_at", "id"),
    Index("ix_windsock_drift_report_deployment_created", "deployment", "created_at", "id"),
    Index("ix_windsock_drift_report_drifted_created", "drifted", "created_at", "id"),
    sqlite_autoincrement=True,
)

drift_consumer = Table(
    "windsock_drift_consumer",
    metadata,
    Column("name", Name, primary_key=True),
    Column("claimed_at", UtcDateTime),
)

drift_claim = Table(
    "windsock_drift_claim",
    metadata,
    Column("consumer", Name, ForeignKey("windsock_drift_consumer.name"), nullable=False),
    Column("report", Serial, ForeignKey("windsock_drift_report.id"), nullable=False),
    Column("claimant", String(750)),
    Column("at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("consumer", "report"),
    sqlite_with_rowid=False,
)

performance_report = Table(
    "windsock_performance_report",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("key", Key, nullable=False, unique=True),
    Column("model", Name, nullable=False),
    Column("version", Integer, nullable=False),
    Column("deployment", Name),
    Column("window_start", UtcDateTime),
    Column("window_end", UtcDateTime),
    Column("rows", BigInteger, nullable=False),
    Column("labelled", BigInteger, nullable=False),
    Column("mature", Boolean(create_constraint=False), nullable=False),
    Column("metrics", JsonObject, nullable=False),
    Column("report_uri", String(1024)),
    Column("step_run", Key),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_windsock_performance_report_created", "created_at", "id"),
    Index("ix_windsock_performance_report_model", "model", "id"),
    Index("ix_windsock_performance_report_deployment", "deployment", "id"),
    Index("ix_windsock_performance_report_model_created", "model", "created_at", "id"),
    Index("ix_windsock_performance_report_deployment_created", "deployment", "created_at", "id"),
    sqlite_autoincrement=True,
)

audit_event = Table(
    "windsock_audit_event",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(250), nullable=False),
    Column("action", String(50), nullable=False),
    Column("subject_kind", String(50), nullable=False),
    Column("subject", String(250), nullable=False),
    Column("before", JsonObject),
    Column("after", JsonObject),
    Column("reason", Text),
    Column("previous", String(64), nullable=False, comment="the hash of the event before; zeros for the first"),
    Column("hash", String(64), nullable=False, comment="see audit_chain.py"),
    Index("ix_windsock_audit_event_at", "at", "id"),
    Index("ix_windsock_audit_event_actor", "actor", "at", "id"),
    Index("ix_windsock_audit_event_action", "action", "at", "id"),
    Index("ix_windsock_audit_event_subject", "subject_kind", "subject", "at", "id"),
    sqlite_autoincrement=True,
)

# One row: where the chain of audit events ends. Whoever appends locks it first, so the chain never forks.
audit_head = Table(
    "windsock_audit_head",
    metadata,
    Column("name", Name, primary_key=True),
    Column("events", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

# Content that is to be removed from a store, is being removed, or was: see tombstones.py.
tombstone = Table(
    "windsock_tombstone",
    metadata,
    Column("blob", Key, primary_key=True, comment="a digest of the place: URIs are too long for an index"),
    Column("place", String(1024), nullable=False),
    Column("state", String(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("reason", String(50), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("owner", Key),
    Index("ix_windsock_tombstone_state", "state", "since", "blob"),
)

# What a caller over REST was answered, so that a call repeated after a cut connection happens once.
call = Table(
    "windsock_call",
    metadata,
    Column("key", Key, primary_key=True),
    Column("method", String(80), nullable=False),
    Column("answer", JsonObject),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_windsock_call_at", "at"),
)
