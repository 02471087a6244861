"""The step cache between environments: what staging has computed, production copies, by content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from windsock import pipeline, step
from windsock.provider.artifacts.saving import load
from windsock.provider.errors import StackInvalid
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

ran: list[str] = []


@step
def build(size: int) -> dict[str, int]:
    ran.append("build")
    return {"size": size}


@step
def save_folder(facts: dict[str, int], folder: str) -> Path:
    from pathlib import Path

    ran.append("save_folder")
    made = Path(folder, "checkpoint")
    made.mkdir(exist_ok=True)
    np.save(made / "weights.npy", np.arange(facts["size"]))
    return made


@pipeline
def work(size: int = 3, folder: str = "") -> None:
    save_folder(build(size), folder)


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


@pytest.fixture
def stacks(tmp_path: Path) -> Any:
    """``staging`` and ``production``: databases and stores of their own."""
    folder = tmp_path / "home" / "stacks"
    folder.mkdir(parents=True)
    settings = Settings.load(environ={"WINDSOCK_HOME": str(tmp_path / "home")})

    def stack(name: str, extra: str = "") -> Stack:
        (folder / f"{name}.yaml").write_text(
            f"metadata_store: {{flavor: sql, url: 'sqlite:///{tmp_path / name}.db'}}\n"
            f"artifact_store: {{flavor: local, path: {tmp_path / name}}}\n{extra}"
        )
        return Stack.load(name, settings=settings)

    return stack


def states(done: Any) -> list[str]:
    return [done.states[name] for name in ("build", "save_folder")]


class TestBorrowing:
    def test_what_another_stack_has_computed_is_copied(self, stacks: Any, tmp_path: Path) -> None:
        staging, production = stacks("staging"), stacks("production", "step_cache: {borrow_from: [staging]}\n")
        parameters = {"size": 4, "folder": str(tmp_path)}
        assert states(work.run(**parameters, stack=staging)) == ["success", "success"]
        done = work.run(**parameters, stack=production)
        assert states(done) == ["cached", "cached"]
        assert ran == ["build", "save_folder"]
        ref = done.outputs["save_folder"]["output"]
        assert ref["uri"].startswith(production.artifact_store.root)
        assert ref["version"] == 1
        recorded = production.metadata.artifacts.get("work.save_folder")
        assert recorded.uri == ref["uri"]
        (tmp_path / "staging").rename(tmp_path / "gone")  # nothing refers to the other stack any more
        path = load({**ref, "materializer": recorded.materializer}, production.artifact_store)
        assert np.load(path / "weights.npy").tolist() == [0, 1, 2, 3]

    def test_only_if_the_stack_says_so(self, stacks: Any, tmp_path: Path) -> None:
        staging, production = stacks("staging"), stacks("production")
        parameters = {"size": 5, "folder": str(tmp_path)}
        work.run(**parameters, stack=staging)
        assert states(work.run(**parameters, stack=production)) == ["success", "success"]

    def test_damaged_or_missing_content_and_dead_stacks_are_misses(self, stacks: Any, tmp_path: Path) -> None:
        staging = stacks("staging")
        production = stacks("production", "step_cache: {borrow_from: [nowhere, staging]}\n")
        parameters = {"size": 6, "folder": str(tmp_path)}
        made = work.run(**parameters, stack=staging)
        damaged = staging.artifact_store.local_path(made.outputs["build"]["output"]["uri"])
        damaged.chmod(0o644)
        damaged.write_bytes(b'{"size":7}')
        staging.artifact_store.delete(made.outputs["save_folder"]["output"]["uri"])
        assert states(work.run(**parameters, stack=production)) == ["success", "success"]

    @pytest.mark.parametrize("wrong", ["staging", "{borrow: [staging]}", "{borrow_from: staging}"])
    def test_a_wrong_option_is_named(self, stacks: Any, wrong: str) -> None:
        production = stacks("production", f"step_cache: {wrong}\n")
        with pytest.raises(StackInvalid, match=r"production\.yaml, line 3: step_cache is configured wrongly"):
            assert production.borrows_from
