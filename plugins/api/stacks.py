"""Stacks: which there are, what they are made of, and whether they work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from ...hooks.settings import airflow_settings
from ...provider.errors import ConfigurationError
from ...provider.settings import Settings
from ...provider.stack import Stack
from ...provider.stack_check import ComponentCheck
from . import public
from .access import MAKES_ASSETS, READS_ASSETS, StackDep

router = APIRouter(prefix="/stacks")


@router.get("", dependencies=READS_ASSETS)
def list_stacks() -> dict[str, Any]:
    """``{"active", "stacks": [{"name", "active", "components": [{"kind", "flavor", "options"}], "problem"}]}``.

    Options are what stands in the stack's file; that holds names of connections, never their secrets. A file that
    cannot be read is a stack with a problem and no components.
    """
    settings = airflow_settings()
    return {"active": settings.stack, "stacks": [_described(name, settings) for name in Stack.names(settings)]}


@router.post("/check", dependencies=MAKES_ASSETS)
def check_stack(stack: StackDep) -> list[dict[str, Any]]:
    """A live round trip through each component: ``[{"kind", "flavor", "ok", "detail", "hint", "seconds"}]``."""
    return [_row(one) for one in stack.check()]


def _row(check: ComponentCheck) -> dict[str, Any]:
    return {
        "kind": check.kind,
        "flavor": check.flavor,
        "ok": check.result.ok,
        "detail": public.text(check.result.detail),
        "hint": public.text(check.result.hint) if check.result.hint else None,
        "seconds": check.seconds,
    }


def _described(name: str, settings: Settings) -> dict[str, Any]:
    stack = {"name": name, "active": name == settings.stack, "problem": None}
    try:
        components = _components(Stack.describe(name, settings=settings))
    except ConfigurationError as error:
        return {**stack, "components": [], "problem": public.problem(error)}
    return {**stack, "components": sorted(components, key=lambda one: str(one["kind"]))}


def _components(description: Mapping[str, Any]) -> list[dict[str, Any]]:
    components = []
    for kind, options in description.items():
        if kind == "compute":
            components += [_component(f"compute.{key}", one) for key, one in options.items() if key != "default"]
        elif isinstance(options, Mapping):
            components.append(_component(kind, options))
    return components


def _component(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "flavor": options.get("flavor"), "options": public.options(kind, options)}
