"""An ``aws`` connection with ``role_arn``: a session whose temporary keys renew themselves.

Read as Airflow's hook reads it: ``role_arn``, ``assume_role_kwargs`` (``ExternalId``, ``DurationSeconds``…), the older
``external_id``, and the key pair, profile or chain that may assume the role. Roles by web identity or SAML are not
read here: on a machine that has one, name no connection, and the chain of botocore finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ComponentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...security.credentials import Connection


def assuming_session(connection: Connection, client: Mapping[str, Any]) -> Any:
    """An aiobotocore session that assumes the connection's role before its first request, and again when it ends."""
    from aiobotocore.credentials import AioAssumeRoleCredentialFetcher, AioDeferredRefreshableCredentials
    from aiobotocore.session import AioSession

    extra = connection.extra
    method = extra.get("assume_role_method", "assume_role")
    if method != "assume_role":
        raise ComponentInvalid(
            f"Connection {connection.conn_id} assumes its role by {method}, which the artifact store cannot.",
            hint="Use assume_role_method assume_role, or no connection where the machine has a role of its own.",
        )
    source = AioSession(profile=extra.get("profile_name"))
    key = connection.login or extra.get("aws_access_key_id")
    if key:
        source.set_credentials(
            key, connection.password or extra.get("aws_secret_access_key"), extra.get("aws_session_token")
        )
    services: Mapping[str, Any] = (extra.get("service_config") or {}).get("sts") or {}
    sts = {"endpoint_url": services.get("endpoint_url") or extra.get("endpoint_url"), **client}

    def create_client(service: str, **arguments: Any) -> Any:
        return source.create_client(service, **{k: v for k, v in sts.items() if v is not None}, **arguments)

    arguments = dict(extra.get("assume_role_kwargs") or {})
    if extra.get("external_id"):
        arguments.setdefault("ExternalId", extra["external_id"])

    async def keys() -> Any:
        fetcher = AioAssumeRoleCredentialFetcher(
            create_client, await source.get_credentials(), extra["role_arn"], extra_args=arguments
        )
        return await fetcher.fetch_credentials()

    session = AioSession()
    session._credentials = AioDeferredRefreshableCredentials(method="sts-assume-role", refresh_using=keys)
    return session
