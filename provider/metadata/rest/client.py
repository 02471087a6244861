"""The worker's side: a :class:`Metadata` whose nouns ask the API server.

Each noun is a class made of the real one: the methods of the allow-list send what they are given, the others say that
they need the database. So a noun over REST has the signatures, the records and the errors of the noun itself.
"""

from __future__ import annotations

import inspect
import json
import uuid
from functools import cached_property, lru_cache, partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

from ...errors import MetadataError, TokenInvalid
from ..store import Metadata
from .codec import decode_error, encode_arguments, in_utc, pack, unpack
from .methods import METHODS, VERSION, Method, find_method, noun_class

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from ...security.tokens import TokenSource
    from .http import Answer, HttpClient


class RestMetadata(Metadata):
    """The metadata behind an API server. Thread-safe, and usable after a fork; opens nothing until it is asked.

    ``stack`` is the stack whose metadata the server shall use. Raises what :class:`Metadata` raises, and
    ``TokenInvalid``, ``NotPermitted``; ``MetadataUnavailable`` when the server is away.
    """

    def __init__(self, http: HttpClient, tokens: TokenSource, *, stack: str | None = None) -> None:
        self._http = http
        self._tokens = tokens
        self._stack = stack
        self._query = f"?stack={quote(stack, safe='')}" if stack else ""

    @property
    def database(self) -> NoReturn:  # type: ignore[override]
        """Raises ``MetadataError``: what asks for the database itself cannot be done from here."""
        raise _database_needed("This")

    @property
    def url(self) -> str:
        return f"{self._http.url}{self._query}"

    def transaction(self) -> AbstractContextManager[Connection]:
        """Raises ``MetadataError``: a transaction cannot be held open over calls."""
        raise MetadataError(
            "Several writes cannot be one transaction over REST.", hint="Each call is one transaction of its own."
        )

    def close(self) -> None:
        self._http.close()

    def call(self, method: Method, arguments: dict[str, Any]) -> Any:
        """Call one method of a noun on the server."""
        body, packed = pack(encode_arguments(arguments))
        fixed = {"Content-Type": "application/json", "Accept-Encoding": "identity", "Windsock-Accept": "gzip"}
        if packed:
            fixed["Content-Encoding"] = "gzip"
        if method.access.once:
            fixed["Windsock-Key"] = uuid.uuid4().hex
        path = f"/api/metadata/v{VERSION}/{method.noun}/{method.name}{self._query}"

        def headers(renew: bool = False) -> dict[str, str]:
            return {**fixed, "Authorization": f"Bearer {self._tokens.token(renew=renew)}"}

        answer = self._http.post(path, body, headers)
        if answer.status == 401:
            answer = self._http.post(path, body, partial(headers, True))
        content = unpack(answer.body) if answer.headers.get("Windsock-Encoding") == "gzip" else answer.body
        if answer.status == 200:
            return in_utc(method.answer.validate_json(content))
        raise self._error(answer, content)

    def _error(self, answer: Answer, content: bytes) -> Exception:
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        error = decode_error(body)
        if error is not None:
            return error
        detail = body.get("detail") if isinstance(body, dict) else None
        if answer.status in (401, 403):
            return TokenInvalid(
                f"The API server at {self._http.url} does not take this token: {detail or answer.status}.",
                hint="A task gets a new one by itself; elsewhere, put one of Airflow's into WINDSOCK_API_TOKEN.",
            )
        if answer.status in (404, 405):
            return MetadataError(
                f"{self._http.url} has no metadata calls of version {VERSION} ({answer.status}).",
                hint="Install the same airflow-provider-windsock in the API server as here, and check [windsock] "
                "api_url: it ends with /windsock.",
            )
        return MetadataError(f"The API server at {self._http.url} answered {answer.status}: {detail or 'no reason'}.")


def _noun(noun: str, metadata: RestMetadata) -> Any:
    return _remote(noun)(metadata.call)


for _name in METHODS:
    _property = cached_property(partial(_noun, _name))
    _property.__set_name__(RestMetadata, _name)
    setattr(RestMetadata, _name, _property)


@lru_cache(maxsize=16)
def _remote(noun: str) -> type:
    """The noun's class with its methods sent away."""
    local = noun_class(noun)
    members: dict[str, Any] = {"__init__": _keep_call}
    for name, function in inspect.getmembers(local, inspect.isfunction):
        if not name.startswith("_"):
            members[name] = _sent(noun, name, function) if name in METHODS[noun] else _refused(noun, name)
    return type(f"Remote{local.__name__}", (local,), members)


def _keep_call(self: Any, call: Callable[[Method, dict[str, Any]], Any]) -> None:
    self._call = call


def _sent(noun: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        method = find_method(noun, name)
        arguments = dict(method.signature.bind(self, *args, **kwargs).arguments)
        del arguments["self"]
        return self._call(method, arguments)

    return send


def _refused(noun: str, name: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise _database_needed(f"{noun}.{name}")

    return refuse


def _database_needed(what: str) -> MetadataError:
    return MetadataError(
        f"{what} needs the metadata database itself, and this process only has the API server.",
        hint="Run it where [windsock] sql_alchemy_conn is set, with [windsock] metadata_transport = sql.",
    )
