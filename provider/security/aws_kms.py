"""Key service ``aws-kms``: data keys wrapped by AWS KMS, whose own key never leaves it.

``aws-kms://alias/windsock?connection=aws_ml&region=eu-central-1``: before the question mark stands an alias, a key id
or an ARN. The connection is Airflow's ``aws`` connection; without one botocore's own chain applies. The role needs
``kms:Encrypt``, ``kms:Decrypt`` and ``kms:DescribeKey``. A data key's label is the encryption context, so CloudTrail
names each use.

AWS rotates the material of a key itself, and then nothing has to be done here. ``windsock artifact rekey`` is for
another key: after the alias was moved, or with the new key as ``key`` and the old one under ``previous``.
"""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from ..errors import ArtifactCorrupted, EncryptionKeyNotFound, MissingExtra
from .keys import KeyService

if TYPE_CHECKING:
    from collections.abc import Callable

    from .credentials import Credentials

_PATIENCE = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 3, "mode": "standard"}}


class AwsKms(KeyService):
    """See the module. ``client`` is made on first use; boto3's clients are thread-safe."""

    def __init__(self, key: str, credentials: Credentials, *, client: Any = None) -> None:
        self._uri = key
        name, _, query = key.partition("://")[2].partition("?")
        self._name = name
        self._options = dict(parse_qsl(query))
        self._credentials = credentials
        self._given = client
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<AwsKms {self._uri}>"

    @cached_property
    def _client(self) -> Any:
        with self._lock:
            return self._given or self._connect()

    @cached_property
    def _arn(self) -> str:
        described = self._call("finding the key", lambda: self._client.describe_key(KeyId=self._name))
        return str(described["KeyMetadata"]["Arn"])

    def current(self) -> str:
        return self._arn

    def holds(self, key_id: str) -> bool:
        """Any key of KMS: which keys may be used, the role says."""
        return key_id.startswith("arn:") and ":kms:" in key_id

    def wrap(self, secret: bytes, label: str) -> tuple[str, bytes]:
        context = {"windsock": label}
        done = self._call(
            "wrapping a data key",
            lambda: self._client.encrypt(KeyId=self._arn, Plaintext=secret, EncryptionContext=context),
        )
        return str(done["KeyId"]), bytes(done["CiphertextBlob"])

    def unwrap(self, key_id: str, wrapped: bytes, label: str) -> bytes:
        context = {"windsock": label}
        done = self._call(
            "unwrapping a data key",
            lambda: self._client.decrypt(KeyId=key_id, CiphertextBlob=wrapped, EncryptionContext=context),
            label,
        )
        return bytes(done["Plaintext"])

    def _call(self, doing: str, action: Callable[[], Any], label: str = "") -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return action()
        except (ClientError, BotoCoreError) as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__)
            if code in ("InvalidCiphertextException", "IncorrectKeyException"):
                raise ArtifactCorrupted(f"The wrapped key {label} was changed or damaged.", label=label) from error
            raise EncryptionKeyNotFound(
                f"{self._uri} cannot be used: {doing} failed: {str(error).splitlines()[0]}",
                hint="Is the key there and enabled, and may the role Encrypt, Decrypt and DescribeKey with it?",
                key=self._uri,
                code=code,
            ) from error

    def _connect(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise MissingExtra(
                f"{self._uri} needs {error.name}.", hint="Run: pip install 'airflow-provider-windsock[amazon]'"
            ) from None
        conn_id = self._options.get("connection")
        if conn_id is None:
            session = boto3.session.Session(region_name=self._options.get("region"))
            return session.client("kms", config=Config(**_PATIENCE))
        connection = self._credentials.connection(conn_id)
        extra = connection.extra
        session = boto3.session.Session(
            aws_access_key_id=connection.login or extra.get("aws_access_key_id"),
            aws_secret_access_key=connection.password or extra.get("aws_secret_access_key"),
            aws_session_token=extra.get("aws_session_token"),
            profile_name=extra.get("profile_name"),
            region_name=self._options.get("region") or extra.get("region_name"),
        )
        service = (extra.get("service_config") or {}).get("kms") or {}
        endpoint = service.get("endpoint_url") or extra.get("endpoint_url") or extra.get("host")
        return session.client("kms", endpoint_url=endpoint, config=Config(**_PATIENCE))
