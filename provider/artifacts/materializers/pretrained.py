"""Checkpoints in the Hugging Face way: a folder that ``save_pretrained`` writes and ``from_pretrained`` reads.

Models, configurations, tokenizers and processors of transformers, diffusers, peft and sentence-transformers, and any
class that has the two methods. The folder may hold weights as safetensors, JSON and text; pickles and Python files are
refused, both when it is stored and when it is loaded, and nothing is asked of the hub. The class is the one that was
recorded: it must be importable, and nothing that the folder says can replace it.
"""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, MaterializerNotFound, PickleRefused
from ..digests import files_of
from .base import LoadRequest, Materializer
from .plain import preview
from .records import find_class

if TYPE_CHECKING:
    from pathlib import Path

_REFUSED = (".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so", ".h5")
_SAFE = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False, "weights_only": True}
_SHOWN = 50


class PretrainedMaterializer(Materializer):
    """Anything with ``save_pretrained`` and ``from_pretrained``."""

    name = "pretrained"
    extension = ".pretrained"
    verify_first = True

    def save(self, value: Any, path: Path) -> None:
        find_class(f"{type(value).__module__}.{type(value).__qualname__}")
        options = {"safe_serialization": True} if _takes(value.save_pretrained, "safe_serialization") else {}
        path.mkdir()
        value.save_pretrained(str(path), **options)
        bad = _forbidden(path)
        if bad:
            raise MaterializerNotFound(
                f"{type(value).__qualname__}.save_pretrained wrote {bad!r}, which only code could load.",
                hint="Use a version that writes safetensors, or allow pickle for this step: @step(pickle=True)",
            )

    def load(self, path: Path, request: LoadRequest) -> Any:
        bad = _forbidden(path)
        if bad:
            raise PickleRefused(f"The stored checkpoint holds {bad!r}: loading it could run code.")
        cls: Any = find_class(request.type)
        if not is_pretrained(cls):
            raise ArtifactCorrupted(f"{request.type} has no from_pretrained.", type=request.type)
        options = {name: value for name, value in _SAFE.items() if _takes(cls.from_pretrained, name)}
        try:
            return cls.from_pretrained(str(path), **options)
        except (OSError, ValueError, KeyError) as error:
            raise ArtifactCorrupted(f"{request.type} cannot read the stored checkpoint: {error}") from error

    def save_described(self, value: Any, path: Path) -> dict[str, Any]:
        self.save(value, path)
        facts: dict[str, Any] = {"files": {n: p.stat().st_size for n, p in list(files_of(path))[:_SHOWN]}}
        config = path / "config.json"
        if config.is_file():
            facts["config"] = preview(json.loads(config.read_bytes()), depth=1)
        count = getattr(value, "num_parameters", None)
        if callable(count):
            facts["parameters"] = int(count())
        return facts


def is_pretrained(cls: Any) -> bool:
    """Whether it is a class that has both methods."""
    names = ("save_pretrained", "from_pretrained")
    return isinstance(cls, type) and all(callable(getattr(cls, name, None)) for name in names)


def _takes(function: Any, name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _forbidden(path: Path) -> str | None:
    return next((name for name, _ in files_of(path) if name.lower().endswith(_REFUSED)), None)
