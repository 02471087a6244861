"""Key-encryption keys: what wraps the data keys of encrypted artifacts, and never leaves its service unasked.

Where they are is said by one text, ``key`` of an artifact store's ``encryption``:

``artifact_keys``
    An Airflow connection. Its password holds keys of 32 random bytes in base64, separated by commas, as Airflow's own
    ``fernet_key`` does: the first one wraps, all of them unwrap. ``windsock artifact new-key`` makes one.
``aws-kms://alias/windsock?connection=aws_ml``
    A key of AWS KMS, by alias, id or ARN.
``scheme://…``
    Any other scheme is an entry point of the group ``windsock.key_service``: a callable of this text and of the
    credentials that returns a :class:`KeyService`.

A key of a connection is recorded by its fingerprint, so that a wrong key is told from a damaged file.
"""

from __future__ import annotations

import base64
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ..errors import ArtifactCorrupted, ConfigurationError, EncryptionKeyNotFound, FlavorNotFound, did_you_mean

if TYPE_CHECKING:
    from .credentials import Credentials

SIZE = 32


class KeyService(ABC):
    """Wraps and unwraps data keys of 32 bytes. Thread-safe.

    ``label`` is authenticated with the wrapped key: a wrapped key that was put in the place of another one does not
    unwrap. Methods raise ``EncryptionKeyNotFound`` when the key is not there or may not be used.
    """

    @abstractmethod
    def current(self) -> str:
        """The id of the key that :meth:`wrap` uses now."""

    @abstractmethod
    def holds(self, key_id: str) -> bool:
        """Whether this service might unwrap what that key wrapped."""

    @abstractmethod
    def wrap(self, secret: bytes, label: str) -> tuple[str, bytes]:
        """The id of the key used, and the wrapped secret."""

    @abstractmethod
    def unwrap(self, key_id: str, wrapped: bytes, label: str) -> bytes:
        """The secret again. Raises ``ArtifactCorrupted`` when it is not what that key wrapped under that label."""


class ConnectionKeys(KeyService):
    """Keys in the password of an Airflow connection."""

    def __init__(self, conn_id: str, credentials: Credentials) -> None:
        self._conn_id = conn_id
        password = credentials.connection(conn_id).password or ""
        keys = [read_key(text, conn_id) for text in password.replace(",", " ").split()]
        if not keys:
            raise EncryptionKeyNotFound(
                f'Connection "{conn_id}" has no password, which is to hold the keys that encrypt artifacts.',
                hint="Make one and set it as the password: windsock artifact new-key",
                conn_id=conn_id,
            )
        self._keys = {fingerprint(key): key for key in keys}
        self._current = fingerprint(keys[0])

    def __repr__(self) -> str:
        return f"<ConnectionKeys {self._conn_id}: {', '.join(self._keys)}>"

    def current(self) -> str:
        return self._current

    def holds(self, key_id: str) -> bool:
        return key_id in self._keys

    def wrap(self, secret: bytes, label: str) -> tuple[str, bytes]:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(12)
        return self._current, nonce + AESGCM(self._keys[self._current]).encrypt(nonce, secret, label.encode())

    def unwrap(self, key_id: str, wrapped: bytes, label: str) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._keys[key_id]).decrypt(wrapped[:12], wrapped[12:], label.encode())
        except (InvalidTag, ValueError):
            raise ArtifactCorrupted(f"The wrapped key {label} was changed or damaged.", label=label) from None


def new_key() -> str:
    """A key as it stands in a connection's password: the form of ``cryptography.fernet.Fernet.generate_key``."""
    return base64.urlsafe_b64encode(os.urandom(SIZE)).decode()


def read_key(text: str, conn_id: str) -> bytes:
    """32 bytes from base64, either alphabet. Raises ``ConfigurationError`` without quoting the text."""
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        key = b""
    if len(key) != SIZE:
        raise ConfigurationError(
            f'Connection "{conn_id}" holds a key that is not {SIZE} bytes in base64.',
            hint="Its password is made of keys separated by commas. Make one: windsock artifact new-key",
            conn_id=conn_id,
        )
    return key


def fingerprint(key: bytes) -> str:
    """Tells keys apart, and tells nothing about them."""
    import blake3

    hasher = blake3.blake3(key, derive_key_context="windsock 2026-11 fingerprint of a key-encryption key")
    return hasher.hexdigest(length=8)


def open_service(key: str, credentials: Credentials) -> KeyService:
    """The service that ``key`` names. Raises ``ConnectionNotFound``, ``ConfigurationError``, ``FlavorNotFound``."""
    scheme, separator, _ = key.partition("://")
    if not separator:
        return ConnectionKeys(key, credentials)
    if scheme == "aws-kms":
        from .aws_kms import AwsKms

        return AwsKms(key, credentials)
    from importlib.metadata import entry_points

    found = {entry.name: entry for entry in entry_points(group="windsock.key_service")}
    if scheme not in found:
        raise FlavorNotFound(
            f'key service "{scheme}" is not known.',
            hint=f"{did_you_mean(scheme, ['aws-kms', *found])} Without a scheme it is a connection id.",
            flavor=scheme,
        )
    service: KeyService = found[scheme].load()(key, credentials)
    return service


def connections_of(key: str) -> tuple[str, ...]:
    """Ids of the connections that a service needs: another process has to be given them."""
    from urllib.parse import parse_qs

    if "://" not in key:
        return (key,)
    return tuple(parse_qs(key.partition("?")[2]).get("connection", ()))
