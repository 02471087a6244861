"""A task that tries what it may not do, and says what came of it."""

from __future__ import annotations

import os
import secrets
import urllib.error
import urllib.request
from typing import Any

from airflow.sdk import DAG, task

with DAG("probe_over_rest", schedule=None):

    @task
    def probe() -> dict[str, Any]:
        from windsock.hooks import tokens
        from windsock.hooks.stacks import StackHook
        from windsock.provider.errors import WindsockError
        from windsock.provider.metadata import StepStart

        metadata: Any = StackHook().stack().metadata
        found: dict[str, Any] = {"transport": type(metadata).__name__}

        def trying(call: Any) -> str:
            try:
                return f"done: {call()}"
            except WindsockError as error:
                return f"{type(error).__name__}: {error.message}"

        stranger = StepStart(dag_id="numbers_over_rest", run_id="manual", task_id="measure", step="measure")
        found["another's step"] = trying(lambda: metadata.runs.start_step(stranger))
        found["another's run"] = trying(lambda: metadata.runs.end("numbers_over_rest", "manual", "failed"))
        found["another's name"] = trying(
            lambda: metadata.audit.append("user:mallory", "probe", "model", "averages", reason="a forged name")
        )
        found["the database"] = trying(metadata.audit.verify)

        url = metadata._http.url
        comms, instance = tokens._supervisor()
        claim = secrets.token_urlsafe(32)
        digest = tokens.claim_digest(claim)
        asked = b'{"task_instance": "%s", "claim": "%s"}' % (str(instance).encode(), claim.encode())

        def post(path: str, body: bytes, **headers: str) -> int:
            return int(metadata._http.post(path, body, lambda: {"Content-Type": "application/json", **headers}).status)

        found["a claim that was not written"] = post("/api/token", asked)
        tokens._write(comms, instance, tokens.claim_key(digest), digest)
        found["a digest instead of its claim"] = post("/api/token", asked.replace(claim.encode(), digest.encode()))
        found["a claim"] = post("/api/token", asked)
        found["the same claim again"] = post("/api/token", asked)

        source = metadata._tokens
        token = source.token()
        found["a renewed token"] = post("/api/token/renew", b"{}", Authorization=f"Bearer {token}")
        found["a changed token"] = post("/api/token/renew", b"{}", Authorization=f"Bearer {token[:-6]}AAAAAA")
        request = urllib.request.Request(
            url.removesuffix("/windsock") + "/api/v2/dags", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError as error:
            found["at Airflow's own API"] = error.code
        found["shown"] = f"{source!r} {source._held!r}"

        child = os.fork()
        if child == 0:
            os._exit(0 if metadata.models.list(limit=1) is not None else 1)
        found["a forked child"] = os.waitpid(child, 0)[1]
        found["and its parent"] = trying(lambda: len(metadata.models.list()) >= 0)
        assert token not in str(found)
        return found

    probe()
