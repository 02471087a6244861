from __future__ import annotations

import json

import pytest
from windsock.provider.errors import AliasNotFound, ModelNotFound
from windsock.provider.metadata import EdgeIn, NewArtifact, NewModelVersion, StepFinish, StepStart, run_key
from windsock.provider.registry.models import NativeModelRegistry


def new(name, content, output="output"):
    return NewArtifact(
        output=output, artifact=name, uri=f"file:///{content}", digest=f"blake3:{content}", size=1, type="x"
    )


class Training:
    """The records that a run of load → split → train → register leaves."""

    def __init__(self, metadata, run_id, rows):
        self.metadata = metadata
        self.run_id = run_id
        loaded = self.step("load", {}, [new("churn.load", f"rows-{rows}")])
        parts = self.step(
            "split",
            {"customers": loaded["output"]},
            [new("churn.split.train", f"train-{rows}", "train"), new("churn.split.test", f"test-{rows}", "test")],
        )
        model = self.step("train", {"customers": parts["train"]}, [new("churn.train", f"model-{rows}")])
        start = self.start("register")
        metadata.runs.start_step(start)
        self.version = metadata.models.register(
            NewModelVersion(
                model="churn",
                artifact=model["output"].ref(),
                evaluation=parts["test"].ref(),
                metrics={"accuracy": 0.9, "recall": 0.75},
                run=start.run_key,
                step_run=start.key,
                created_by="airflow",
            )
        )

    def start(self, step):
        return StepStart(
            dag_id="churn_training",
            run_id=self.run_id,
            task_id=step,
            step=step,
            pipeline="churn",
            pipeline_version=3,
            reason={"trigger": "drift", "report": 17},
            triggered_by="asset",
        )

    def step(self, name, inputs, outputs):
        edges = [EdgeIn(name=argument, ref=version.ref()) for argument, version in inputs.items()]
        return self.metadata.runs.finish_step(
            StepFinish(start=self.start(name), state="success", inputs=edges, outputs=outputs)
        )


@pytest.fixture
def registry(metadata):
    return NativeModelRegistry.over(metadata)


class TestWhyIsItInProduction:
    @pytest.fixture
    def why(self, registry, metadata):
        for number, rows in enumerate((100, 200), start=1):
            Training(metadata, f"night_{number}", rows)
            registry.promote(
                "churn",
                version=number,
                gates=["accuracy>=0.85", "recall>=0.7"],
                actor="ada",
                reason=f"release {number}",
                run=run_key("churn_training", f"night_{number}"),
            )
        return registry.explain("churn", "production")

    def test_who_when_and_instead_of_which(self, why, registry):
        assert (why.version, why.previous, why.actor, why.reason) == (2, 1, "ada", "release 2")
        assert why.since == registry.history("churn", "production")[0].at
        assert (why.promoted_in.dag_id, why.promoted_in.run_id) == ("churn_training", "night_2")

    def test_past_which_gates(self, why):
        assert [(gate.gate["metric"], gate.passed, gate.values["value"]) for gate in why.gates] == [
            ("accuracy", True, 0.9),
            ("recall", True, 0.75),
        ]

    def test_in_which_run_it_was_made_and_why_that_ran(self, why):
        made = why.made_in
        assert (made.run_id, made.step, made.pipeline, made.pipeline_version) == ("night_2", "register", "churn", 3)
        assert made.reason == {"trigger": "drift", "report": 17}

    def test_from_which_data(self, why):
        assert [(d.artifact, d.version, d.digest, d.role) for d in why.data] == [
            ("churn.load", 2, "blake3:rows-200", "source"),
            ("churn.split.test", 2, "blake3:test-200", "evaluation"),
            ("churn.split.train", 2, "blake3:train-200", "derived"),
        ]

    def test_as_a_sentence(self, why):
        sentence = str(why)
        assert 'Version 2 of "churn" is production since ' in sentence
        for part in (
            "ada put it there instead of version 1, in run churn_training/night_2 (release 2).",
            "It passed: accuracy ≥ 0.85: it is 0.9; recall ≥ 0.7: it is 0.75.",
            "step register of pipeline churn version 3 (why it ran: trigger drift, report 17)",
            "with accuracy 0.9, recall 0.75.",
            "Its data: churn.load@2 (blake3:rows-200).",
        ):
            assert part in sentence

    def test_as_json(self, why):
        form = json.loads(json.dumps(why.to_dict(), allow_nan=False))
        assert form["version"] == 2
        assert form["gates"][0]["detail"] == "accuracy ≥ 0.85: it is 0.9"
        assert form["since"].endswith("+00:00")
        assert form["sentence"] == str(why)

    def test_after_a_step_back_it_tells_the_step_back(self, why, registry):
        registry.promote("churn", version=1, actor="bob", reason="complaints")
        back = registry.explain("churn")
        assert (back.version, back.previous, back.actor, back.gates) == (1, 2, "bob", ())
        assert "No gate was asked." in str(back)
        assert back.made_in.run_id == "night_1"


class TestLittleIsKnown:
    def test_a_model_that_no_run_made(self, registry, metadata):
        artifact = metadata.artifacts.record(new("bought.model", "m")).ref()
        registry.register(NewModelVersion(model="bought", artifact=artifact, created_by="ada"))
        registry.move_alias("bought", "production", 1, actor="ada")
        why = registry.explain("bought")
        assert (why.made_in, why.promoted_in, why.data, why.previous) == (None, None, (), None)
        assert "ada put it there as the first." in str(why)

    def test_unknown_names(self, registry, metadata):
        with pytest.raises(ModelNotFound):
            registry.explain("churn")
        Training(metadata, "night", 1)
        with pytest.raises(AliasNotFound):
            registry.explain("churn", "production")
