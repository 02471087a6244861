"""Signatures of model versions: who vouches for what is served, checked when it is deployed.

A statement says which model version it is about: name, number, digest and type of the artifact, digest of the input
schema, metrics. It is signed with ed25519 and kept in the artifact store, ``signatures/<model>/<version>/<key>.json``,
one for each key that signed. Whoever changes the metadata database, the artifact or the statement makes them differ.

- ``[windsock] signing_connection``: an Airflow connection whose password is a private key; every version that is
  registered is then signed. ``windsock model sign`` signs one that is there.
- ``[windsock] trusted_keys``: public keys, or ids of connections that hold them, separated by commas. Without it,
  those of the signing connection. To change the key, trust both for a while.
- ``[windsock] require_signatures``, or ``require_signatures: true`` of the stack's deployer: nothing is deployed that
  no trusted key has signed.

What it does not do: say that a model is good (gates do), or protect from somebody who has the private key.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ArtifactNotFound, ConfigurationError, SignatureInvalid, SignatureMissing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from ..settings import Settings
    from .credentials import Credentials

FOLDER = "signatures"
_DOMAIN = b"windsock model version 1\n"
_SIZE = 32


class SignedModel(Protocol):
    """What is signed of a model version; ``metadata.ModelVersion`` is one."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def artifact(self) -> Mapping[str, Any]: ...
    @property
    def input_schema(self) -> Mapping[str, Any] | None: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...


class SignatureStore(Protocol):
    """Where signatures are kept; an artifact store is one."""

    def put_bytes(self, key: str, data: bytes, *, overwrite: bool = False) -> str: ...
    def get_bytes(self, uri: str) -> bytes: ...
    def list(self, prefix: str) -> Iterator[str]: ...


@dataclass(frozen=True)
class Signature:
    """A signature that is true: fingerprint of the key, who signed, when (ISO 8601, UTC), and whether just now."""

    key: str
    signed_by: str
    signed_at: str
    fresh: bool = False


def facts_of(version: SignedModel) -> dict[str, Any]:
    """What a statement says of a model version, as JSON."""
    schema = None if version.input_schema is None else _digest(_canonical(version.input_schema))
    return {
        "model": version.model,
        "version": version.version,
        "artifact": version.artifact["digest"],
        "type": version.artifact["type"],
        "input_schema": schema,
        "metrics": {name: repr(float(value)) for name, value in version.metrics.items()},
    }


class ModelSignatures:
    """Signs and verifies model versions, with the keys that the settings name."""

    def __init__(self, store: SignatureStore, settings: Settings, credentials: Credentials) -> None:
        self._store = store
        self._settings = settings
        self._credentials = credentials

    @property
    def can_sign(self) -> bool:
        return bool(self._settings.signing_connection)

    def sign(self, version: SignedModel, by: str) -> Signature:
        """Sign a version, and keep the signature. One of the same key that is true already stays.

        Raises ``ConfigurationError`` without a signing key, ``ConnectionNotFound``.
        """
        private = self._private_keys()[0]
        public = private.public_key()
        key = fingerprint(public)
        try:
            present = self._check(version, key, public)
        except SignatureInvalid:
            present = None
        if present is not None:
            return present
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        statement = _canonical({**facts_of(version), "signed_by": by, "signed_at": now})
        document = {
            "key": key,
            "statement": statement.decode(),
            "signature": base64.b64encode(private.sign(_DOMAIN + statement)).decode(),
        }
        self._store.put_bytes(_place(version, key), json.dumps(document).encode(), overwrite=True)
        return Signature(key, by, now, fresh=True)

    def verify(self, version: SignedModel) -> Signature:
        """The signature of a trusted key.

        Raises ``SignatureMissing`` if there is none, ``SignatureInvalid`` if there is one that is not true.
        """
        problem: SignatureInvalid | None = None
        trusted = self._trusted_keys()
        for key, public in trusted.items():
            try:
                found = self._check(version, key, public)
            except SignatureInvalid as error:
                problem = error
                continue
            if found is not None:
                return found
        if problem is not None:
            raise problem
        name = f"{version.model}@{version.version}"
        others = sorted(uri.rpartition("/")[2].removesuffix(".json") for uri in self._store.list(_place(version, "")))
        detail = f"keys that signed it and are not trusted: {', '.join(others)}" if others else "nobody has signed it"
        raise SignatureMissing(
            f"{name} has no signature of a trusted key ({', '.join(trusted)}): {detail}.",
            hint=f"If you vouch for it: windsock model sign {name}",
            model=version.model,
            version=version.version,
        )

    def _check(self, version: SignedModel, key: str, public: Ed25519PublicKey) -> Signature | None:
        """The signature of that key, or None if it has not signed. Raises ``SignatureInvalid``."""
        from cryptography.exceptions import InvalidSignature

        try:
            data = self._store.get_bytes(_place(version, key))
        except ArtifactNotFound:
            return None
        try:
            document = json.loads(data)
            statement = str(document["statement"]).encode()
            public.verify(base64.b64decode(document["signature"]), _DOMAIN + statement)
            said = json.loads(statement)
            signature = Signature(key, str(said.pop("signed_by")), str(said.pop("signed_at")))
        except (InvalidSignature, ValueError, KeyError, TypeError):
            raise _invalid(version, key, "it was changed, or another key made it") from None
        actual = facts_of(version)
        changed = [name for name in actual if said.get(name) != actual[name]]
        if changed or set(said) != set(actual):
            raise _invalid(version, key, f"what was signed is not what is registered: {', '.join(changed)}")
        return signature

    def _private_keys(self) -> list[Ed25519PrivateKey]:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        conn_id = self._settings.signing_connection
        if not conn_id:
            raise ConfigurationError(
                "There is no key to sign with: [windsock] signing_connection is not set.",
                hint="Make a key with windsock model new-signing-key, and name the connection that holds it.",
            )
        texts = _texts(self._credentials.connection(conn_id).password)
        if not texts:
            raise ConfigurationError(f'Connection "{conn_id}" has no password, which is to be the signing key.')
        return [Ed25519PrivateKey.from_private_bytes(_decode(text, f'Connection "{conn_id}"')) for text in texts]

    def _trusted_keys(self) -> dict[str, Ed25519PublicKey]:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        keys: list[Ed25519PublicKey] = []
        for text in _texts(self._settings.trusted_keys):
            if _is_key(text):
                keys.append(Ed25519PublicKey.from_public_bytes(_decode(text, "[windsock] trusted_keys")))
            else:
                held = _texts(self._credentials.connection(text).password)
                keys += [Ed25519PublicKey.from_public_bytes(_decode(one, f'Connection "{text}"')) for one in held]
        if not self._settings.trusted_keys and self.can_sign:
            keys = [private.public_key() for private in self._private_keys()]
        if not keys:
            raise ConfigurationError(
                "Signatures of models are required, and no key is trusted.",
                hint="Set [windsock] trusted_keys to the public keys of those who sign.",
            )
        return {fingerprint(key): key for key in keys}


def require_signature(
    version: SignedModel,
    *,
    store: SignatureStore,
    settings: Settings,
    credentials: Credentials,
    required: bool = False,
) -> Signature | None:
    """The signature of a version that is to be served; None if nobody asks for one.

    ``required``: the stack asks for it, whatever the settings say. Raises what :meth:`ModelSignatures.verify` raises.
    """
    if not (required or settings.require_signatures):
        return None
    return ModelSignatures(store, settings, credentials).verify(version)


def new_signing_key() -> tuple[str, str]:
    """A private key and its public key, each 32 bytes in base64."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = os.urandom(_SIZE)
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return base64.b64encode(seed).decode(), base64.b64encode(public).decode()


def fingerprint(key: Ed25519PublicKey) -> str:
    return _digest(key.public_bytes_raw())[:16]


def _place(version: SignedModel, key: str) -> str:
    return f"{FOLDER}/{version.model}/{version.version}/" + (f"{key}.json" if key else "")


def _canonical(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(data: bytes) -> str:
    import blake3

    return blake3.blake3(data).hexdigest()


def _texts(text: str | None) -> list[str]:
    return (text or "").replace(",", " ").split()


def _is_key(text: str) -> bool:
    return len(text) == 44 and text.endswith("=")


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != _SIZE:
        raise ConfigurationError(
            f"{where} holds a key that is not {_SIZE} bytes in base64.",
            hint="Make a pair of keys: windsock model new-signing-key",
        )
    return key


def _invalid(version: SignedModel, key: str, why: str) -> SignatureInvalid:
    name = f"{version.model}@{version.version}"
    return SignatureInvalid(
        f"The signature of {name} by key {key} is not valid: {why}.",
        hint=f"Find out who changed it (windsock audit list); then train again, or sign it: windsock model sign {name}",
        model=version.model,
        version=version.version,
        key=key,
    )
