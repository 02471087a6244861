"""The two questions as two functions: a baseline of these data, and do those data differ from it.

The command line, the detector component and operators all come through here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from .policy import DriftPolicy
from .profile import DriftProfile, Progress, build_profile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .decision import DriftResult
    from .sources import Opener

Scan = Literal["auto", "full"]


def baseline_from(paths: Any, *, progress: Progress | None = None, **options: Any) -> DriftProfile:
    """The profile of reference data, stamped with the present time; ``options`` are those of ``build_profile``."""
    return build_profile(paths, progress=progress, created_at=datetime.now(timezone.utc), **options)


def check_against(
    paths: Any,
    baseline_bytes: bytes | DriftProfile,
    *,
    policy: DriftPolicy | None = None,
    scan: Scan = "auto",
    columns: Iterable[str] | None = None,
    window: tuple[datetime, datetime] | None = None,
    threads: int | None = None,
    opener: Opener | None = None,
    progress: Progress | None = None,
) -> DriftResult:
    """Compare data with a baseline.

    ``scan="auto"`` reads more than two million rows only as far as the decision needs, ``"full"`` all of them.
    ``columns`` limits what is compared. Raises ``DataUnreadable`` and ``ProfileMismatch``.
    """
    from .decision import compare
    from .sampling import follow_auto
    from .scan import follow

    policy = policy or DriftPolicy()
    reference = baseline_bytes if isinstance(baseline_bytes, DriftProfile) else DriftProfile.from_bytes(baseline_bytes)
    if scan == "auto":
        current = follow_auto(
            reference, paths, policy, columns=columns, threads=threads, opener=opener, progress=progress
        )
    else:
        current = follow(reference, paths, columns=columns, threads=threads, opener=opener, progress=progress)
    return compare(reference, replace(current, window=window), policy=policy)
