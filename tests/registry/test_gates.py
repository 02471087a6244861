from __future__ import annotations

import json
import math
from datetime import datetime, timezone

import pytest
from windsock.provider.errors import RegistryError
from windsock.provider.metadata import ModelVersion
from windsock.provider.registry.comparison import Comparison
from windsock.provider.registry.gates import (
    BetterThanCurrent,
    FunctionGate,
    GateOutcome,
    MetricGate,
    as_gate,
    gate_from_dict,
)


def version(number=1, **facts):
    artifact = {"artifact": "churn.train", "version": number, "uri": "file:///m", "digest": "blake3:0", "type": "x"}
    return ModelVersion(
        model="churn", version=number, artifact=artifact, created_at=datetime.now(timezone.utc), **facts
    )


def recorded(**metrics):
    return Comparison(version(metrics=metrics), None)


def fair(comparison, group):
    """A gate function of a user's."""
    return comparison.candidate.metrics[group] > 0.5, f"{group} is treated fairly enough"


def forgets(comparison):
    """A gate function without a return."""


def raises(comparison):
    raise ZeroDivisionError("of the user's own")


def own_outcome(comparison):
    return GateOutcome({}, False, "not on a Friday", {"day": "Friday"})


class TestMetricGate:
    @pytest.mark.parametrize(
        ("gate", "value", "passed"),
        [
            (MetricGate("accuracy", minimum=0.9), 0.9, True),
            (MetricGate("accuracy", minimum=0.9), 0.8999, False),
            (MetricGate("loss", maximum=0.2), 0.2, True),
            (MetricGate("loss", maximum=0.2), 0.2001, False),
            (MetricGate("share", minimum=0.1, maximum=0.2), 0.15, True),
            (MetricGate("share", minimum=0.1, maximum=0.2), 0.25, False),
            (MetricGate("share", minimum=0), 0.0, True),
        ],
    )
    def test_bounds_are_included(self, gate, value, passed):
        outcome = gate.evaluate(recorded(**{gate.metric: value}))
        assert outcome.passed is passed
        assert outcome.values == {"value": value}

    def test_not_a_number_does_not_pass(self):
        outcome = MetricGate("accuracy", minimum=0.0).evaluate(recorded(accuracy=math.nan))
        assert not outcome.passed
        assert json.loads(json.dumps(outcome.to_dict(), allow_nan=False))["values"] == {"value": None}

    def test_a_metric_that_was_not_recorded_does_not_pass_and_says_which_were(self):
        outcome = MetricGate("acuracy", minimum=0.5).evaluate(recorded(accuracy=0.9))
        assert not outcome.passed
        assert 'Did you mean "accuracy"?' in outcome.detail

    def test_a_gate_without_bounds_is_no_gate(self):
        with pytest.raises(RegistryError, match="neither minimum nor maximum"):
            MetricGate("accuracy")

    @pytest.mark.parametrize("bound", ["0.9", True, math.nan])
    def test_a_bound_is_a_number(self, bound):
        with pytest.raises(RegistryError, match="is no number"):
            MetricGate("accuracy", minimum=bound)


class TestFunctionGate:
    def test_a_function_of_the_users_decides(self):
        gate = FunctionGate(f"{__name__}:fair", {"group": "women"})
        assert gate.evaluate(recorded(women=0.6)).passed
        outcome = gate.evaluate(recorded(women=0.4))
        assert not outcome.passed
        assert "women is treated fairly enough" in outcome.detail
        assert outcome.gate == {"gate": "function", "function": f"{__name__}:fair", "arguments": {"group": "women"}}

    def test_it_may_return_its_own_outcome(self):
        outcome = FunctionGate(f"{__name__}:own_outcome").evaluate(recorded())
        assert (outcome.passed, outcome.detail, outcome.values) == (False, "not on a Friday", {"day": "Friday"})
        assert outcome.gate["function"] == f"{__name__}:own_outcome"

    def test_a_forgotten_return_is_not_a_yes(self):
        with pytest.raises(RegistryError, match="returned None"):
            FunctionGate(f"{__name__}:forgets").evaluate(recorded())

    def test_its_own_error_is_its_own(self):
        with pytest.raises(ZeroDivisionError):
            FunctionGate(f"{__name__}:raises").evaluate(recorded())

    @pytest.mark.parametrize("function", ["nowhere_at_all:fair", f"{__name__}:nobody"])
    def test_one_that_cannot_be_imported_is_named(self, function):
        with pytest.raises(RegistryError, match=f"{function} cannot be imported"):
            FunctionGate(function).evaluate(recorded())

    def test_a_path_has_a_colon(self):
        with pytest.raises(RegistryError, match="module:function"):
            FunctionGate("acme.gates.fair")


class TestForms:
    @pytest.mark.parametrize(
        "gate",
        [
            MetricGate("accuracy", minimum=0.9),
            MetricGate("loss", minimum=0.0, maximum=0.2),
            BetterThanCurrent("accuracy"),
            BetterThanCurrent("mae", margin=-0.5, higher_is_better=False, on="houses.holdout@2", target="price"),
            FunctionGate("acme.gates:fair", {"group": "age"}),
        ],
    )
    def test_a_gate_survives_json(self, gate):
        assert gate_from_dict(json.loads(json.dumps(gate.to_dict()))) == gate

    def test_an_outcome_survives_json(self):
        outcome = GateOutcome({"gate": "metric", "metric": "a", "minimum": 0.5}, True, "a ≥ 0.5: it is 1", {"value": 1})
        assert GateOutcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome

    @pytest.mark.parametrize(
        ("text", "gate"),
        [
            ("accuracy>=0.9", MetricGate("accuracy", minimum=0.9)),
            ("log_loss <= 1e-2", MetricGate("log_loss", maximum=0.01)),
            ("better:accuracy", BetterThanCurrent("accuracy")),
            ("better:accuracy:0.01", BetterThanCurrent("accuracy", margin=0.01)),
            ("acme.gates:fair", FunctionGate("acme.gates:fair")),
        ],
    )
    def test_a_command_line_writes_it_as_text(self, text, gate):
        assert as_gate(text) == gate

    @pytest.mark.parametrize(
        ("form", "message"),
        [
            ({"gate": "metrics", "metric": "a"}, 'Did you mean "metric"'),
            ({"metric": "a", "minimum": 1}, '"None" is no kind of gate'),
            ({"gate": "metric", "metric": "a", "minimun": 1}, 'Did you mean "minimum"'),
            ({"gate": "metric", "minimum": 1}, 'needs "metric"'),
            ({"gate": "better_than_current", "metric": "acuracy"}, 'Did you mean "accuracy"'),
            ({"gate": "better_than_current", "metric": "accuracy", "margin": "0.1"}, "margin is '0.1'"),
        ],
    )
    def test_a_wrong_form_says_what_is_wrong(self, form, message):
        with pytest.raises(RegistryError) as caught:
            gate_from_dict(form)
        assert message in str(caught.value)

    @pytest.mark.parametrize("text", ["accuracy", "accuracy>0.9", "better:", "better:accuracy:much", "accuracy>=-."])
    def test_text_that_is_no_gate(self, text):
        with pytest.raises(RegistryError):
            as_gate(text)

    def test_another_object_is_no_gate(self):
        with pytest.raises(RegistryError, match="is no gate"):
            as_gate(0.9)
