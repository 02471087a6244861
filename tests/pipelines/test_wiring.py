"""From calls to a spec: what a pipeline function may do with steps, and what it is told when it may not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from pipelines import shop
from windsock import Pipeline, Resources, on_exit, pipeline, step, when
from windsock.provider.errors import (
    ComponentInvalid,
    DuplicateName,
    PipelineInvalid,
    ReferenceMisuse,
    TypeMismatch,
    UnknownParameter,
)
from windsock.provider.pipelines.spec import PipelineSpec


def wired(body: Any) -> PipelineSpec:
    """The spec of a pipeline whose function is ``body``."""
    return Pipeline(body, name="test").spec


class TestASpec:
    def test_of_the_readme_pipeline(self) -> None:
        spec = shop.churn.spec
        assert [step.name for step in spec.steps] == ["load", "split", "train", "evaluate", "register", "notify"]
        assert dict(spec.by_name["train"].arguments) == {
            "customers": {"step": "split", "output": "train"},
            "learning_rate": {"parameter": "learning_rate"},
        }
        assert [(o.name, o.type) for o in spec.by_name["split"].outputs] == [
            ("train", "pandas.DataFrame"),
            ("test", "pandas.DataFrame"),
        ]
        assert spec.by_name["train"].options.resources == Resources(cpu=4, memory="16Gi", gpu=1)
        assert [(p.name, p.type, p.default) for p in spec.parameters] == [
            ("snapshot", "str", "latest"),
            ("learning_rate", "float", 0.1),
        ]

    def test_of_a_condition(self) -> None:
        (condition,) = shop.churn.spec.conditions
        assert condition.expression == {
            "op": ">",
            "left": {"step": "evaluate", "output": "output", "path": ["accuracy"]},
            "right": {"value": 0.85},
        }
        assert shop.churn.spec.by_name["register"].condition == condition.name
        assert shop.churn.spec.by_name["evaluate"].condition is None

    def test_survives_json_unchanged(self) -> None:
        for pipe in (shop.churn, shop.everything, shop.outer):
            assert PipelineSpec.from_dict(pipe.spec.to_dict()) == pipe.spec

    def test_is_made_once_and_only_when_asked_for(self) -> None:
        calls = []

        @pipeline
        def counted() -> None:
            calls.append(1)
            shop.load("x")

        assert calls == []
        assert counted.spec is counted.spec
        assert calls == [1]

    def test_digest_sees_the_graph_and_not_the_prose(self) -> None:
        def one() -> None:
            """Prose."""
            shop.load("x")

        def same() -> None:
            shop.load("x")

        def other() -> None:
            shop.load("y")

        assert wired(one).digest == wired(same).digest != wired(other).digest

    def test_parameters_know_their_choices(self) -> None:
        by_name = {p.name: p for p in shop.everything.spec.parameters}
        assert by_name["mode"].choices == ("full", "quick")
        assert by_name["color"].choices == ("red", "blue")
        assert by_name["color"].default == "red"
        assert by_name["snapshot"].required
        assert by_name["rates"].type == "list[float]"


class TestNames:
    def test_of_repeated_steps_are_numbered(self) -> None:
        def body() -> None:
            for _ in range(3):
                shop.load("x")

        assert [s.name for s in wired(body).steps] == ["load", "load_2", "load_3"]

    def test_a_number_that_is_taken_is_passed_over(self) -> None:
        def body() -> None:
            shop.load("x")
            shop.load.named("load_2")("x")
            shop.load("x")

        assert [s.name for s in wired(body).steps] == ["load", "load_2", "load_3"]

    def test_chosen_twice_is_an_error(self) -> None:
        def body() -> None:
            shop.load.named("rows")("x")
            shop.load.named("rows")("y")

        with pytest.raises(DuplicateName, match='two steps named "rows"'):
            wired(body)

    def test_of_an_inlined_pipeline_are_prefixed(self) -> None:
        spec = shop.outer.spec
        assert [s.name for s in spec.steps] == [
            "features.load",
            "features.split",
            "train",
            "features_2.load",
            "features_2.split",
        ]
        assert spec.by_name["features.load"].arguments == (("snapshot", {"value": "one"}),)
        assert spec.by_name["features_2.load"].arguments == (("snapshot", {"value": "latest"}),)


class TestOutputs:
    def test_are_those_of_a_named_tuple(self) -> None:
        assert [(o.name, o.type) for o in shop.halves.outputs] == [
            ("low", "pandas.DataFrame"),
            ("high", "pandas.DataFrame"),
        ]

    def test_of_a_tuple_are_several_decided_from_the_annotation(self) -> None:
        assert [(o.name, o.type) for o in shop.pair.outputs] == [("output_0", "int"), ("output_1", "str")]

    def test_of_none_are_none_and_cannot_be_passed_on(self) -> None:
        assert shop.notify.outputs == ()
        with pytest.raises(ReferenceMisuse, match='"notify", which returns nothing'):
            wired(lambda: shop.load(shop.notify("x")))

    def test_several_must_be_chosen_from(self) -> None:
        with pytest.raises(ReferenceMisuse, match="Choose one of its outputs: train, test"):
            wired(lambda: shop.train(shop.split(shop.load("x"))))

    def test_are_found_by_name_and_number(self) -> None:
        def body() -> None:
            both: Any = shop.split(shop.load("x"))
            shop.train(both["test"])
            shop.train(both.test)
            shop.train(both[1])

        for name in ("train", "train_2", "train_3"):
            assert wired(body).by_name[name].arguments[0][1] == {"step": "split", "output": "test"}

    def test_an_unknown_one_is_suggested(self) -> None:
        with pytest.raises(ReferenceMisuse, match='Did you mean "test"'):
            wired(lambda: shop.split(shop.load("x"))["tset"])

    def test_named_wrongly_often(self) -> None:
        @step(outputs=("a", "b", "c"))
        def two() -> tuple[int, int]: ...

        with pytest.raises(PipelineInvalid, match="names 3 outputs"):
            wired(two)


class TestReferencesAreNoValues:
    @pytest.mark.parametrize(
        ("use", "hint"),
        [
            (bool, "with when"),
            (lambda r: 1 if r["accuracy"] > 0.5 else 2, "with when"),
            (list, "expand"),
            (lambda r: r + 1, "inside a step"),
            (lambda r: -r, "inside a step"),
            (lambda r: f"{r}", "format it there"),
            (len, "Count inside a step"),
            (lambda r: r.mean(), "inside a step"),
            (lambda r: r(), "inside a step"),
            (int, "inside a step"),
            (lambda r: "x" in r, "inside a step"),
            (lambda r: 0 < r["a"] < 1, "combine conditions"),
            (lambda r: r["a"] > 1 and r["b"] > 1, "combine conditions"),
            (lambda r: r[1:2], "slice inside"),
            (lambda r: (r > 1) & 5, "plain `if`"),
        ],
    )
    def test_and_say_what_to_do_instead(self, use: Any, hint: str) -> None:
        with pytest.raises(ReferenceMisuse, match=hint):
            wired(lambda: use(shop.evaluate(shop.train(shop.load("x")), shop.load("x"))))

    def test_nor_are_parameters(self) -> None:
        def body(rate: float = 0.1) -> None:
            if rate > 0.5:
                shop.load("x")

        with pytest.raises(ReferenceMisuse, match="with when"):
            wired(body)

    def test_of_another_pipeline_are_refused(self) -> None:
        kept = []

        @pipeline
        def first() -> None:
            kept.append(shop.load("x"))

        assert first.spec
        with pytest.raises(ReferenceMisuse, match='belongs to pipeline "first"'):
            wired(lambda: shop.train(kept[0]))

    def test_inside_a_mapping_are_refused(self) -> None:
        with pytest.raises(ReferenceMisuse, match="argument of its own"):
            wired(lambda: shop.free(a={"deep": {"er": shop.load("x")}}))


class TestArguments:
    def test_unknown(self) -> None:
        with pytest.raises(UnknownParameter, match='has no parameter "snapshto"') as caught:
            wired(lambda: shop.load(snapshto="x"))  # type: ignore[call-arg]
        assert 'Did you mean "snapshot"' in str(caught.value)

    def test_missing(self) -> None:
        with pytest.raises(PipelineInvalid, match="needs model and customers"):
            wired(lambda: shop.evaluate())  # type: ignore[call-arg]  # noqa: PLW0108

    def test_too_many(self) -> None:
        with pytest.raises(PipelineInvalid, match="takes 1 positional arguments and was given 2"):
            wired(lambda: shop.load("x", "y"))  # type: ignore[call-arg]

    def test_twice(self) -> None:
        with pytest.raises(PipelineInvalid, match='"snapshot" twice'):
            wired(lambda: shop.load("x", snapshot="y"))  # type: ignore[misc]

    @pytest.mark.parametrize("value", [object(), {1: 2}, float("nan"), {"x": {3}}, print])
    def test_constants_are_json(self, value: Any) -> None:
        with pytest.raises(PipelineInvalid, match='Step "free" is given a='):
            wired(lambda: shop.free(a=value))

    def test_constants_are_normalised(self) -> None:
        from datetime import date
        from pathlib import Path

        spec = wired(lambda: shop.free(a=(1, 2), b=shop.Color.RED, c=date(2026, 11, 20), d=Path("/x")))
        assert {k: v["value"] for k, v in spec.steps[0].arguments} == {
            "a": [1, 2],
            "b": "red",
            "c": "2026-11-20",
            "d": "/x",
        }

    def test_star_arguments_have_no_name(self) -> None:
        @step
        def many(*frames: int) -> int: ...

        with pytest.raises(PipelineInvalid, match="every input of a step has a name"):
            wired(lambda: many(1))


class TestTypes:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (lambda: shop.train(shop.vectors(shop.load("x"))), "customers: pandas.DataFrame.*numpy.ndarray"),
            (lambda: shop.load(shop.load("x")), "snapshot: str.*pandas.DataFrame"),
            (lambda: shop.split(shop.load("x"), "0.2"), "test_size: float.*'0.2': str"),
            (lambda: shop.by_name.expand(name=shop.vectors), "not JSON"),
            (lambda: shop.by_name.expand(name=[1, 2]), "name: str.*int"),
            (lambda: shop.notify("x", shop.load("x")), "dict.*pandas.DataFrame"),
        ],
    )
    def test_that_cannot_fit(self, body: Any, message: str) -> None:
        with pytest.raises((TypeMismatch, PipelineInvalid), match=message):
            wired(body)

    @pytest.mark.parametrize(
        "body",
        [
            lambda: shop.split(shop.load("x"), 1),
            lambda: shop.register(shop.load("x"), {"a": 1}),
            lambda: shop.register(shop.train(shop.load("x")), {"a": 1.5}, note=None),
            lambda: shop.by_name.expand(name=shop.names(shop.load("x"))),
            lambda: shop.notify("x", shop.evaluate(shop.train(shop.load("x")), shop.load("x"))),
            lambda: shop.best(shop.train.partial(customers=shop.load("x")).expand(learning_rate=[0.1])),
        ],
    )
    def test_that_may_fit(self, body: Any) -> None:
        assert wired(body).steps

    def test_of_parameters(self) -> None:
        with pytest.raises(TypeMismatch, match="learning_rate is 'fast', and float is wanted"):
            shop.churn.bind(learning_rate="fast")
        with pytest.raises(TypeMismatch, match="not one of its choices"):
            shop.everything.bind(mode="slow")


class TestBinding:
    def test_keeps_the_spec_and_the_original(self) -> None:
        bound = shop.churn.bind(snapshot="{{ ds }}")
        assert bound.spec is shop.churn.spec
        assert bound.bound == {"snapshot": "{{ ds }}"}
        assert shop.churn.bound == {}
        assert bound.bind(learning_rate=1).bound == {"snapshot": "{{ ds }}", "learning_rate": 1}

    def test_of_an_unknown_parameter(self) -> None:
        with pytest.raises(UnknownParameter, match='no parameter "snapshoot"'):
            shop.churn.bind(snapshoot="x")


class TestConditionsAndExits:
    def test_nesting(self) -> None:
        spec = shop.everything.spec
        assert [(c.name, c.parent) for c in spec.conditions] == [("good", None), ("colored", "good")]
        assert spec.branch("colored") == ["colored", "good"]
        assert spec.by_name["by_name"].condition == "colored"

    def test_what_may_be_missing(self) -> None:
        def body(limit: float = 1.0) -> None:
            rows = shop.load("x")
            metrics = shop.evaluate(shop.train(rows), rows)
            with when(metrics["a"] > limit):
                inside = shop.evaluate.named("inside")(shop.train.named("better")(rows), rows)
                shop.notify.named("same_branch")("x", inside)
            shop.notify.named("default")("x", inside)
            shop.register.named("no_default")(shop.train.named("last")(rows), inside)
            on_exit(shop.notify.named("handler")("x", metrics))

        spec = wired(body)
        assert {s.name: s.optional for s in spec.steps if s.optional} == {
            "default": ("metrics",),
            "handler": ("metrics",),
        }

    def test_an_exit_handler_needs_defaults(self) -> None:
        def body() -> None:
            on_exit(shop.split(shop.load("x")))

        with pytest.raises(PipelineInvalid, match='Exit handler "split" takes customers from step "load"'):
            wired(body)

    def test_an_exit_handler_comes_last_whatever_the_order(self) -> None:
        def body() -> None:
            on_exit(shop.notify("bye"))
            shop.load("x")

        assert [s.name for s in wired(body).steps] == ["load", "notify"]

    def test_nothing_waits_for_an_exit_handler(self) -> None:
        def body() -> None:
            last: Any = on_exit(shop.notify("bye"))
            last >> shop.load("x")

        with pytest.raises(PipelineInvalid, match='waits for exit handler "notify"'):
            wired(body)

    def test_only_inside_a_pipeline(self) -> None:
        with pytest.raises(PipelineInvalid, match="outside a pipeline"), when(True):
            pass
        with pytest.raises(PipelineInvalid, match="outside a pipeline"):
            on_exit(None)


class TestOrder:
    def test_by_arrows(self) -> None:
        def body() -> None:
            a: Any = shop.load.named("a")("x")
            b: Any = shop.load.named("b")("x")
            c: Any = shop.load.named("c")("x")
            c >> [a, b]

        spec = wired(body)
        assert spec.by_name["a"].after == ("c",)
        assert [s.name for s in spec.ordered()] == ["c", "a", "b"]

    def test_a_circle_is_shown(self) -> None:
        def body() -> None:
            a: Any = shop.load.named("a")("x")
            b: Any = shop.split.named("b")(a)
            b >> a

        with pytest.raises(PipelineInvalid, match=r"goes in a circle: .*a -> b|b -> a"):
            wired(body)

    def test_a_condition_on_its_own_branch_is_a_circle(self) -> None:
        def body() -> None:
            metrics = shop.evaluate(shop.train(shop.load("x")), shop.load("y"))
            with when(metrics["a"] > 1):
                rows: Any = shop.load.named("inside")("x")
            rows >> metrics

        with pytest.raises(PipelineInvalid, match="goes in a circle"):
            wired(body)

    def test_a_long_chain_is_no_deep_recursion(self) -> None:
        def body() -> None:
            rows: Any = [shop.load.named(f"n{i}")("x") for i in range(3000)]
            for earlier, later in zip(rows[1:], rows[:-1], strict=True):
                earlier >> later

        assert wired(body).ordered()[0].name == "n2999"


class TestOutsideAPipeline:
    def test_a_step_is_its_function(self) -> None:
        painted = step(shop.paint)
        assert painted("blue") == "blue"
        assert painted.__name__ == "paint"
        assert painted.expand(color=["a", "b"]) == ["a", "b"]

    def test_a_component_runs_with_its_config(self) -> None:
        assert shop.clean("rows") == "rows"
        assert shop.clean.config == {"drop_missing": False, "columns": ["age", "plan"]}

    def test_a_pipeline_says_how_to_run_it(self) -> None:
        with pytest.raises(PipelineInvalid, match=r"churn\.run\(\.\.\.\)"):
            shop.churn()

    def test_a_step_pickles_by_name_and_copies_to_itself(self) -> None:
        assert pickle.loads(pickle.dumps(shop.load)) is shop.load
        assert copy.deepcopy(shop.load) is shop.load


class TestOptions:
    def test_unknown(self) -> None:
        with pytest.raises(PipelineInvalid, match='no option "retires"'):
            step(retires=3)(shop.paint)  # type: ignore[call-overload]

    @pytest.mark.parametrize("options", [{"retries": -1}, {"timeout": "soon"}, {"retry_delay": -5}])
    def test_impossible(self, options: Any) -> None:
        with pytest.raises(PipelineInvalid):
            step(**options)(shop.paint)

    def test_memory_is_a_quantity(self) -> None:
        with pytest.raises(PipelineInvalid, match="16 gigs"):
            Resources(memory="16 gigs")

    def test_config_errors_name_the_line(self, tmp_path: Any) -> None:
        (tmp_path / "bad.yaml").write_text("drop_missing: true\ncolums: [a]\n")
        with pytest.raises(ComponentInvalid, match=r"bad.yaml, line 2: .*\"colums\" is not an option"):
            _ = step(shop.Cleaner, config=tmp_path / "bad.yaml").config
