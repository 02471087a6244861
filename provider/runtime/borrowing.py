"""The step cache shared between environments: what another stack has computed is copied instead of computed again.

A stack says whose results it trusts::

    # stacks/production.yaml
    step_cache: {borrow_from: [staging]}

On a miss, the same key (the step's source, its arguments, its inputs' digests) is looked up in the metadata of those
stacks, in that order. The outputs are copied by content into this stack's store, verified on the way, and recorded
here as a cached step: nothing refers to the other stack afterwards.

What it does not do: borrow pickles for a step that does not allow them, versions of data sets (they have a history of
their own), or anything on remote compute. A stack that does not answer is a miss, and a warning in the log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..artifacts.digests import digest_bytes, folder_manifest
from ..artifacts.materializers.choose import materializer_of
from ..artifacts.saving import localized, require_digest
from ..artifacts.store import TREE
from ..errors import WindsockError
from .redaction import error_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..artifacts.store import ArtifactStore
    from ..metadata.artifacts import ArtifactVersion
    from ..stack import Stack
    from .invocation import StepInvocation

_LOG = logging.getLogger(__name__)


def borrow(
    invocation: StepInvocation, key: str, stack: Stack, store: ArtifactStore
) -> tuple[str, dict[str, dict[str, Any]]] | None:
    """The stack that had it, and the records of the outputs as they lie in ``store`` now. None if no stack has it."""
    for name in stack.borrows_from:
        try:
            found = _borrow_from(name, invocation, key, stack, store)
        except WindsockError as error:
            _LOG.warning("cannot borrow results of stack %s: %s", name, error_line(error))
            continue
        if found is not None:
            return name, found
    return None


def _borrow_from(
    name: str, invocation: StepInvocation, key: str, stack: Stack, store: ArtifactStore
) -> dict[str, dict[str, Any]] | None:
    from ..stack import Stack

    other = Stack.load(name, settings=stack.settings, credentials=stack.credentials)
    scope = invocation.pipeline or invocation.identity.dag_id
    hit = other.metadata.runs.find_cached(scope, invocation.step, key)
    if hit is None:
        return None
    wanted = {output.name: hit.outputs.get(output.name) for output in invocation.outputs}
    if not all(v is not None and _may_be_borrowed(v, invocation, other) for v in wanted.values()):
        return None
    return {
        output: {**_facts(version), "output": output, "uri": copy(version, other.artifact_store, store)}
        for output, version in wanted.items()
        if version is not None
    }


def _may_be_borrowed(version: ArtifactVersion, invocation: StepInvocation, other: Stack) -> bool:
    materializer = materializer_of(version.type, version.uri, version.materializer)
    if materializer.name == "dataset" or (materializer.unsafe and not invocation.allow_pickle):
        return False
    return version.uri.startswith(f"{other.artifact_store.root}/") and other.artifact_store.exists(version.uri)


def copy(version: ArtifactVersion, source: ArtifactStore, target: ArtifactStore) -> str:
    """Copy an artifact's content from one store into another; its URI there. Raises ``ArtifactCorrupted``."""
    ref = {**version.ref(), "materializer": version.materializer}
    ending = version.uri.rpartition("/")[2][64:].removeprefix(".sealed")
    with localized(ref, source, verify=True) as path:
        if ending.endswith(TREE):
            manifest = folder_manifest(path)
            require_digest(ref, digest_bytes(manifest))
            return target.commit_folder(path, target.content_key(version.digest, ending), manifest)
        with target.stage() as staged:
            with path.open("rb") as file, target.writer(staged, ending) as written:
                while chunk := file.read(4 << 20):
                    written.write(chunk)
            require_digest(ref, written.digest)
            return target.commit(staged, target.content_key(version.digest, ending))


def _facts(version: ArtifactVersion) -> Mapping[str, Any]:
    names = ("artifact", "digest", "size", "type", "materializer", "metadata")
    return {name: getattr(version, name) for name in names}
