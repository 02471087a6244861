"""What every deployer must do: subclass :class:`DeployerContract` in the tests of yours.

::

    class TestAcmeDeployer(DeployerContract):
        @pytest.fixture
        def deployer(self, cluster): return AcmeDeployer(AcmeDeployer.Config(...), context)

        def request_for(self, deployer, version): return DeploymentRequest(...)   # version v of one and the same model
        def broken(self, deployer, version): return DeploymentRequest(...)        # its server cannot become ready
        def answer(self, state): ...                                              # ask state.url, return the version

Run it against a real platform or a faithful emulator: what a roll-over loses is what a mock never shows.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ..errors import DeploymentFailed, DeploymentNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..deployers.base import Deployer, DeploymentRequest, DeploymentState


class DeployerContract:
    """The behaviour that operators and roll-backs rely on. Override ``deployer``, ``request_for``, ``broken`` and
    ``answer``; all requests must be for the deployment :attr:`NAME`."""

    NAME = "contract"
    UNNOTICED_ROLL_OVER = True
    """Set to False, with the reason in your documentation, if the platform cannot replace without a failed request."""

    @pytest.fixture
    def deployer(self) -> Deployer:
        raise NotImplementedError("Override the fixture `deployer`.")

    def request_for(self, deployer: Deployer, version: int) -> DeploymentRequest:
        """A request for that version, which the deployer can serve."""
        raise NotImplementedError("Override `request_for`.")

    def broken(self, deployer: Deployer, version: int) -> DeploymentRequest:
        """A request for a version that can never become ready."""
        raise NotImplementedError("Override `broken`.")

    def answer(self, state: DeploymentState) -> int:
        """Ask what is deployed for a prediction and return the version that gave it. Raises when it fails."""
        raise NotImplementedError("Override `answer`.")

    @pytest.fixture(autouse=True)
    def _ended(self, deployer: Deployer) -> Iterator[None]:
        yield
        deployer.delete(self.NAME)
        with pytest.raises(DeploymentNotFound):
            deployer.describe(self.NAME)

    def test_what_is_deployed_answers(self, deployer: Deployer) -> None:
        state = deployer.deploy(self.request_for(deployer, 1))
        assert (state.name, state.phase, state.version) == (self.NAME, "ready", 1)
        assert self.answer(state) == 1

    def test_describe_sees_what_deploy_said(self, deployer: Deployer) -> None:
        state = deployer.deploy(self.request_for(deployer, 1))
        seen = deployer.describe(self.NAME)
        assert (seen.phase, seen.model, seen.version, seen.url) == (state.phase, state.model, state.version, state.url)

    def test_the_handle_is_json(self, deployer: Deployer) -> None:
        state = deployer.deploy(self.request_for(deployer, 1))
        assert json.loads(json.dumps(dict(state.handle))) == dict(state.handle)

    def test_deploying_again_changes_nothing(self, deployer: Deployer) -> None:
        first = deployer.deploy(self.request_for(deployer, 1))
        second = deployer.deploy(self.request_for(deployer, 1))
        assert (second.url, second.version, dict(second.handle)) == (first.url, first.version, dict(first.handle))

    def test_a_new_version_replaces_the_old_one_under_the_same_url(self, deployer: Deployer) -> None:
        first = deployer.deploy(self.request_for(deployer, 1))
        second = deployer.deploy(self.request_for(deployer, 2))
        assert second.url == first.url
        assert self.answer(second) == 2

    def test_rolling_back_is_deploying_the_old_version(self, deployer: Deployer) -> None:
        for version in (1, 2, 1):
            state = deployer.deploy(self.request_for(deployer, version))
        assert (state.version, self.answer(state)) == (1, 1)

    def test_a_roll_over_fails_no_request(self, deployer: Deployer) -> None:
        if not self.UNNOTICED_ROLL_OVER:
            pytest.skip("this platform says that it cannot")
        state = deployer.deploy(self.request_for(deployer, 1))
        answers: list[Any] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                try:
                    answers.append(self.answer(state))
                except Exception as error:  # noqa: BLE001 - whatever it is, a client saw it
                    answers.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            deployer.deploy(self.request_for(deployer, 2))
            time.sleep(0.5)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert set(answers) == {1, 2}

    def test_a_version_that_does_not_become_ready_leaves_the_old_one(self, deployer: Deployer) -> None:
        state = deployer.deploy(self.request_for(deployer, 1))
        with pytest.raises(DeploymentFailed):
            deployer.deploy(self.broken(deployer, 2))
        assert self.answer(state) == 1
        assert deployer.describe(self.NAME).version == 1

    def test_a_first_deployment_that_fails_can_be_mended(self, deployer: Deployer) -> None:
        with pytest.raises(DeploymentFailed):
            deployer.deploy(self.broken(deployer, 1))
        assert self.answer(deployer.deploy(self.request_for(deployer, 2))) == 2

    def test_delete_is_idempotent(self, deployer: Deployer) -> None:
        deployer.deploy(self.request_for(deployer, 1))
        deployer.delete(self.NAME)
        deployer.delete(self.NAME)

    def test_an_unknown_name_is_not_found(self, deployer: Deployer) -> None:
        with pytest.raises(DeploymentNotFound, match="nobody"):
            deployer.describe("nobody")

    def test_its_check_passes(self, deployer: Deployer) -> None:
        result = deployer.check()
        assert result.ok, result.detail
