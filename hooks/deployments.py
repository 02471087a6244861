"""Deployments, for tasks of your own."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from ..provider.errors import DeploymentFailed
from .stacks import StackHook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..provider.metadata.deployments import Deployment


class DeploymentHook(StackHook):
    """Finds a deployment and asks it for predictions.

    :param stack: name of the stack; default: the active one.
    :param windsock_conn_id: connection of type ``windsock``.
    """

    def get_deployment(self, name: str) -> Deployment:
        """Raises ``DeploymentNotFound``."""
        return self.stack().metadata.deployments.get(name)

    def predict(self, name: str, rows: Sequence[Mapping[str, Any]], *, timeout: float = 30.0) -> dict[str, Any]:
        """Predictions for ``rows`` (feature name -> value), as the server answers them.

        Raises ``DeploymentNotFound``, and ``DeploymentFailed`` when the server refuses the rows or does not answer.
        """
        url = f"{self.get_deployment(name).url}/predict"
        body = json.dumps({"instances": [dict(row) for row in rows]}).encode()
        request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 - the URL is our deployment's
                result: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise DeploymentFailed(f'Deployment "{name}" answered {error.code}: {said}', deployment=name) from None
        except OSError as error:
            raise DeploymentFailed(
                f'Deployment "{name}" does not answer at {url}: {error}',
                hint=f"Look at it: windsock deployment show {name}",
                deployment=name,
            ) from None
        return result
