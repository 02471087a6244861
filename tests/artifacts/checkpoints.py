"""A class in the Hugging Face way, as small as it gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np


class Scaler:
    options: ClassVar[dict] = {}

    def __init__(self, factors: np.ndarray, kind: str) -> None:
        self.factors, self.kind = factors, kind
        self.also = ""

    def save_pretrained(self, save_directory: str) -> None:
        folder = Path(save_directory)
        (folder / "config.json").write_text(json.dumps({"kind": self.kind}))
        (folder / "model.safetensors").write_bytes(self.factors.tobytes())
        if self.also:
            (folder / self.also).parent.mkdir(parents=True, exist_ok=True)
            (folder / self.also).write_bytes(b"")

    @classmethod
    def from_pretrained(cls, path: str, *, local_files_only: bool = False, trust_remote_code: bool = True) -> Scaler:
        cls.options = {"local_files_only": local_files_only, "trust_remote_code": trust_remote_code}
        kind = json.loads((Path(path) / "config.json").read_text())["kind"]
        return cls(np.frombuffer((Path(path) / "model.safetensors").read_bytes()), kind)
