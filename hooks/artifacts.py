"""Artifacts, for tasks of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .stacks import StackHook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..provider.metadata.artifacts import ArtifactVersion


class ArtifactHook(StackHook):
    """Loads artifacts by name, or by the reference that a step's XCom carries.

    :param stack: name of the stack; default: the active one.
    :param windsock_conn_id: connection of type ``windsock``.
    """

    def get_version(self, artifact: str, version: int | None = None) -> ArtifactVersion:
        """One version, or the newest. Raises ``ArtifactNotFound``."""
        return self.stack().metadata.artifacts.get(artifact, version)

    def load(self, artifact: str | Mapping[str, Any], version: int | None = None, *, output: str = "output") -> Any:
        """The value. ``artifact`` is a name, a reference, or the XCom of a step (then ``output`` picks one of it).

        Raises ``ArtifactNotFound``, ``ArtifactCorrupted``, ``PickleRefused``.
        """
        from ..provider.artifacts.saving import load

        if isinstance(artifact, str):
            reference: Mapping[str, Any] = self.get_version(artifact, version).ref()
        else:
            reference = artifact if "uri" in artifact else artifact[output]
        return load(reference, self.stack().artifact_store)
