"""Stacks: which there are, what the active one is made of, and whether it works."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ...hooks.settings import airflow_settings
from ...provider.stack import Stack
from .access import READS_ASSETS, StackDep

router = APIRouter(prefix="/stacks", dependencies=READS_ASSETS)


@router.get("")
def list_stacks() -> dict[str, Any]:
    """``{"active", "stacks": [{"name", "active", "components": [{"kind", "flavor", "options"}]}]}``.

    Options are what stands in the stack's file; that holds names of connections, never their secrets.
    """
    settings = airflow_settings()
    return {
        "active": settings.stack,
        "stacks": [_described(name, settings.stack, Stack.describe(name, settings=settings)) for name in Stack.names(settings)],
    }


@router.get("/check")
def check_stack(stack: StackDep) -> list[dict[str, Any]]:
    """A live round trip through each component: ``[{"kind", "flavor", "ok", "detail", "hint", "seconds"}]``."""
    return [
        {"kind": one.kind, "flavor": one.flavor, "ok": one.result.ok, "detail": one.result.detail, "hint": one.result.hint, "seconds": one.seconds}
        for one in stack.check()
    ]


def _described(name: str, active: str, description: Any) -> dict[str, Any]:
    components = []
    for kind, options in description.items():
        if kind in ("name", "file"):
            continue
        if kind == "compute":
            components += [
                _component(f"compute.{key}", entry) for key, entry in options.items() if key != "default"
            ]
        else:
            components.append(_component(kind, options))
    return {"name": name, "active": name == active, "components": sorted(components, key=lambda one: str(one["kind"]))}


def _component(kind: str, options: Any) -> dict[str, Any]:
    rest = {key: value for key, value in options.items() if key != "flavor"}
    return {"kind": kind, "flavor": options.get("flavor"), "options": rest}
