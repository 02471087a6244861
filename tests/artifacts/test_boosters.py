"""XGBoost and LightGBM models predict the same again, to the last bit, and no pickle was involved."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from windsock.provider.artifacts.digests import folder_manifest
from windsock.provider.artifacts.handle import Artifact
from windsock.provider.artifacts.materializers.base import LoadRequest
from windsock.provider.artifacts.materializers.choose import materializer_named
from windsock.provider.artifacts.saving import save
from windsock.provider.errors import ArtifactCorrupted, MaterializerNotFound, MissingExtra

random = np.random.default_rng(0)
X = pd.DataFrame(random.random((300, 4)), columns=list("abcd"))
y = (X["a"] + 0.3 * random.random(300) > 0.6).astype(int)


def _objective(true, found):
    return found - true, np.ones_like(found)


class TestXgboost:
    xgboost = pytest.importorskip("xgboost")

    def test_a_booster(self, round_trip):
        booster = self.xgboost.train({"max_depth": 3}, self.xgboost.DMatrix(X, y), num_boost_round=7)
        loaded = round_trip(booster)
        assert np.array_equal(loaded.predict(self.xgboost.DMatrix(X)), booster.predict(self.xgboost.DMatrix(X)))
        assert loaded.feature_names == list("abcd")

    def test_a_classifier_with_early_stopping(self, round_trip):
        model = self.xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, learning_rate=1.0, missing=-1.0)
        model.fit(X[:200], y[:200], eval_set=[(X[200:], y[200:])], verbose=False)
        loaded = round_trip(model)
        assert type(loaded) is type(model)
        assert loaded.best_iteration == model.best_iteration < 59
        assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
        assert loaded.get_params() == model.get_params()
        assert (list(loaded.classes_), loaded.evals_result_) == ([0, 1], model.evals_result_)

    @pytest.mark.parametrize("name", ["XGBRegressor", "XGBRFRegressor"])
    def test_the_others_fitted_or_not(self, name, round_trip):
        model = getattr(self.xgboost, name)(n_estimators=3, random_state=4)
        assert round_trip(model).get_params()["random_state"] == 4
        model.fit(X, y)
        assert np.array_equal(round_trip(model).predict(X), model.predict(X))

    def test_shows_what_matters(self, store):
        metadata = save(self.xgboost.XGBRegressor(n_estimators=5).fit(X, y), store).metadata
        assert next(iter(metadata["importance"])) == "a"
        assert (metadata["rounds"], metadata["features"]) == (5, list("abcd"))
        json.dumps(metadata, allow_nan=False)

    def test_code_in_parameters_is_refused(self, store):
        model = self.xgboost.XGBRegressor(n_estimators=2, objective=_objective).fit(X, y)
        with pytest.raises(MaterializerNotFound, match=r"'objective'. is a builtins.function") as caught:
            save(model, store)
        assert "@step(pickle=True)" in caught.value.hint

    @pytest.mark.parametrize(
        "data", [b"", b"{", b"\x80\x05cos\nsystem\n.", b"{}", b'{"learner": 3}', b"binf" + b"\x00" * 99]
    )
    def test_what_is_no_model_is_refused(self, data):
        with pytest.raises(ArtifactCorrupted):
            materializer_named("xgboost").read(memoryview(data), LoadRequest("xgboost.Booster"))

    @pytest.mark.parametrize("name", ["DMatrix", "train", "os", "XGBModel.__init__", "../x"])
    def test_only_estimators_are_created(self, name, tmp_path):
        (tmp_path / "estimator.json").write_text(json.dumps({"class": name, "parameters": {}}))
        with pytest.raises(ArtifactCorrupted, match="no estimator"):
            materializer_named("xgboost.estimator").load(tmp_path, LoadRequest("xgboost.XGBClassifier"))


class TestLightgbm:
    lightgbm = pytest.importorskip("lightgbm")

    def _fit(self, model, target):
        stop = self.lightgbm.early_stopping(2, verbose=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the new arguments do not take text for labels
            return model.fit(X[:200], target[:200], eval_set=[(X[200:], target[200:])], callbacks=[stop])

    def test_a_classifier_with_names_for_classes(self, round_trip):
        names = np.where(y == 1, "yes", "no")
        model = self._fit(self.lightgbm.LGBMClassifier(n_estimators=300, learning_rate=0.5, verbose=-1), names)
        loaded = round_trip(model)
        assert type(loaded) is type(model)
        assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
        assert np.array_equal(loaded.predict(X), model.predict(X))
        assert (list(loaded.classes_), loaded.score(X, names)) == (["no", "yes"], model.score(X, names))
        assert loaded.get_params() == model.get_params()
        assert (loaded.best_iteration_, loaded.evals_result_) == (model.best_iteration_, model.evals_result_)
        assert loaded.feature_name_ == list("abcd")

    def test_all_trees_are_kept_and_the_best_are_used(self, round_trip):
        data = self.lightgbm.Dataset(X[:200], y[:200])
        booster = self.lightgbm.train(
            {"objective": "binary", "learning_rate": 0.9, "verbose": -1},
            data,
            num_boost_round=100,
            valid_sets=[self.lightgbm.Dataset(X[200:], y[200:], reference=data)],
            callbacks=[self.lightgbm.early_stopping(3, verbose=False)],
            keep_training_booster=True,
        )
        assert booster.best_iteration < booster.num_trees()
        loaded = round_trip(booster)
        assert (loaded.best_iteration, loaded.num_trees()) == (booster.best_iteration, booster.num_trees())
        assert np.array_equal(loaded.predict(X), booster.predict(X))
        assert np.array_equal(loaded.predict(X, num_iteration=-1), booster.predict(X, num_iteration=-1))

    def test_one_that_is_not_fitted(self, round_trip):
        assert round_trip(self.lightgbm.LGBMRegressor(num_leaves=5)).num_leaves == 5

    def test_other_tools_read_the_text(self, store):
        stored = save(self.lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(X, y), store)
        folder = Artifact.bind({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store).path()
        assert self.lightgbm.Booster(model_file=folder / "model.txt").num_trees() == 3
        assert stored.metadata["trees"] == 3

    @pytest.mark.parametrize("text", ["", "tree\n", "tree\nversion=v4\nnum_class=1\n\nend of trees\n", "\x00" * 50])
    def test_what_is_no_model_is_refused(self, text, tmp_path):
        (tmp_path / "model.txt").write_text(text)
        (tmp_path / "booster.json").write_text('{"best_iteration": 0, "best_score": {}}')
        with pytest.raises(ArtifactCorrupted):
            materializer_named("lightgbm").load(tmp_path, LoadRequest("lightgbm.Booster"))

    @pytest.mark.parametrize("name", ["predict", "__class__", "fit", "_more_tags", "x"])
    def test_a_stored_estimator_does_not_replace_methods(self, name, tmp_path):
        facts = {"class": "LGBMRegressor", "parameters": {}, "fitted": {name: "x"}}
        (tmp_path / "estimator.json").write_text(json.dumps(facts))
        materializer = materializer_named("lightgbm.estimator")
        if name == "_more_tags" and not hasattr(self.lightgbm.LGBMRegressor, name):
            pytest.skip("this version has no such method")
        with pytest.raises(ArtifactCorrupted, match="keeps nothing under the name"):
            materializer.load(tmp_path, LoadRequest("lightgbm.LGBMRegressor"))


class TestDamage:
    def test_is_found_before_the_library_reads_it_even_unverified(self, store):
        xgboost = pytest.importorskip("xgboost")
        stored = save(xgboost.XGBRegressor(n_estimators=2).fit(X, y), store)
        handle = Artifact.bind({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)
        folder = handle.path()
        manifest = folder_manifest(folder)
        path = folder / "model.ubj"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
        assert folder_manifest(folder) != manifest
        with pytest.raises(ArtifactCorrupted, match="not what was stored"):
            handle.load(verify=False)

    def test_a_missing_library_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "xgboost", None)
        with pytest.raises(MissingExtra, match="which needs xgboost") as caught:
            materializer_named("xgboost").read(memoryview(b"{}"), LoadRequest("xgboost.Booster"))
        assert caught.value.hint == "Run: pip install 'airflow-provider-windsock[xgboost]'"


def test_nothing_is_pickled(store, monkeypatch):
    """Neither pickle nor joblib is called by any of these."""
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")

    def refuse(*_, **__):
        raise AssertionError("pickled")

    for name in ("pickle.dumps", "pickle.dump", "pickle.loads", "pickle.load"):
        monkeypatch.setattr(name, refuse)
    for model in (xgboost.XGBRegressor(n_estimators=2), lightgbm.LGBMRegressor(n_estimators=2, verbose=-1)):
        stored = save(model.fit(X, y), store)
        Artifact.bind({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store).load()
    assert Path(store.local_path(stored.uri)).is_file()
