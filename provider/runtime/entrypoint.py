"""The process of a step on remote compute: ``python -m windsock.provider.runtime.entrypoint URI``.

It needs the artifact store and the step's package: no database, no Airflow. It reads the ``StepInvocation`` at ``URI``,
runs it on the code path of every other step, stores the outputs and, last, the ``StepResult`` beside the invocation.
The worker that submitted it records the metadata (:func:`..recorder.record_result`).

``WINDSOCK_ARTIFACT_STORE`` holds the store's options as in a stack file, as JSON (``{"flavor": "s3", "bucket": …,
"connection": "aws_ml"}``; the connection itself is ``AIRFLOW_CONN_AWS_ML``). Without it, a ``file://`` URI says it all.

Exit code 0: there is a result, of a success. 1: the step failed, and the result says how. 2: it could not run at all.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..errors import ArtifactNotFound, StepFailed, WindsockError
from ..faults import reach
from .invocation import RESULT_SUFFIX, StepInvocation, StepResult
from .redaction import error_line, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..artifacts.store import ArtifactStore

FOLDER = "invocations"
STORE_VARIABLE = "WINDSOCK_ARTIFACT_STORE"


def submit(invocation: StepInvocation, store: ArtifactStore) -> str:
    """Write an invocation where a remote process finds it; returns its URI. A retry has a URI of its own."""
    from ..metadata.keys import step_run_key

    identity = invocation.identity
    key = step_run_key(identity.dag_id, identity.run_id, identity.task_id, identity.map_index, identity.try_number)
    return store.put_bytes(f"{FOLDER}/{key}.json", invocation.to_json().encode(), overwrite=True)


def environment(store_options: Mapping[str, Any]) -> dict[str, str]:
    """The variables that a remote process needs to find the store; ``store_options`` as in the stack."""
    return {STORE_VARIABLE: json.dumps(dict(store_options), sort_keys=True, default=str)}


def find_result(uri: str, store: ArtifactStore) -> StepResult | None:
    """The result of the invocation at ``uri``, or None while there is none."""
    try:
        return StepResult.from_json(store.get_bytes(_result_uri(uri)))
    except ArtifactNotFound:
        return None


def raise_for(result: StepResult, invocation: StepInvocation) -> None:
    """Raise ``StepFailed`` for the result of a step that failed elsewhere."""
    if result.state == "failed":
        raise StepFailed(
            f'Step "{invocation.step}" failed on remote compute: {result.error}',
            hint="The log of the remote job has the traceback.",
            step=invocation.step,
            error_type=result.error_type,
        )


def main(arguments: list[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the invocation named on the command line. Errors go to stderr, redacted."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        print(f"usage: python -m {__spec__.name if __spec__ else __name__} URI", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return _run(given[0], os.environ if environ is None else environ)
    except WindsockError as error:
        print(f"{type(error).__name__}: {redact(str(error))}", file=sys.stderr)  # noqa: T201
        return 2


def _run(uri: str, environ: Mapping[str, str]) -> int:
    from .execution import Execution
    from .recorder import CollectingRecorder

    store = _store(uri, environ)
    invocation = StepInvocation.from_json(store.get_bytes(uri))
    reach("runtime.remote.invocation_read")
    recorder = CollectingRecorder()
    try:
        result = Execution(invocation=invocation, store=store, recorder=recorder).run()
    except Exception as error:
        if recorder.result is None:
            raise
        result = recorder.result
        logging.getLogger("windsock.step").exception("%s", error_line(error))
    reach("runtime.remote.before_result")
    store.put_bytes(store_key(_result_uri(uri)), result.to_json().encode(), overwrite=True)
    reach("runtime.remote.result_written")
    return 1 if result.state == "failed" else 0


def store_key(uri: str) -> str:
    """The key of a control file: from ``invocations/`` on."""
    return f"{FOLDER}/{uri.rpartition(f'/{FOLDER}/')[2]}"


def _result_uri(uri: str) -> str:
    return uri.removesuffix(".json") + RESULT_SUFFIX


def _store(uri: str, environ: Mapping[str, str]) -> ArtifactStore:
    """The artifact store, from the environment or from the URI of the invocation."""
    from ..component import ComponentContext
    from ..flavors import resolve
    from ..security.credentials import EnvironmentCredentials
    from ..settings import Settings

    given = environ.get(STORE_VARIABLE)
    if given:
        options = json.loads(given)
    elif uri.startswith("file://"):
        path = unquote(urlsplit(uri).path)
        options = {"flavor": "local", "path": path.rpartition(f"/{FOLDER}/")[0]}
    else:
        raise StepFailed(
            f"Which artifact store holds {uri}? {STORE_VARIABLE} is not set.",
            hint=f"""Set it to the store's options as JSON: {STORE_VARIABLE}='{{"flavor": "s3", "bucket": "…"}}'""",
        )
    component: Any = resolve("artifact_store", options.pop("flavor"))
    context = ComponentContext(settings=Settings.load(environ=environ), credentials=EnvironmentCredentials(environ))
    built: ArtifactStore = component.from_mapping(options, context)
    return built


if __name__ == "__main__":
    sys.exit(main())
