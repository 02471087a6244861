"""What Airflow's provider discovery is told about Windsock. Standard library only (see ``provider/__init__``).

``import airflow`` reads this in every process: it is a literal, and a test validates it against Airflow's own schema.
"""

from __future__ import annotations

from typing import Any

_SINCE = "0.1.0"
_NOUNS = ("artifacts", "deployments", "drift", "models", "runs")


def _option(
    description: str, example: str | None = None, default: str | None = None, *, kind: str = "string", **more: Any
) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": _SINCE,
        "type": kind,
        "example": example,
        "default": default,
        **more,
    }


PROVIDER_INFO: dict[str, Any] = {
    "package-name": "airflow-provider-windsock",
    "name": "Windsock",
    "description": "MLOps on Airflow: pipelines, artifacts, model registry, deployment, drift, lineage.",
    "versions": [_SINCE],
    "integrations": [{"integration-name": "Windsock", "tags": ["software"]}],
    "connection-types": [
        {
            "connection-type": "windsock",
            "hook-class-name": "windsock.hooks.stacks.StackHook",
            "hook-name": "Windsock",
            "ui-field-behaviour": {
                "hidden-fields": ["extra"],
                "relabeling": {"host": "Database host", "schema": "Database", "login": "User"},
                "placeholders": {
                    "host": "db.example.com (empty: [windsock] sql_alchemy_conn)",
                    "port": "5432",
                    "schema": "windsock",
                },
            },
            "conn-fields": {
                "stack": {
                    "label": "Stack",
                    "description": "Stack that tasks with this connection use; empty: the active one.",
                    "schema": {"type": ["string", "null"], "maxLength": 200},
                },
                "dialect": {
                    "label": "Database kind",
                    "description": "What kind of database the host is.",
                    "schema": {"type": ["string", "null"], "enum": ["mysql", "postgresql", "sqlite", None]},
                },
            },
        }
    ],
    "hooks": [
        {
            "integration-name": "Windsock",
            "python-modules": [f"windsock.hooks.{n}" for n in sorted({*_NOUNS, "stacks"})],
        }
    ],
    "operators": [
        {
            "integration-name": "Windsock",
            "python-modules": [
                f"windsock.operators.{n}"
                for n in (
                    "artifacts",
                    "dag",
                    "datasets",
                    "deployments",
                    "drift",
                    "models",
                    "performance",
                    "predictions",
                    "steps",
                    "validation",
                )
            ],
        }
    ],
    "sensors": [
        {
            "integration-name": "Windsock",
            "python-modules": [f"windsock.sensors.{n}" for n in sorted({*_NOUNS, "performance"})],
        }
    ],
    "triggers": [{"integration-name": "Windsock", "python-modules": ["windsock.sensors.triggers"]}],
    "extra-links": ["windsock.operators.links.DriftReportLink", "windsock.operators.links.LineageLink"],
    "notifications": ["windsock.hooks.notifications.AlertNotifier"],
    "asset-uris": [{"schemes": ["windsock"], "handler": "windsock.hooks.assets.sanitize_uri"}],
    "plugins": [{"name": "windsock", "plugin-class": "windsock.plugins.ui.WindsockPlugin"}],
    "cli": ["windsock.hooks.cli.get_cli_commands"],
    "config": {
        "windsock": {
            "description": "Where Windsock keeps its things and which stack is active.",
            "options": {
                "home": _option(
                    "Folder for everything that has no better place: the default database and artifact store, stack "
                    "files, the state of local servers. Default: the folder windsock in AIRFLOW_HOME, or where that "
                    "variable is not set, .windsock in the user's home folder.",
                    "/var/lib/windsock",
                ),
                "sql_alchemy_conn": _option(
                    "SQLAlchemy URL of the metadata database, which is not Airflow's own. "
                    "Default: an SQLite file in home.",
                    "postgresql://windsock:secret@db.example.com/windsock",
                    sensitive=True,
                ),
                "connection": _option(
                    "Id of a connection of type windsock that names the metadata database and the stack instead.",
                    "windsock_default",
                ),
                "stack": _option(
                    'Name of the active stack. Default: what "windsock stack use" chose, else the built-in local.',
                    "production",
                ),
                "stacks_folder": _option(
                    "Folders that are searched for <stack>.yaml, separated like PATH. "
                    "Default: stacks in the working directory, then stacks in home.",
                    "/opt/airflow/stacks",
                ),
                "actor": _option("Name that history shows for what no person and no DAG did.", "platform-team"),
                "step_cache": _option(
                    "Whether a step whose code, parameters and inputs are unchanged takes its earlier outputs.",
                    default="True",
                    kind="boolean",
                ),
                "artifact_cache_size": _option(
                    "How much each remote artifact store may keep on this machine's disk, in home, of what was loaded "
                    "from it, and at most half of what the disk has free; 0 for nothing.",
                    "50GB",
                    default="10GB",
                ),
                "metadata_patience": _option(
                    "Seconds that a step waits for a metadata database that does not answer.",
                    default="90",
                    kind="float",
                ),
                "spool": _option(
                    "Whether a step that has waited that long keeps its record in the artifact store and goes on; the "
                    "record is written to the database when that is back. Otherwise the step fails.",
                    default="True",
                    kind="boolean",
                ),
                "metrics_pushgateway": _option(
                    "Pushgateway to which each drift check pushes its metrics; default: none, they are scraped from "
                    "the API server at /windsock/api/metrics.",
                    "pushgateway.example.com:9091",
                ),
                "metadata_transport": _option(
                    "How tasks reach the metadata: sql (they open the database) or rest (they ask the API server and "
                    "need no access to the database). API server, scheduler and triggerer always open it.",
                    "rest",
                    default="sql",
                ),
                "api_url": _option(
                    "Windsock's address on the API server, for metadata_transport = rest. Default: beside "
                    "[core] execution_api_server_url, which tasks talk to anyway.",
                    "https://airflow.example.com/windsock",
                ),
                "task_scopes": _option(
                    "Rights that the API server gives to tasks over REST, besides reading: some of steps, "
                    "models:register, models:promote, deployments, drift, audit. Default: all of them.",
                    "steps, models:register, drift",
                ),
                "require_signatures": _option(
                    "Whether only model versions are deployed that a trusted key has signed.",
                    default="False",
                    kind="boolean",
                ),
                "signing_connection": _option(
                    "Id of a connection whose password is an ed25519 private key (windsock model new-signing-key). "
                    "Each model version that is registered is signed with it.",
                    "windsock_signing",
                ),
                "trusted_keys": _option(
                    "Public keys whose signatures count, or ids of connections that hold some, separated by commas. "
                    "Default: those of signing_connection.",
                    "windsock_signers",
                ),
                "deferrable": _option(
                    "Whether sensors wait in the triggerer unless their deferrable argument says otherwise.",
                    default="True",
                    kind="boolean",
                ),
            },
        }
    },
}
