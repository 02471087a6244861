"""The core: everything below this folder runs without Airflow.

``get_provider_info`` is what Airflow's provider discovery calls, inside ``import airflow`` itself: it may
import the standard library only, and may never raise.
"""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    from .info import PROVIDER_INFO

    return PROVIDER_INFO
