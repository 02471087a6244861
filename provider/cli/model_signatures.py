"""``windsock model sign``, ``verify`` and ``new-signing-key``: who vouches for a model version."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import Format, Output, StackName, conclude, emit, facts
from .references import model_version
from .session import session

Named = Annotated[
    str, typer.Argument(metavar="MODEL@VERSION", help="Or MODEL@ALIAS; the latest if left out.", show_default=False)
]


def sign(ctx: typer.Context, name: Named, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """Sign a version with the key of [windsock] signing_connection: you vouch for what it holds and for its metrics."""
    here = session(ctx)
    loaded = here.stack(stack)
    found = model_version(loaded.metadata, name)
    signature = loaded.model_registry.sign(found.model, found.version, actor=here.actor)
    told = {"model": found.model, "version": found.version, "key": signature.key, "signed_at": signature.signed_at}
    was = "is signed" if signature.fresh else "was signed already"
    conclude(told, output, f"{found.model}@{found.version} {was} with key {signature.key}.")


def verify(ctx: typer.Context, name: Named, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """Check that a trusted key has signed a version, and that nothing of it was changed since."""
    loaded = session(ctx).stack(stack)
    found = model_version(loaded.metadata, name)
    signature = loaded.model_registry.verify_signature(found.model, found.version)
    told = {
        "model": f"{found.model}@{found.version}",
        "key": signature.key,
        "signed_by": signature.signed_by,
        "signed_at": signature.signed_at,
    }
    emit(told, output, lambda: facts(told))


def new_signing_key(output: Output = Format.TEXT) -> None:
    """Print a new pair of keys: the private one is the password of the signing connection, the other is no secret."""
    from ..security.signatures import new_signing_key as make

    private, public = make()
    told = {"private": private, "public": public}
    emit(told, output, lambda: facts(told))
