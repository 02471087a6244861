"""Models, for tasks of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .stacks import StackHook

if TYPE_CHECKING:
    from ..provider.metadata.models import AliasEvent, ModelVersion


class ModelHook(StackHook):
    """Reads models of the stack's registry, and loads them.

    To change something use the operators: they know who asks, and why.

    :param stack: name of the stack; default: the active one.
    :param windsock_conn_id: connection of type ``windsock``.
    """

    def get_version(self, model: str, *, alias: str | None = None, version: int | None = None) -> ModelVersion:
        """One version; the newest without alias and version. Raises ``ModelNotFound``, ``AliasNotFound``."""
        return self.stack().model_registry.get(model, version=version, alias=alias)

    def load(self, model: str, *, alias: str | None = None, version: int | None = None) -> Any:
        """The fitted model itself, its digest verified. Raises ``ArtifactCorrupted``, ``ArtifactNotFound``."""
        from ..provider.artifacts.saving import load

        return load(self.get_version(model, alias=alias, version=version).artifact, self.stack().artifact_store)

    def history(self, model: str, alias: str | None = None) -> list[AliasEvent]:
        """Every move of the alias (or of all), oldest first."""
        return self.stack().model_registry.history(model, alias)
