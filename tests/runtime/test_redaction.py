from __future__ import annotations

import pytest
from windsock.provider.errors import MetadataUnavailable
from windsock.provider.runtime.redaction import error_line, redact


class TestRedact:
    @pytest.mark.parametrize(
        "text",
        [
            "could not connect to postgresql+psycopg://windsock:hunter2@db:5432/ml",
            "s3: secret_access_key='hunter2', region=eu",
            'config {"password": "hunter2"}',
            "token=hunter2&x=1",
            "redis://:hunter2@cache/0",
        ],
    )
    def test_passwords_are_hidden(self, text: str) -> None:
        assert "hunter2" not in redact(text)
        assert "***" in redact(text)

    def test_a_connections_password_is_hidden_wherever_it_stands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_DB", "postgres://ada:swordfish%21@db/ml")
        assert redact("login with swordfish! failed") == "login with *** failed"

    def test_the_rest_stays(self) -> None:
        text = "KeyError: 'age' in https://example.org/a:b at 10:30@noon"
        assert redact(text) == text


class TestErrorLine:
    def test_one_line_with_the_type(self) -> None:
        assert error_line(ValueError("a\n  b")) == "ValueError: a b"
        assert error_line(KeyboardInterrupt()) == "KeyboardInterrupt"

    def test_ours_without_its_hint(self) -> None:
        assert error_line(MetadataUnavailable("gone", hint="do this")) == "MetadataUnavailable: gone"

    def test_a_long_one_is_cut(self) -> None:
        assert len(error_line(ValueError("x" * 10_000))) == 500
