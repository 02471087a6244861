from __future__ import annotations

import pytest
from windsock.provider.settings import Settings


@pytest.fixture
def settings(tmp_path):
    """Settings of a home of its own; stack files go into ``tmp_path / "stacks"``."""
    (tmp_path / "stacks").mkdir()
    options = {"home": str(tmp_path / "home"), "stacks_folder": str(tmp_path / "stacks"), "actor": "tester"}
    return Settings.load(options, environ={})


@pytest.fixture
def write(tmp_path, settings):
    """Write a stack file: ``write("production", "deployer: local")``."""

    def make(name, text):
        path = tmp_path / "stacks" / f"{name}.yaml"
        path.write_text(text)
        return path

    return make
