"""Windsock's nouns as Airflow assets: other teams' DAGs schedule on them.

::

    with DAG("publish_scores", schedule=[model_asset("churn", alias="production")]): ...
    airflow_dag(churn, schedule=AssetOrTimeSchedule(timetable=weekly, assets=[drift_asset("churn")]))

Each function is pure: the same arguments give the same asset, whose name is its URI. What happened (which version,
which report, why) travels in the JSON ``extra`` of the asset's events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from ..provider.names import SCHEME, asset_uri, check_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

GROUP = SCHEME
"""Airflow shows the assets of a group together."""


def model_asset(name: str, alias: str | None = None) -> Asset:
    """A model (any new version), or one alias of it (each move): ``windsock://model/churn/production``."""
    path = (check_name("alias", alias),) if alias else ()
    return _asset("model", name, *path)


def drift_asset(name: str) -> Asset:
    """Drift found on a deployment or model: ``windsock://drift/churn``."""
    return _asset("drift", name)


def deployment_asset(name: str) -> Asset:
    """A deployment that serves another version than before: ``windsock://deployment/churn``."""
    return _asset("deployment", name)


def artifact_asset(name: str) -> Asset:
    """A new version of an artifact: ``windsock://artifact/churn.train``."""
    return _asset("artifact", name)


def outlet(kind: str, name: str, *path: str) -> AssetAlias:
    """The outlet of a task that emits events of such an asset only when something happened.

    A plain outlet emits an event whenever its task succeeds; an alias emits what :func:`emit` adds to it. A name that
    is still a Jinja template cannot be part of the alias, whose name must be known when the DAG is parsed.
    """
    parts = (name, *path)
    return AssetAlias(
        name=f"{SCHEME}://{kind}" if any("{{" in part for part in parts) else asset_uri(kind, *parts), group=GROUP
    )


def emit(context: Mapping[str, Any], asset: Asset, extra: Mapping[str, Any]) -> None:
    """Emit an event of ``asset`` with ``extra`` (JSON) through the outlets of the running task.

    It goes through each alias that the task has, and fills the extra of the asset itself where it is a plain outlet.
    Events become visible when the task succeeds: a retry never emits twice.
    """
    for candidate in context["task"].outlets:
        if isinstance(candidate, AssetAlias) and asset.uri.startswith(candidate.name):
            context["outlet_events"][candidate].add(asset, extra=dict(extra))
        elif isinstance(candidate, Asset) and candidate.uri == asset.uri:
            context["outlet_events"][candidate].extra.update(extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Airflow's check of a ``windsock://kind/name[/…]`` URI. Raises ``ValueError`` when kind or name is missing."""
    if not uri.netloc or not uri.path.strip("/"):
        raise ValueError(f"{uri.geturl()!r} is not a Windsock asset: expected {SCHEME}://kind/name")
    return uri


def _asset(kind: str, name: str, *path: str) -> Asset:
    uri = asset_uri(kind, check_name(kind, name), *path)
    return Asset(name=uri, uri=uri, group=GROUP)
