"""From a spec and a stack to a plan: pure data, everything named."""

from __future__ import annotations

import importlib
import json
import time
from typing import Any

import pytest
from pipelines import shop
from windsock import Pipeline, when
from windsock.provider.compiler import compile as compiler
from windsock.provider.compiler.compile import compile_pipeline
from windsock.provider.compiler.mermaid import mermaid
from windsock.provider.errors import FlavorNotFound, PipelineInvalid, StepNotImportable

KUBERNETES = {
    "name": "production",
    "compute": {"default": "local", "local": {"flavor": "local"}, "kubernetes": {"flavor": "local"}},
}


def plan_of(body: Any, stack: Any = None) -> Any:
    return compile_pipeline(Pipeline(body, name="test").spec, stack)


class TestAPlan:
    def test_of_the_readme_pipeline(self) -> None:
        plan = compile_pipeline(shop.churn.spec, KUBERNETES)
        assert [t.task_id for t in plan.tasks] == [
            "load",
            "split",
            "train",
            "evaluate",
            "when",
            "register",
            "notify",
        ]
        by_id = {t.task_id: t for t in plan.tasks}
        assert by_id["train"].settings == {"retries": 2, "execution_timeout": 3600.0}
        assert by_id["when"].skips == ("register",)
        assert by_id["notify"].upstream == ("register",)
        assert plan.stack == "production"

    def test_is_frozen_and_equal_each_time(self) -> None:
        first, second = (compile_pipeline(shop.everything.spec, KUBERNETES) for _ in range(2))
        assert first == second
        with pytest.raises(AttributeError):
            first.tasks[0].task_id = "x"

    def test_settings_are_json(self) -> None:
        for task in compile_pipeline(shop.everything.spec, KUBERNETES).tasks:
            assert json.loads(json.dumps(task.settings)) == task.settings

    def test_names_only_operators_that_exist(self) -> None:
        named = {
            task.operator
            for pipe in (shop.churn, shop.everything)
            for task in compile_pipeline(pipe.spec, KUBERNETES).tasks
        }
        for operator in {*named, *compiler.OPERATORS.values()}:
            module, _, name = operator.partition(":")
            assert isinstance(getattr(importlib.import_module(module), name), type), operator
        assert len(named) == 3

    def test_the_operator_of_a_built_in_compute_is_the_one_it_names(self) -> None:
        from windsock.provider.flavors import FLAVORS, resolve

        for flavor in FLAVORS["compute"]:
            if flavor in compiler.OPERATORS:
                assert compiler.OPERATORS[flavor] == resolve("compute", flavor).operator  # type: ignore[attr-defined]

    def test_of_a_thousand_steps_takes_milliseconds(self) -> None:
        def body() -> None:
            rows = shop.load("x")
            for _ in range(999):
                rows, _ = shop.split(rows)

        times = []
        for _ in range(5):
            start = time.process_time()
            plan_of(body)
            times.append(time.process_time() - start)
        assert min(times) < 0.050


class TestMapping:
    def test_over_constants_is_known_at_once(self) -> None:
        plan = plan_of(lambda: shop.free.expand(a=[1, 2], b=["x", "y"]))
        (task,) = plan.tasks
        assert task.items == ({"a": 0, "b": 0}, {"a": 0, "b": 1}, {"a": 1, "b": 0}, {"a": 1, "b": 1})

    def test_over_an_output_needs_a_task_that_counts(self) -> None:
        plan = plan_of(lambda: shop.by_name.expand(name=shop.names(shop.load("x"))))
        assert [(t.task_id, t.kind) for t in plan.tasks][2:] == [("by_name_items", "fan_out"), ("by_name", "step")]
        assert plan.tasks[-1].items == "by_name_items"

    def test_the_name_of_that_task_gives_way(self) -> None:
        def body() -> None:
            shop.load.named("by_name_items")("x")
            shop.by_name.expand(name=shop.names(shop.load("x")))

        assert "by_name_items_" in [t.task_id for t in plan_of(body).tasks]

    def test_over_a_mapped_step_follows_it(self) -> None:
        plan = plan_of(lambda: shop.split.expand(customers=shop.by_name.expand(name=["a"])))
        assert [t.items for t in plan.tasks] == [({"name": 0},), "by_name"]


class TestConditions:
    def test_only_the_first_tasks_of_a_block_are_told(self) -> None:
        def body(limit: float = 1.0) -> None:
            with when(limit > 0):  # type: ignore[arg-type]
                rows = shop.load("x")
                shop.split(rows)
                with when(limit > 2):  # type: ignore[arg-type]
                    shop.names(rows)
                    shop.load.named("free")("y")

        by_id = {t.task_id: t for t in plan_of(body).tasks}
        assert by_id["when"].skips == ("load", "when_2")
        assert by_id["when_2"].skips == ("names", "free")

    def test_a_step_that_survives_skips_is_told_itself(self) -> None:
        def body(limit: float = 1.0) -> None:
            with when(limit > 2, name="a"):  # type: ignore[arg-type]
                metrics = shop.evaluate(shop.train.with_options(compute=None)(shop.load("x")), shop.load("x"))
            with when(limit > 1, name="b"):  # type: ignore[arg-type]
                shop.load.named("first")("x") >> shop.notify("hi", metrics)  # type: ignore[operator]

        by_id = {t.task_id: t for t in plan_of(body).tasks}
        assert by_id["notify"].settings == {"trigger_rule": "none_failed"}
        assert by_id["b"].skips == ("notify", "first") or by_id["b"].skips == ("first", "notify")


class TestCompute:
    def test_unknown_to_the_stack(self) -> None:
        with pytest.raises(PipelineInvalid, match='"train" runs on compute "kubernetes", which stack "local"'):
            compile_pipeline(shop.churn.spec)

    @pytest.mark.parametrize("flavor", compiler.RESERVED)
    def test_without_an_operator_yet(self, flavor: str) -> None:
        from windsock.provider.flavors import known

        if flavor in known("compute"):
            pytest.skip("it has one now")
        stack = {"name": "s", "compute": {"default": "local", "kubernetes": {"flavor": flavor}}}
        with pytest.raises(PipelineInvalid, match=f'no operator for flavor "{flavor}" yet'):
            compile_pipeline(shop.churn.spec, stack)

    def test_of_no_known_flavor(self) -> None:
        stack = {"name": "s", "compute": {"default": "local", "kubernetes": {"flavor": "abacus"}}}
        with pytest.raises(FlavorNotFound, match="abacus"):
            compile_pipeline(shop.churn.spec, stack)

    def test_of_an_own_class_brings_its_operator(self) -> None:
        stack = {
            "name": "s",
            "compute": {"default": "local", "kubernetes": {"flavor": "computes:Elsewhere", "zone": 1}},
        }
        train = compile_pipeline(shop.churn.spec, stack).tasks[2]
        assert (train.operator, train.compute) == ("acme.operators:ElsewhereOperator", "kubernetes")
        assert train.options == {"flavor": "computes:Elsewhere", "zone": 1}

    def test_remote_needs_steps_that_can_be_imported(self) -> None:
        stack = {"name": "s", "compute": {"default": "far", "far": {"flavor": "computes:Elsewhere"}}}

        def local() -> int: ...

        from windsock import step

        with pytest.raises(
            StepNotImportable, match=r'"local" runs on compute "far" but is defined inside the function'
        ):
            plan_of(step(local), stack)
        with pytest.raises(StepNotImportable, match="is a lambda"):
            plan_of(lambda: step(name="anonymous")(lambda: 1)(), stack)  # noqa: PLW0108


class TestMermaid:
    def test_shows_steps_outputs_and_conditions(self) -> None:
        text = mermaid(shop.churn.spec)
        assert text is not None
        assert text.startswith("flowchart TD")
        assert '-->|"train"|' in text
        assert "> 0.85" in text
        assert '(["notify"])' in text

    def test_is_left_out_when_it_would_be_unreadable(self) -> None:
        def body() -> None:
            for _ in range(100):
                shop.load("x")

        assert mermaid(Pipeline(body, name="large").spec) is None
