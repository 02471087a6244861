"""Arguments become what the parameters are annotated with; nothing fails because an annotation cannot be resolved."""

from __future__ import annotations

import enum
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Optional

import pytest
from windsock.provider.errors import StepFailed
from windsock.provider.runtime import typehints
from windsock.provider.runtime.binding import Binder, Target, coerce, select
from windsock.provider.runtime.invocation import RunIdentity, StepInvocation
from windsock.provider.runtime.typehints import UNKNOWN

if TYPE_CHECKING:
    import nowhere
    import pandas as pd
    import windsock
    from windsock import Artifact
    from windsock.provider.stack import Stack


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


def handles(
    a: Artifact,
    b: Artifact[pd.DataFrame],
    c: Artifact | None,
    d: Optional[Artifact[nowhere.Thing]],  # noqa: UP045
    e: list[Artifact],
    f: windsock.Artifact[pd.DataFrame],
    g: pd.DataFrame,
    h: nowhere.Thing,
    i: int,
    j,
) -> nowhere.Thing:
    return None


def typed(rate: float, rows: int = 3, *, names: list[str] | None = None, **rest: Any) -> None: ...


def invocation(**values: Any) -> StepInvocation:
    return StepInvocation(
        "typed", "m:typed", RunIdentity("d", "r", "t"), arguments={k: {"value": v} for k, v in values.items()}
    )


class TestCoercion:
    @pytest.mark.parametrize(
        ("value", "annotation", "expected"),
        [
            ("0.25", float, 0.25),
            (1, float, 1.0),
            ("7", int, 7),
            (7.0, int, 7),
            ("true", bool, True),
            ("False", bool, False),
            (5, str, "5"),
            ("/tmp/x", Path, Path("/tmp/x")),
            ("2026-01-02", date, date(2026, 1, 2)),
            ("2026-01-02T03:04:05Z", datetime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
            ("[1, 2]", list[int], [1, 2]),
            ('{"a": 1}', dict[str, int], {"a": 1}),
            ([1, 2], tuple[int, int], (1, 2)),
            ("red", Colour, Colour.RED),
            ("BLUE", Colour, Colour.BLUE),
            ("3", int | None, 3),
            ("", int | None, None),
            (None, int, None),
            ("3", Literal[1, 2, 3], 3),
            ("x", int | str, "x"),
            ("anything", UNKNOWN, "anything"),
            ({"a": 1}, Any, {"a": 1}),
        ],
    )
    def test_a_value_becomes_the_type(self, value: Any, annotation: Any, expected: Any) -> None:
        found = coerce(value, annotation)
        assert found == expected
        assert type(found) is type(expected)

    def test_what_cannot_be_is_an_error_that_names_it(self) -> None:
        with pytest.raises(StepFailed, match='Step "typed": argument "rate" is \'fast\', which is no float') as caught:
            Binder(invocation(rate="fast"), Target(typed, typed, typed))
        assert caught.value.argument == "rate"

    def test_a_fraction_is_no_int(self) -> None:
        with pytest.raises(StepFailed, match="it has a fraction"):
            Binder(invocation(rate=1, rows=2.5), Target(typed, typed, typed))

    def test_text_and_number_are_one_key(self, stack: Stack) -> None:
        store = stack.artifact_store
        keys = [Binder(invocation(rate=rate), Target(typed, typed, typed)).key(store) for rate in ("0.50", 0.5)]
        assert keys[0] == keys[1]

    def test_an_unknown_argument_is_told(self) -> None:
        with pytest.raises(StepFailed, match='has no argument "cc"'):
            Binder(
                StepInvocation("h", "m:h", RunIdentity("d", "r", "t"), arguments={"cc": {"value": 1}}),
                Target(handles, handles, handles),
            )


class TestHandles:
    def test_which_parameters_want_a_handle(self) -> None:
        parameters = typehints.signature(handles).parameters
        wanted = {name for name, p in parameters.items() if typehints.wants_handle(handles, p.annotation)}
        assert wanted == {"a", "b", "c", "d", "e", "f"}

    def test_an_artifact_class_of_ones_own_is_no_handle(self, project: Any) -> None:
        project.write(
            mine="from __future__ import annotations\nclass Artifact: pass\ndef f(a: Artifact, b: Artifact[int]): ...\n"
        )
        function = project.load("mine:f")
        for parameter in typehints.signature(function).parameters.values():
            assert not typehints.wants_handle(function, parameter.annotation)


class TestAnnotations:
    def test_one_that_cannot_be_resolved_is_unknown(self) -> None:
        assert typehints.resolve(handles, "nowhere.Thing", load=True) is UNKNOWN
        assert typehints.resolve(handles, "][") is UNKNOWN

    def test_type_checking_imports_are_found(self) -> None:
        import pandas as pd

        assert typehints.resolve(handles, "pd.DataFrame") is pd.DataFrame
        assert typehints.fits(pd.DataFrame(), typehints.resolve(handles, "pd.DataFrame | None"))
        assert not typehints.fits({}, typehints.resolve(handles, "pd.DataFrame | None"))

    @pytest.mark.parametrize(
        ("value", "expected", "fits"),
        [
            (1, float, True),
            (1.5, int, False),
            ("a", str, True),
            ({}, dict[str, float], True),
            ([], dict[str, float], False),
            (None, type(None), True),
            (1, Literal[2], True),
            ((1,), tuple[int, ...], True),
        ],
    )
    def test_fits(self, value: Any, expected: Any, fits: bool) -> None:
        assert typehints.fits(value, expected) is fits

    def test_numpy_numbers_are_numbers(self) -> None:
        import numpy as np

        assert typehints.fits(np.float32(1), float)
        assert typehints.fits(np.int64(1), int)


class TestSelect:
    def test_a_path(self) -> None:
        assert select({"a": [1, {"b": 2}]}, ["a", 1, "b"], "s", "x") == 2

    def test_what_is_not_there_says_what_is(self) -> None:
        with pytest.raises(StepFailed, match=r"asks for \['auc'\], but there is \['accuracy', 'f1'\]"):
            select({"f1": 1, "accuracy": 2}, ["auc"], "s", "x")
        with pytest.raises(StepFailed, match=r"asks for \['a'\]\[3\], but there is a list"):
            select({"a": [1]}, ["a", 3], "s", "x")
