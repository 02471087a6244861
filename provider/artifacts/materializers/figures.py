"""matplotlib figures, as PNG to look at and SVG to print. A figure comes back as its pictures, not as a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .base import LoadRequest, Materializer

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """A stored figure. Notebooks show it; ``png`` and ``svg`` are the files' content."""

    png: bytes
    svg: str

    def _repr_png_(self) -> bytes:
        return self.png

    def _repr_svg_(self) -> str:
        return self.svg


class FigureMaterializer(Materializer):
    """``matplotlib.figure.Figure`` as a folder of ``figure.png`` and ``figure.svg``."""

    name = "figure"
    extension = ".figure"

    def save(self, value: Any, path: Path) -> None:
        import matplotlib as mpl

        path.mkdir()
        # No date and a fixed salt for ids: the same figure must give the same bytes.
        with mpl.rc_context({"svg.hashsalt": "windsock"}):
            value.savefig(path / "figure.png", format="png", metadata={"Software": None})
            value.savefig(path / "figure.svg", format="svg", metadata={"Date": None})

    def load(self, path: Path, request: LoadRequest) -> Any:
        return Picture((path / "figure.png").read_bytes(), (path / "figure.svg").read_text(encoding="utf-8"))

    def describe(self, value: Any) -> dict[str, Any]:
        width, height = value.get_size_inches()
        return {"inches": [float(width), float(height)], "titles": [axes.get_title() for axes in value.axes]}
