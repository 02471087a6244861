from __future__ import annotations

from typing import Any

import pytest
from windsock.provider.errors import PipelineInvalid
from windsock.provider.runtime.conditions import evaluate


def value(argument: Any) -> Any:
    return argument["value"]


def v(x: Any) -> dict[str, Any]:
    return {"value": x}


class TestEvaluate:
    @pytest.mark.parametrize(
        ("op", "left", "right", "expected"),
        [
            (">", 0.9, 0.85, True),
            (">", 0.85, 0.85, False),
            (">=", 0.85, 0.85, True),
            ("<", 1, 2, True),
            ("<=", 3, 2, False),
            ("==", "a", "a", True),
            ("!=", None, None, False),
        ],
    )
    def test_comparisons(self, op: str, left: Any, right: Any, expected: bool) -> None:
        assert evaluate({"op": op, "left": v(left), "right": v(right)}, value) is expected

    def test_a_tree(self) -> None:
        tree = {
            "op": "and",
            "left": {"op": "not", "left": {"op": "==", "left": v(1), "right": v(2)}},
            "right": {"op": "or", "left": {"op": "true", "left": v([])}, "right": {"op": "true", "left": v("x")}},
        }
        assert evaluate(tree, value) is True

    def test_it_stops_when_it_knows(self) -> None:
        seen = []

        def noting(argument: Any) -> Any:
            seen.append(argument["value"])
            return argument["value"]

        def truth(x: bool) -> dict[str, Any]:
            return {"op": "true", "left": v(x)}

        assert evaluate({"op": "and", "left": truth(False), "right": truth(True)}, noting) is False
        assert evaluate({"op": "or", "left": truth(True), "right": truth(False)}, noting) is True
        assert seen == [False, True]

    def test_what_cannot_be_compared(self) -> None:
        with pytest.raises(PipelineInvalid, match="cannot compare 'high' > 1: str and int"):
            evaluate({"op": ">", "left": v("high"), "right": v(1)}, value)

    def test_an_unknown_operator(self) -> None:
        with pytest.raises(PipelineInvalid, match='uses the operator "=>"'):
            evaluate({"op": "=>", "left": v(1), "right": v(1)}, value)
