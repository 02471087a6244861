"""Airflow's simple auth manager with one more user, who may not read one DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

USER, HIDDEN_DAG = "narrow", "refusal_pages"


class NarrowAuthManager(SimpleAuthManager):
    def is_authorized_dag(
        self, *, user: SimpleAuthManagerUser, details: DagDetails | None = None, **kwargs: Any
    ) -> bool:
        if user.username == USER and details is not None and details.id == HIDDEN_DAG:
            return False
        return super().is_authorized_dag(user=user, details=details, **kwargs)
