"""The code behind the example DAGs, run in process: no Airflow, a real database, real data."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from windsock.provider.errors import GateFailed

DAGS = Path(__file__).parents[2] / "dags"
SHIFT = 0.25


@pytest.fixture
def example(monkeypatch):
    """A module of ``windsock_examples``, found as Airflow finds it: the folder of the DAG files is on the path."""
    monkeypatch.syspath_prepend(str(DAGS))
    return lambda name: importlib.import_module(f"windsock_examples.{name}")


@pytest.fixture
def tumours(example):
    return example("tumours")


class TestTumours:
    def test_patients_are_real_and_complete(self, tumours):
        patients = tumours.bundled_patients()
        assert len(patients) == 569
        assert patients["malignant"].sum() == 212
        assert tumours.measurements(patients).shape[1] == 30
        assert patients["patient"].is_unique

    def test_a_patient_stays_on_one_side(self, tumours):
        again = tumours.bootstrap_patients(2000, seed=1)
        train, test = tumours.split(pd.concat([tumours.bundled_patients(), again], ignore_index=True))
        assert not set(train["patient"]) & set(test["patient"])
        assert 0.2 < len(test) / (len(train) + len(test)) < 0.3

    def test_bootstrapping_is_repeatable_and_the_shift_moves_lengths_only(self, tumours):
        plain, again = tumours.bootstrap_patients(300, seed=5), tumours.bootstrap_patients(300, seed=5)
        pd.testing.assert_frame_equal(plain, again)
        moved = tumours.bootstrap_patients(300, seed=5, shift=SHIFT)
        ratio = (moved / plain).median()
        assert ratio["mean radius"] == pytest.approx(1.25)
        assert ratio["worst area"] == pytest.approx(1.5625)
        assert ratio["mean texture"] == ratio["patient"] == 1
        assert (moved["malignant"] == plain["malignant"]).all()

    def test_the_scanner_costs_the_old_model_its_accuracy_and_a_new_one_gets_it_back(self, tumours):
        train, test = tumours.split(tumours.bundled_patients())
        old = tumours.train(train)
        moved = tumours.bootstrap_patients(1500, seed=7, shift=SHIFT)
        _, moved_test = tumours.split(moved)
        assert tumours.evaluate(old, test)["accuracy"] > 0.92
        assert tumours.evaluate(old, moved_test)["accuracy"] < 0.8
        train, test = tumours.split(pd.concat([tumours.bundled_patients(), moved], ignore_index=True))
        new = tumours.train(train)
        gain = tumours.evaluate(new, test)["accuracy"] - tumours.evaluate(old, test)["accuracy"]
        assert gain > 0.1

    def test_from_the_first_version_to_the_retrained_one(self, tumours, stack, tmp_path):
        registry, data = stack.model_registry, tmp_path / "data"
        gates = ["accuracy>=0.85", "better:accuracy:0.01"]
        first = tumours.tumours.run(stack=stack, data_folder=str(data))
        assert first.load("register_model")["version"] == 1
        registry.promote("tumours", gates=gates, actor="ada")

        tumours.tumours.run(stack=stack, data_folder=str(data))  # nothing new: no better than what there is
        with pytest.raises(GateFailed, match=r"better by 0, needed at least 0\.01"):
            registry.promote("tumours", gates=gates, actor="ada")

        (data / "landing").mkdir(parents=True)
        moved = tumours.bootstrap_patients(1500, seed=7, shift=SHIFT)
        moved.to_parquet(data / "landing" / "monday.parquet", index=False)
        third = tumours.tumours.run(stack=stack, data_folder=str(data))
        assert third.states["train"] == "success"
        result = registry.promote("tumours", gates=gates, actor="ada", reason="drift")
        assert (result.version, result.previous) == (3, 1)
        assert result.gates[1].values["gain"] > 0.1
        why = registry.explain("tumours")
        assert [d.artifact for d in why.data if d.role == "source"] == ["tumours.load_patients"]

    def test_a_model_that_is_not_good_enough_is_not_registered(self, tumours, stack):
        run = tumours.tumours.run(stack=stack, n_estimators=1, min_samples_leaf=400)
        assert run.load("evaluate")["accuracy"] < 0.85
        assert run.states["register_model"] == "skipped"
        assert stack.metadata.models.find("tumours") is None


class TestDigits:
    def test_scans_are_read(self, example, stack):
        run = example("digits").digits.run(stack=stack)
        assert run.load("evaluate")["accuracy"] > 0.95
        version = stack.metadata.models.get("digits", alias="candidate")
        assert version.input_schema["outputs"]["classes"] == list(range(10))
        assert len(version.input_schema["features"]) == 64

    def test_sheets_hold_what_the_model_wants_and_no_answers(self, example, stack, tmp_path):
        digits = example("digits")
        digits.digits.run(stack=stack)
        paths = digits.write_sheets(str(tmp_path / "sheets"), sheets=2, per_sheet=10)
        names = [f["name"] for f in stack.metadata.models.get("digits").input_schema["features"]]
        assert [list(pd.read_parquet(path).columns) for path in paths] == [names, names]
        assert not pd.read_parquet(paths[0]).equals(pd.read_parquet(paths[1]))


class TestDiabetes:
    def test_the_best_strength_of_the_search_is_trained(self, example, stack):
        diabetes = example("diabetes")
        run = diabetes.diabetes.run(stack=stack)
        scores = run.load("score")
        assert len(scores) == len(diabetes.STRENGTHS)
        assert run.load("choose") == diabetes.STRENGTHS[scores.index(max(scores))]
        version = stack.metadata.models.get("diabetes")
        assert version.parameters["ridge__alpha"] == run.load("choose")
        assert version.metrics["r2"] > 0.3
        assert version.input_schema["outputs"] == {"task": "regression", "prediction": "float", "classes": None}


class TestImports:
    @pytest.mark.parametrize("name", ["tumours", "digits", "diabetes", "wines"])
    def test_parsing_imports_no_data_library(self, name):
        code = (
            f"import sys; sys.path.insert(0, {str(DAGS)!r})\n"
            f"import windsock_examples.{name} as example\n"
            "getattr(example, '" + name + "', None) and getattr(example, '" + name + "').spec\n"
            "print([m for m in ('pandas', 'sklearn', 'numpy', 'pyarrow', 'sqlalchemy', 'airflow') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
        assert done.stdout.strip() == "[]"
