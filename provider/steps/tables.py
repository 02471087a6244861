"""Tables that a built-in step is given: the rows of an artifact, or a path to files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataUnreadable

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".parquet", ".csv")


def table_files(path: str) -> list[Path]:
    """The Parquet and CSV files of a path: itself, or those of a folder, sorted. Raises ``DataUnreadable``."""
    root = Path(path)
    if root.is_dir():
        found = sorted(
            file for file in root.rglob("*") if file.suffix in SUFFIXES and not file.name.startswith((".", "_"))
        )
    else:
        found = [root] if root.is_file() else []
    if not found:
        raise DataUnreadable(
            f"There is no Parquet or CSV file at {root.absolute()}.",
            hint="Give the path of a file or a folder.",
            path=path,
        )
    return found


def read_table(data: Any) -> pd.DataFrame:
    """All rows as one data frame. ``data`` is a data frame already, something with ``to_pandas()``, or a path."""
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return data
    if hasattr(data, "to_pandas"):
        frame: pd.DataFrame = data.to_pandas()
        return frame
    if not isinstance(data, str | Path):
        raise DataUnreadable(f"A table was expected, and {type(data).__name__} was found.")
    return pd.concat([read_file(file) for file in table_files(str(data))], ignore_index=True)


def read_file(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise DataUnreadable(f"{file} cannot be read: {error}", path=str(file)) from None
