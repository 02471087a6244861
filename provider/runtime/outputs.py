"""From what a step returned to artifacts: name the outputs, check their types, store them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args, get_origin

from ..errors import OutputMismatch
from . import typehints
from .typehints import UNKNOWN

if TYPE_CHECKING:
    from ..artifacts.saving import StoredArtifact
    from .invocation import OutputTarget, Ref, StepInvocation


def named(value: Any, invocation: StepInvocation) -> dict[str, Any]:
    """What the step returned, by output name. Raises ``OutputMismatch``."""
    names = [output.name for output in invocation.outputs]
    if len(names) == 1:
        return {names[0]: value}
    if not names:
        return {}
    if isinstance(value, Mapping):
        if set(value) == set(names):
            return {name: value[name] for name in names}
        raise _mismatch(invocation, f"names {names}", f"a dict with {sorted(map(str, value))}")
    if not isinstance(value, tuple | list):
        raise _mismatch(invocation, f"{len(names)} outputs {names}", f"one {_type_of(value)}")
    if len(value) != len(names):
        raise _mismatch(invocation, f"{len(names)} outputs {names}", f"{len(value)} values")
    return dict(zip(names, value, strict=True))


def check_types(outputs: Mapping[str, Any], invocation: StepInvocation, signed: Callable[..., Any]) -> None:
    """Compare each output with the return annotation, as far as that can be known. Raises ``OutputMismatch``."""
    written = typehints.signature(signed).return_annotation
    returned = typehints.resolve(signed, written, load=True)
    if returned is UNKNOWN or not outputs:
        return
    expected: list[Any] = [returned]
    if len(outputs) > 1:
        expected = list(get_args(returned)) if get_origin(returned) is tuple else []
    if len(expected) != len(outputs):
        return
    for (name, value), kind in zip(outputs.items(), expected, strict=True):
        if not typehints.fits(value, kind):
            raise _mismatch(
                invocation,
                f'output "{name}" of type {typehints.type_name(kind)}',
                f"a {_type_of(value)}",
                output=name,
            )


def _type_of(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _mismatch(invocation: StepInvocation, asked: str, found: str, **facts: Any) -> OutputMismatch:
    return OutputMismatch(
        f'Step "{invocation.step}" declares {asked} and returned {found}.',
        hint=f"Change what {invocation.function} returns, its return annotation, or @step(outputs=…).",
        step=invocation.step,
        asked=asked,
        found=found,
        **facts,
    )


def artifact_record(output: str, artifact: str, stored: StoredArtifact) -> dict[str, Any]:
    """The fields of metadata's ``NewArtifact``, plain JSON."""
    return {
        "output": output,
        "artifact": artifact,
        "uri": stored.uri,
        "digest": stored.digest,
        "size": stored.size,
        "type": stored.type,
        "materializer": stored.materializer,
        "metadata": dict(stored.metadata),
    }


def unrecorded_ref(target: OutputTarget, record: Mapping[str, Any]) -> Ref:
    """The reference of a stored output before the metadata database has given it a version."""
    return {
        "artifact": record["artifact"],
        "version": None,
        "uri": record["uri"],
        "digest": record["digest"],
        "type": record["type"],
    }


def figure_artifact(invocation: StepInvocation, name: str) -> str:
    """``{pipeline}.{step}.{figure}``."""
    scope = invocation.pipeline or invocation.identity.dag_id
    return f"{scope}.{invocation.step}.{name}"
