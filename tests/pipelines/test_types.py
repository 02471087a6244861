"""Types as text: what an annotation is read as, and which values fit."""

from __future__ import annotations

import collections.abc
import typing
from typing import Any

import pytest
from windsock.provider.pipelines.types import choices, fits, tuple_types, type_text


class Animal: ...


class Dog(Animal): ...


class Stone: ...


class TestReading:
    @pytest.mark.parametrize(
        ("annotation", "text"),
        [
            ("pd.DataFrame", "pandas.DataFrame"),
            ("Optional[int]", "int | None"),
            ("Union[int, 'str']", "int | str"),
            ("Dict[str, List[float]]", "dict[str, list[float]]"),
            ("typing.Any", "Any"),
            ("Literal['a', 'b'] | None", "Literal['a', 'b'] | None"),
            ("Callable[[int], str]", "Callable[[int], str]"),
            ("somewhere.Unknown", "somewhere.Unknown"),
            ("not[a type", "not"),
            (None, "None"),
            (int, "int"),
            (typing.Optional[int], "int | None"),  # noqa: UP045
            (typing.Annotated[int, "unit"], "int"),
            (typing.Literal["a"], "Literal['a']"),
            (collections.abc.Sequence[str], "Sequence[str]"),
            (dict[str, Any], "dict[str, Any]"),
        ],
    )
    def test_of(self, annotation: Any, text: str) -> None:
        assert type_text(annotation, {"typing": typing}) == text

    def test_follows_the_names_of_the_module(self) -> None:
        import decimal

        assert type_text("D", {"D": decimal.Decimal}) == "decimal.Decimal"
        assert type_text("d.Decimal | None", {"d": decimal}) == "decimal.Decimal | None"

    def test_a_class_under_another_name_is_the_same_class(self) -> None:
        import pandas as frames

        assert type_text(frames.DataFrame) == type_text("pd.DataFrame") == "pandas.DataFrame"
        assert type_text("frames.DataFrame", {"frames": frames}) == "pandas.DataFrame"

    def test_parts(self) -> None:
        assert choices("Literal[1, 'x'] | None") == (1, "x")
        assert tuple_types("tuple[int, str]") == ["int", "str"]
        assert tuple_types("tuple[int, ...]") is None


class TestFitting:
    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ("int", "float"),
            ("int | None", "int"),
            ("dict[str, float]", "Mapping[str, float]"),
            ("list[int]", "Sequence[int]"),
            ("pandas.DataFrame", "Any"),
            ("pandas.DataFrame", "Artifact"),
            ("pandas.DataFrame", "windsock.provider.artifacts.handle.Artifact[pandas.DataFrame]"),
            ("ClassifierMixin", "RandomForestClassifier"),
            ("acme.Frame", "pandas.DataFrame"),
            ("Literal['a']", "str"),
            ("datetime.datetime", "datetime.date"),
        ],
    )
    def test_may(self, given: str, wanted: str) -> None:
        assert fits(given, wanted)

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ("float", "int"),
            ("str", "float"),
            ("pandas.DataFrame", "numpy.ndarray"),
            ("dict[str, str]", "dict[str, float]"),
            ("list[int]", "dict[str, int]"),
            ("pandas.DataFrame", "Artifact[numpy.ndarray]"),
            ("None", "str"),
            ("Literal['a']", "int"),
            ("int | str", "list[int] | dict[str, int]"),
            ("pandas.DataFrame", "Sequence[int]"),
        ],
    )
    def test_cannot(self, given: str, wanted: str) -> None:
        assert not fits(given, wanted)

    def test_of_classes_that_are_known_follows_inheritance(self) -> None:
        animal, dog, stone = (type_text(c) for c in (Animal, Dog, Stone))
        assert fits(dog, animal)
        assert fits(animal, dog), "what is declared as an animal may be a dog"
        assert not fits(stone, dog)

    def test_written_constants_may_stand_for_more(self) -> None:
        assert fits("str", "datetime.date", constant=True)
        assert fits("list[int]", "tuple[int, int]", constant=True)
        assert not fits("str", "datetime.date")
