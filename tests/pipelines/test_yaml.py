"""Pipelines in YAML: the round trip, and errors that name the file and the line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pipelines import shop
from windsock import load_pipeline
from windsock.provider.errors import (
    ConfigurationError,
    PipelineError,
    PipelineFileInvalid,
    PipelineInvalid,
    StepNotImportable,
    TypeMismatch,
    UnknownParameter,
)
from windsock.provider.pipelines.yaml import parse_pipeline

if TYPE_CHECKING:
    from pathlib import Path

CHURN = """\
name: churn
description: Who will leave?
parameters:
  snapshot: latest
  learning_rate: {type: float, default: 0.1}
steps:
  - name: load
    uses: pipelines.shop:load
    with:
      snapshot: ${{ parameters.snapshot }}
  - name: split
    uses: pipelines.shop:split
    with:
      customers: ${{ steps.load }}
  - name: train
    uses: pipelines.shop:train
    with:
      customers: ${{ steps.split.train }}
      learning_rate: ${{ parameters.learning_rate }}
  - name: evaluate
    uses: pipelines.shop:evaluate
    with:
      model: ${{ steps.train }}
      customers: ${{ steps.split.test }}
  - name: register
    uses: pipelines.shop:register
    when: steps.evaluate["accuracy"] > 0.85
    with:
      model: ${{ steps.train }}
      metrics: ${{ steps.evaluate }}
on_exit:
  - name: notify
    uses: pipelines.shop:notify
    with:
      message: done
      metrics: ${{ steps.evaluate }}
"""


class TestReading:
    def test_gives_what_python_gives(self) -> None:
        assert parse_pipeline(CHURN).spec == shop.churn.spec
        assert parse_pipeline(CHURN).spec.digest == shop.churn.spec.digest

    def test_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "churn.yaml"
        path.write_text(CHURN)
        loaded = load_pipeline(path)
        assert (loaded.name, loaded.file) == ("churn", str(path))
        assert loaded.bind(snapshot="x").bound == {"snapshot": "x"}

    def test_order_does_not_matter(self) -> None:
        text = """\
name: backwards
steps:
  - {name: split, uses: "pipelines.shop:split", with: {customers: "${{ steps.load }}"}}
  - {name: load, uses: "pipelines.shop:load", with: {snapshot: x}}
"""
        assert [s.name for s in parse_pipeline(text).spec.ordered()] == ["load", "split"]

    def test_named_and_nested_conditions_and_options(self) -> None:
        text = """\
name: options
parameters: {mode: full}
steps:
  - name: load
    uses: pipelines.shop:load
    with: {snapshot: x}
    retries: 4
    timeout: 60
    resources: {cpu: 2, memory: 1Gi}
  - name: clean-it
    uses: pipelines.shop:Cleaner
    config: {columns: [age]}
    with: {customers: "${{ steps.load }}"}
    when: inner
  - name: many
    uses: pipelines.shop:by_name
    expand: {name: [a, b]}
    after: [clean-it]
conditions:
  outer: parameters.mode == "full" and not parameters.mode == "quick"
  inner: {if: 'steps.load["rows"] >= -1.5', when: outer}
"""
        spec = parse_pipeline(text).spec
        load = spec.by_name["load"].options
        assert (load.retries, load.timeout, load.resources and load.resources.memory) == (4, 60.0, "1Gi")
        assert spec.by_name["clean-it"].config == {"columns": ["age"]}
        assert spec.branch("inner") == ["inner", "outer"]
        assert spec.by_name["many"].mapped == ("name",)
        assert spec.by_name["many"].after == ("clean-it",)


class TestWriting:
    @pytest.mark.parametrize("pipe", [shop.churn, shop.everything, shop.outer], ids=lambda p: str(p.name))
    def test_and_reading_again_changes_nothing(self, pipe: Any) -> None:
        again = parse_pipeline(pipe.spec.to_yaml()).spec
        assert again == pipe.spec
        assert again.to_yaml() == pipe.spec.to_yaml()

    def test_reads_like_a_person_wrote_it(self) -> None:
        text = shop.churn.spec.to_yaml()
        assert "customers: ${{ steps.split.train }}" in text
        assert 'when: steps.evaluate["accuracy"] > 0.85' in text
        assert "retries" not in text, "the step has it already"


def changed(line: str, by: str) -> str:
    assert line in CHURN
    return CHURN.replace(line, by)


class TestErrorsNameTheLine:
    @pytest.mark.parametrize(
        ("text", "kind", "message"),
        [
            (changed("steps.split.train }}", "steps.splt.train }}"), PipelineFileInvalid, "line 18: there is no step"),
            (changed("split.train }}", "split.trian }}"), PipelineFileInvalid, 'line 18: .*Did you mean "train"'),
            (
                changed("${{ parameters.snapshot", "${{ parameters.snapshoot"),
                PipelineFileInvalid,
                "line 10: .*snapshot",
            ),
            (changed("    uses: pipelines.shop:load", "    use: x"), PipelineFileInvalid, 'line 8: "use" is no part'),
            (changed("shop:split", "shop:slpit"), StepNotImportable, 'line 12: .*has no "slpit"'),
            (changed("pipelines.shop:split", "nowhere:split"), StepNotImportable, "line 12: .*no module"),
            (changed("${{ steps.split.train }}", "${{ steps.evaluate }}"), TypeMismatch, "line 18: .*customers"),
            (changed("      snapshot: $", "      snapshto: $"), UnknownParameter, "line 9: .*snapshto"),
            (changed("> 0.85", "> 0.85 >"), PipelineFileInvalid, "line 27: .*cannot be read"),
            (changed("default: 0.1", "default: fast"), TypeMismatch, "line 5: .*'fast'"),
            (changed("{type: float", "{typ: float"), PipelineFileInvalid, 'line 5: "typ" is no property'),
            (changed("message: done", "message: say ${{ steps.load }}"), PipelineFileInvalid, "line 35: .*mixes text"),
            (changed("message: done", "message: ${{ steps.load"), PipelineFileInvalid, "line 35: .*not closed"),
            (changed("  - name: notify", "  - name: load"), PipelineError, 'line 32: .*two steps named "load"'),
            (changed("parameters:", "paramters:"), PipelineFileInvalid, 'line 3: .*\nDid you mean "parameters"'),
            (changed("  - name: notify", "  - name: a/b"), ConfigurationError, "line 32: step name 'a/b'.*\n.*\"a_b\""),
            ("description: x\nname: wöin\nsteps: [a]\n", ConfigurationError, 'line 2: .*\n.*"woin"'),
            ("name: x\nsteps: []\n", PipelineFileInvalid, "line 2: there are no steps"),
            ("- a\n", PipelineFileInvalid, "a pipeline is a mapping"),
            ("name: [x\n", PipelineFileInvalid, "this is not YAML"),
        ],
    )
    def test_of(self, text: str, kind: type[Exception], message: str) -> None:
        with pytest.raises(kind, match=message) as caught:
            parse_pipeline(text, file="churn.yaml").spec  # noqa: B018
        assert "churn.yaml" in str(caught.value)

    def test_a_cycle(self) -> None:
        text = """\
name: circle
steps:
  - {name: a, uses: "pipelines.shop:split", with: {customers: "${{ steps.b.train }}"}}
  - {name: b, uses: "pipelines.shop:split", with: {customers: "${{ steps.a.train }}"}}
"""
        with pytest.raises(PipelineInvalid, match=r"goes in a circle: a -> b -> a|b -> a -> b"):
            parse_pipeline(text).spec  # noqa: B018
