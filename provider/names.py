"""Names of things: what a name may look like, and the URI under which Airflow knows it as an asset."""

from __future__ import annotations

import re
from urllib.parse import quote

from .errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")

SCHEME = "windsock"
"""URI scheme of Windsock's Airflow assets: ``windsock://model/churn/production``."""


def check_name(kind: str, name: str) -> str:
    """Return ``name`` if it can name a ``kind``: 1-200 letters, digits, ``_``, ``.``, ``-``.

    Raises ``ConfigurationError``. Such a name is safe as a path segment, a task id and a label.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{kind} name {name!r} is not valid: use 1 to 200 letters, digits, '_', '.' or '-', "
            "beginning with a letter, a digit or '_'.",
            hint=f'For example: "{_similar(name)}".' if isinstance(name, str) else None,
            name=name,
        )
    return name


def _similar(name: str) -> str:
    """A valid name that still resembles ``name``: without accents, and ``_`` for what cannot stand in one."""
    from unicodedata import normalize

    letters = normalize("NFKD", name).replace("ß", "ss").encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", letters).strip("._-")[:200] or "my_name"


def asset_uri(kind: str, name: str, *path: str) -> str:
    """``windsock://{kind}/{name}[/…]``, for example ``windsock://model/churn/production``."""
    return f"{SCHEME}://{kind}/" + "/".join(quote(part, safe="") for part in (name, *path))
