"""Signing tokens for Windsock with Airflow's own key, where that key is: in the API server and in the scheduler.

A token is a JWT for the audience ``windsock``: Airflow's APIs do not take it, and Windsock takes none of theirs for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.auth.tokens import JWTGenerator, JWTValidator, get_sig_validation_args, get_signing_args

from ..hooks.connections import AirflowCredentials
from ..provider.metadata.rest.methods import READ, STEPS

if TYPE_CHECKING:
    from ..provider.security.tokens import TokenSource

AUDIENCE = "windsock"
VALID_FOR = 600
"""Seconds."""

SCHEDULER = "scheduler"
OF_THE_SCHEDULER = frozenset({READ, STEPS})


def sign(claims: dict[str, Any]) -> str:
    """A token with these claims: whoever can call this has Airflow's key."""
    return _signer().generate(claims)


@lru_cache(maxsize=1)
def validator() -> JWTValidator:
    return JWTValidator(audience=AUDIENCE, **get_sig_validation_args())


@lru_cache(maxsize=1)
def _signer() -> JWTGenerator:
    return JWTGenerator(valid_for=VALID_FOR, audience=AUDIENCE, **get_signing_args())


class SchedulerCredentials(AirflowCredentials):
    """For a scheduler without database access: it ends runs over REST, and signs for itself."""

    def tokens(self, url: str, ca_file: str | None = None) -> TokenSource:
        return _SchedulerTokens()


class _SchedulerTokens:
    def token(self, *, renew: bool = False) -> str:
        return sign({"sub": SCHEDULER})
