"""Component classes as steps: where their configuration comes from, and that it is right before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..component import Component
from ..errors import ComponentInvalid, PipelineInvalid
from ..yaml_lines import read_yaml
from .values import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_config(target: Any, config: Mapping[str, Any] | Path) -> dict[str, Any]:
    """The configuration as plain JSON, validated by the component's ``Config``.

    Raises ``ComponentInvalid``, naming the file and the line if it came from one.
    """
    if not (isinstance(target, type) and issubclass(target, Component)):
        raise PipelineInvalid(
            f"{target!r} is given a config and is no component.", hint="Derive the class from windsock.Component."
        )
    document = None
    options: Any = config
    if isinstance(config, Path):
        document = read_yaml(config, error=ComponentInvalid)
        options = {} if document.data is None else document.data
        if not isinstance(options, dict):
            raise ComponentInvalid(f"{document.where()}: a configuration is a mapping of option to value.")
    try:
        target.from_mapping(options)
    except ComponentInvalid as error:
        if document is None:
            raise
        place = document.where(*(error.facts.get("fields") or [""])[0].split("."))
        raise ComponentInvalid(f"{place}: {error.message}", hint=error.hint, **error.facts) from None
    plain: dict[str, Any] = to_json(dict(options), lambda: f"{target.__qualname__} is given {options!r}")
    return plain
