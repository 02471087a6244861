"""A step that names the columns it needs gets a table of these, and the others are not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pytest
from windsock import pipeline, step
from windsock.provider.artifacts import Columns
from windsock.provider.artifacts.materializers import arrow
from windsock.provider.errors import ArtifactNotFound
from windsock.provider.runtime import typehints

if TYPE_CHECKING:
    import pandas as pd
    from windsock.provider.stack import Stack


@step
def make() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"age": [1, 2], "income": [3.0, 4.0], "text": ["x", "y"]})


@step
def names(data: Annotated[pd.DataFrame, Columns("text", "age")]) -> list[str]:
    return list(data.columns)


@step
def wrong(data: Annotated[pd.DataFrame, Columns("aeg")]) -> list[str]:
    return list(data.columns)


@step
def whole(data: Annotated[pd.DataFrame, "whatever else one annotates"]) -> list[str]:
    return list(data.columns)


@pipeline
def narrow() -> None:
    data = make()
    names(data)
    whole(data)


@pipeline
def mistaken() -> None:
    wrong(make())


class TestColumns:
    def test_only_these_are_read(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        read = arrow.read_table
        monkeypatch.setattr(
            arrow, "read_table", lambda source, columns=None: (asked.append(columns), read(source, columns))[1]
        )
        result = narrow.run(stack=stack)
        assert result.load("names") == ["text", "age"]
        assert result.load("whole") == ["age", "income", "text"]
        assert sorted(asked, key=str) == [("text", "age"), None]

    def test_a_typo_names_the_column(self, stack: Stack) -> None:
        with pytest.raises(ArtifactNotFound, match="no column 'aeg'"):
            mistaken.run(stack=stack)

    def test_the_annotation_is_still_the_type(self) -> None:
        def plain(n: Annotated[int, Columns("a")], m: int) -> None: ...

        found = {p: typehints.columns(plain, a.annotation) for p, a in typehints.signature(plain).parameters.items()}
        assert found == {"n": (int, ("a",)), "m": (int, None)}
