"""What crosses a process border comes out as it went in."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from windsock.provider.runtime.invocation import Metric, OutputTarget, RunIdentity, StepInvocation, StepResult

REF = {"artifact": "churn.load", "version": 3, "uri": "file:///o/ab.parquet", "digest": "blake3:ab", "type": "x.Y"}


def invocation() -> StepInvocation:
    return StepInvocation(
        step="train",
        function="acme.churn:train",
        identity=RunIdentity("churn", "manual__2026-01-01T00:00:00+00:00", "train", 4, 2),
        arguments={
            "customers": {"artifact": REF, "path": ["a", 0]},
            "rate": {"value": 0.1},
            "parts": {"list": [{"artifact": REF, "path": []}, {"value": None}]},
            "name": {"value": "Zoë \u2028 ☃"},
        },
        outputs=(OutputTarget("model", "sklearn.base.ClassifierMixin", "churn.train"),),
        pipeline="churn",
        pipeline_digest="sha256:00",
        pipeline_version=7,
        cache=False,
        allow_pickle=True,
        stack="production",
        run_parameters={"snapshot": "latest"},
        reason={"drift": 5},
        triggered_by="ada",
        config={"drop_missing": True},
    )


class TestRoundTrip:
    def test_invocation(self) -> None:
        given = invocation()
        assert StepInvocation.from_json(given.to_json()) == given
        assert StepInvocation.from_json(given.to_json()).to_json() == given.to_json()

    def test_result(self) -> None:
        given = StepResult(
            outputs={"model": REF},
            state="failed",
            metrics={"loss": 0.5},
            seconds=1.25,
            points=(Metric("loss", float("inf"), 1, 1.5), Metric("loss", 0.5, None, 2.5)),
            parameters={"depth": [1, 2]},
            artifacts=({"output": "model", "size": 3},),
            cache_key="k",
            cached_from=None,
            error="ValueError: no",
            error_type="ValueError",
        )
        assert StepResult.from_json(given.to_json()) == given

    def test_pickle(self) -> None:
        assert pickle.loads(pickle.dumps(invocation())) == invocation()

    def test_a_value_that_is_not_json_is_refused(self) -> None:
        given = StepInvocation("a", "m:f", RunIdentity("d", "r", "t"), arguments={"x": {"value": object()}})
        with pytest.raises(TypeError, match="not JSON serializable"):
            given.to_json()


class TestImport:
    def test_it_imports_the_standard_library_only(self) -> None:
        code = (
            "import sys, windsock.provider.runtime.invocation\n"
            "heavy = {'pydantic', 'sqlalchemy', 'numpy', 'pandas', 'airflow', 'fsspec', 'pyarrow'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
