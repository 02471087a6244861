"""Alerts as JSON to a URL: chat systems, incident systems and your own services take them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, model_validator

from ..component import CheckResult, ComponentConfig
from ..errors import AlertNotSent, WindsockError
from .base import Alert, Alerter


class WebhookConfig(ComponentConfig):
    """``connection``: an Airflow connection of type ``http``; its password, if any, is sent as a bearer token.

    Or ``url``, for a receiver without a secret. ``template`` is the JSON that is sent, in which ``{title}``,
    ``{text}``, ``{severity}``, ``{status}``, ``{key}`` and ``{links}`` are filled in; default: all of the alert.
    """

    connection: str | None = None
    url: str | None = None
    template: dict[str, Any] | None = None
    timeout: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _one_receiver(self) -> WebhookConfig:
        if (self.connection is None) == (self.url is None):
            raise ValueError("name either a connection or a url")
        if self.url is not None and urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError("url must begin with http:// or https://")
        return self


class WebhookAlerter(Alerter):
    """Flavor ``webhook``: one ``POST`` of ``application/json`` for each alert.

    With ``template: {text: "{title}\\n{text}"}`` a Slack or Mattermost incoming webhook shows it as a message.
    """

    Config = WebhookConfig

    def send(self, alert: Alert) -> None:
        template = self.config.template
        payload = alert.to_dict() if template is None else alert.filled(template)
        url, token = self._receiver()
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        request = urllib.request.Request(url, json.dumps(payload).encode(), headers, method="POST")  # noqa: S310 - checked
        shown = urlunsplit(urlsplit(url)._replace(path="/…", query=""))  # the path may be the secret
        try:
            with urllib.request.urlopen(request, timeout=self.config.timeout):  # noqa: S310
                pass
        except urllib.error.HTTPError as error:
            raise AlertNotSent(f"{shown} answered {error.code} to an alert.", status=error.code) from None
        except OSError as error:
            raise AlertNotSent(f"{shown} does not take alerts: {getattr(error, 'reason', error)}") from None

    def check(self) -> CheckResult:
        """Resolves the connection. It sends nothing: a check must not wake anybody."""
        try:
            url, token = self._receiver()
        except WindsockError as error:
            return CheckResult(ok=False, detail=error.message, hint=error.hint)
        return CheckResult(
            ok=True, detail=f"{urlsplit(url).hostname}, {'with' if token else 'without'} a token; not called"
        )

    def _receiver(self) -> tuple[str, str | None]:
        if self.config.url is not None:
            return self.config.url, None
        found = self.context.credentials.connection(self.config.connection)
        host = found.host or ""
        if "://" not in host:
            host = f"{found.schema or 'https'}://{host}{f':{found.port}' if found.port else ''}"
        path = str(found.extra.get("path") or "")
        return f"{host.rstrip('/')}/{path.lstrip('/')}" if path else host, found.password
