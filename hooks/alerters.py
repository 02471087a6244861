"""Alerts through Airflow's own notifiers: Slack, SMTP, PagerDuty, OpsGenie, Teams, whatever a provider brings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..provider.alerters.base import Alerter
from ..provider.component import CheckResult, ComponentConfig
from ..provider.errors import AlertNotSent, ComponentInvalid

if TYPE_CHECKING:
    from airflow.sdk.bases.notifier import BaseNotifier

    from ..provider.alerters.base import Alert


class NotifierConfig(ComponentConfig):
    """``notifier``: import path of the class, ``airflow.providers.slack.notifications.slack.SlackNotifier``.

    ``arguments``: what it is made with, in which ``{title}``, ``{text}``, ``{severity}``, ``{status}``, ``{key}`` and
    ``{links}`` are filled in; its secrets stay in its own Airflow connection.
    """

    notifier: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class NotifierAlerter(Alerter):
    """Flavor ``notifier``: hands each alert to a notifier of Airflow's. Works where Airflow is installed."""

    Config = NotifierConfig

    def send(self, alert: Alert) -> None:
        notifier = self._class()(**alert.filled(self.config.arguments))
        try:
            notifier.notify({})
        except Exception as error:
            # The message of a provider's client may hold a token; its log has it.
            raise AlertNotSent(
                f"The notifier {self.config.notifier} failed: {type(error).__name__}.",
                hint="Check its connection: airflow connections test CONN_ID",
            ) from error

    def check(self) -> CheckResult:
        """Imports the notifier and makes one. It sends nothing: a check must not wake anybody."""
        from ..provider.alerters.base import Alert

        try:
            self._class()(**Alert("check").filled(self.config.arguments))
        except (ComponentInvalid, TypeError, ValueError) as error:
            return CheckResult(ok=False, detail=str(error), hint="Check notifier and arguments of the alerter.")
        return CheckResult(ok=True, detail=f"{self.config.notifier}; not called")

    def _class(self) -> type[BaseNotifier]:
        from airflow.sdk.bases.notifier import BaseNotifier

        module, _, name = self.config.notifier.rpartition(".")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ComponentInvalid(
                f"The alerter's notifier {self.config.notifier} cannot be imported: {error}.",
                hint="Install the provider that brings it, for example apache-airflow-providers-slack.",
            ) from None
        if not (isinstance(found, type) and issubclass(found, BaseNotifier)):
            raise ComponentInvalid(f"{self.config.notifier} is no notifier of Airflow's.")
        return found
