"""What may be called over REST: an allow-list of the nouns' own methods, each with the right that it takes.

Arguments and answers are described by the methods' signatures, which both sides read; a method that is not in the
table cannot be called, and a test asks of every public method that it is either here or named as left out.
"""

from __future__ import annotations

import builtins
import collections.abc
import inspect
import sys
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from ...errors import MetadataError, NotPermitted, did_you_mean
from .. import filters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = 1
"""Of the protocol: it changes when an older client could misread an answer."""

READ = "read"
STEPS = "steps"
REGISTER = "models:register"
PROMOTE = "models:promote"
DEPLOY = "deployments"
DRIFT = "drift"
AUDIT = "audit"

SCOPES = (READ, STEPS, REGISTER, PROMOTE, DEPLOY, DRIFT, AUDIT)
"""The rights that a token can carry. What each of them opens stands in :data:`METHODS`."""


@dataclass(frozen=True)
class Access:
    """``scope``: the right that a call takes. ``once``: to do it again would do it twice, so it carries a key."""

    scope: str
    once: bool = False


_READ = Access(READ)

METHODS: Mapping[str, Mapping[str, Access]] = {
    "pipelines": {
        "register": Access(STEPS),
        **dict.fromkeys(("number", "find", "get", "list", "versions"), _READ),
    },
    "runs": {
        **dict.fromkeys(("start_step", "finish_step", "end"), Access(STEPS)),
        **dict.fromkeys(("find_cached", "find", "get", "get_by_key", "list", "search", "steps", "step"), _READ),
        **dict.fromkeys(("inputs", "outputs", "metrics"), _READ),
    },
    "artifacts": {
        "record": Access(STEPS),
        **dict.fromkeys(("find", "get", "list", "search", "versions", "names", "by_digest"), _READ),
    },
    "models": {
        "register": Access(REGISTER, once=True),
        **dict.fromkeys(("set_alias", "remove_alias"), Access(PROMOTE, once=True)),
        "archive": Access(PROMOTE),
        **dict.fromkeys(("find", "get", "list", "search", "versions", "aliases", "history", "since"), _READ),
    },
    "deployments": {
        **dict.fromkeys(("put", "delete"), Access(DEPLOY, once=True)),
        **dict.fromkeys(("find", "get", "list", "search", "history", "since"), _READ),
    },
    "drift": {
        "record": Access(DRIFT),
        "claim": Access(DRIFT, once=True),
        **dict.fromkeys(("find", "get", "latest", "list", "search", "since", "claimable"), _READ),
    },
    "performance": {
        "record": Access(DRIFT),
        **dict.fromkeys(("get", "latest", "list", "since"), _READ),
    },
    "audit": {
        "append": Access(AUDIT, once=True),
        **dict.fromkeys(("list", "search"), _READ),
    },
    "lineage": dict.fromkeys(("graph", "run_graph"), _READ),
    "tombstones": {"find": _READ},
}
"""noun -> method -> what it takes. Writes without ``once`` find what they did before, and leave it."""

LOCAL_NOUNS = frozenset({"bulk", "reach"})
"""Nouns that stay with the database: bulk import, and what retention looks at before it removes something."""

LOCAL: Mapping[str, frozenset[str]] = {
    "audit": frozenset({"events", "head", "verify"}),
    "tombstones": frozenset(
        {"claim", "forget", "give_back", "mark", "of_state", "removed", "take_over", "totals", "unmark"}
    ),
}
"""noun -> public methods that stay with the database: maintenance, for who has it."""


# What annotations name that their module imports for the type checker alone.
_NAMES = {**vars(filters), **vars(collections.abc), "builtins": builtins}


class Method:
    """One method of a noun, as both sides know it."""

    def __init__(self, noun: str, name: str, access: Access) -> None:
        self.noun = noun
        self.name = name
        self.access = access
        self.function: Callable[..., Any] = getattr(noun_class(noun), name)
        self.signature = inspect.signature(self.function)

    @property
    def path(self) -> str:
        return f"{self.noun}.{self.name}"

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.function, vars(sys.modules[self.function.__module__]), _NAMES)

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The method's parameters as a record; one that it does not know is an error."""
        fields: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            if name != "self":
                missing = parameter.default is inspect.Parameter.empty
                fields[name] = (self._hints[name], ... if missing else parameter.default)
        return create_model(f"{self.noun}_{self.name}", __config__=ConfigDict(extra="forbid"), **fields)

    @cached_property
    def answer(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._hints["return"])

    def parse(self, body: bytes) -> dict[str, Any]:
        """The arguments that were sent. Raises ``MetadataError`` for what does not fit the signature."""
        try:
            given = self.arguments.model_validate_json(body or b"{}")
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, one['loc'])) or 'the body'}: {one['msg']}" for one in error.errors()[:5]
            )
            raise MetadataError(
                f"{self.path} was called over REST with arguments that it does not take: {wrong}.",
                hint="Worker and API server need the same version of airflow-provider-windsock.",
            ) from None
        return {name: getattr(given, name) for name in given.model_fields_set}


def noun_class(noun: str) -> type:
    """``runs`` -> ``Runs``. The module is imported when its noun is first asked for."""
    found: type = getattr(import_module(f"..{noun}", __package__), noun.capitalize())
    return found


@lru_cache(maxsize=128)
def find_method(noun: str, name: str) -> Method:
    """Raises ``NotPermitted`` for a method that is not in the table."""
    methods = METHODS.get(noun, {})
    if name not in methods:
        raise NotPermitted(
            f"{noun}.{name} cannot be called over REST.",
            hint=did_you_mean(name, methods) if methods else did_you_mean(noun, METHODS),
            noun=noun,
            method=name,
        )
    return Method(noun, name, methods[name])
