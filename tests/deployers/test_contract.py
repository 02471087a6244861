"""The contract of deployers, over what is built in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import serving_lab as lab
from windsock.provider.testing.deployers import DeployerContract

if TYPE_CHECKING:
    from windsock.provider.component import ComponentContext
    from windsock.provider.deployers.base import Deployer, DeploymentRequest, DeploymentState


class TestLocalDeployer(DeployerContract):
    @pytest.fixture
    def deployer(self, context: ComponentContext) -> Deployer:
        return lab.deployer_of(context)

    def request_for(self, deployer: Deployer, version: int) -> DeploymentRequest:
        return lab.linear_request(lab.store_of(deployer.context), version, name=self.NAME)

    def broken(self, deployer: Deployer, version: int) -> DeploymentRequest:
        store = lab.store_of(deployer.context)
        return lab.linear_request(store, version, name=self.NAME, artifact=lab.ref_of(b"nothing", store))

    def answer(self, state: DeploymentState) -> int:
        client = lab.Client(state.url)
        try:
            status, answer = client.post("/predict", lab.ROW)
        finally:
            client.close()
        assert status == 200, answer
        return int((answer["predictions"][0] - 3.0) / 100)
