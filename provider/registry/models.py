"""The model registry: what a version is, which one serves, and how an alias may move.

A *stage* is an alias with a reserved name: ``candidate``, ``staging``, ``production``. A version that nobody needs is
archived, which is a state and not an alias. Anything else (``champion``, ``eu-production``…) is an alias as well, and
behaves the same.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..component import CheckResult, Component, ComponentConfig
from ..errors import AliasNotFound, GateFailed, PromotionConflict, RegistryError
from ..metadata.records import ANY, Any_
from ..names import check_name
from .comparison import Comparison
from .gates import Gate, GateOutcome, as_gate, evaluate_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

    from ..artifacts.store import ArtifactStore
    from ..metadata import Alias, AliasEvent, Metadata, ModelVersion, NewModelVersion
    from ..security.signatures import ModelSignatures, Signature
    from .explain import Explanation

STAGES = ("candidate", "staging", "production")
"""Reserved aliases, in the order in which a version usually passes through them."""

_NOT_ALIASES = {
    "archived": "Archive a version instead: windsock model archive",
    "latest": "The newest version needs no alias; a version that others may rely on gets one of its own.",
    "none": 'Remove the alias instead of moving it to "none".',
}


@dataclass(frozen=True)
class PromotionResult:
    """What a promotion did. ``previous`` is the version that held the alias before, None if none did.

    ``changed`` is False when the alias was there already; ``previous`` and ``gates`` are then those of the promotion
    that had moved it, so that the retry of a killed task returns what the task would have returned.
    """

    model: str
    version: int
    previous: int | None
    alias: str
    gates: list[GateOutcome] = field(default_factory=list)
    changed: bool = True

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": self.version,
            "previous": self.previous,
            "alias": self.alias,
            "gates": [outcome.to_dict() for outcome in self.gates],
            "changed": self.changed,
        }


class ModelRegistry(Component):
    """Where model versions are kept. Thread-safe; used by several processes at once.

    A flavor implements five methods. ``promote`` and ``explain`` are made of them, and the same for every flavor.
    """

    kind = "model_registry"

    def __init__(self, config: Any = None, context: Any = None) -> None:
        super().__init__(config, context)
        self._metadata: Callable[[], Metadata] | None = None
        self._artifact_store: Callable[[], ArtifactStore] | None = None

    def attach(
        self,
        *,
        metadata: Callable[[], Metadata] | None = None,
        artifact_store: Callable[[], ArtifactStore] | None = None,
    ) -> Self:
        """Tell the registry its neighbours in the stack. Functions, because nothing may connect before it is used."""
        self._metadata = metadata or self._metadata
        self._artifact_store = artifact_store or self._artifact_store
        return self

    @property
    def artifact_store(self) -> ArtifactStore | None:
        """Where gates load models and data from; None when nobody attached one."""
        return self._artifact_store() if self._artifact_store else None

    @abstractmethod
    def register(self, new: NewModelVersion) -> ModelVersion:
        """Add a version; its number is one more than the model's highest, the first is 1.

        Idempotent by ``(new.model, new.source)``: a retried step gets the version it made before. Two registrations
        at the same time get two numbers. Raises ``RegistryError``, ``MetadataUnavailable``.
        """

    @abstractmethod
    def get(self, model: str, *, version: int | None = None, alias: str | None = None) -> ModelVersion:
        """One version, by number or by alias; the newest when neither is given.

        Raises ``ModelNotFound``, ``AliasNotFound``.
        """

    @abstractmethod
    def move_alias(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        expected: int | Any_ | None = ANY,
        actor: str,
        reason: str | None = None,
        gates: Sequence[Mapping[str, Any]] = (),
        run: str | None = None,
    ) -> Alias:
        """Point ``alias`` at ``version`` and append to its history, in one atomic act.

        Compare-and-set: ``expected`` is the version that the caller saw there (None: no such alias). Raises
        ``PromotionConflict`` when it is another by now, ``ModelNotFound``.
        """

    @abstractmethod
    def history(self, model: str, alias: str | None = None, limit: int = 1000) -> list[AliasEvent]:
        """The last moves of one alias, or of all, newest first. Append-only: nothing of it is ever changed."""

    @abstractmethod
    def archive(self, model: str, version: int, *, actor: str, reason: str | None = None) -> ModelVersion:
        """Take a version out of use. It stays readable, and cannot get an alias any more. Idempotent.

        Raises ``RegistryError`` when an alias or a live deployment uses it, ``ModelNotFound``.
        """

    def find(self, model: str, *, alias: str) -> ModelVersion | None:
        """The version that holds ``alias``, or None. Raises ``ModelNotFound``."""
        try:
            return self.get(model, alias=alias)
        except AliasNotFound:
            return None

    def last_move(self, model: str, alias: str, version: int) -> AliasEvent | None:
        """The move that made ``alias`` point at ``version``, if it still does."""
        moves = self.history(model, alias, limit=1)
        return moves[0] if moves and moves[0].to_version == version else None

    def promote(
        self,
        model: str,
        *,
        version: int | None = None,
        source: str | None = None,
        target: str = "production",
        gates: Sequence[Gate | Mapping[str, Any] | str] = (),
        actor: str,
        reason: str | None = None,
        run: str | None = None,
        expected: int | Any_ | None = ANY,
    ) -> PromotionResult:
        """Move the alias ``target`` to a version, given by number or as the one that holds the alias ``source``.

        All gates are evaluated against the version that holds ``target`` when the promotion begins (``expected``, if
        the caller has decided on what they saw earlier); the alias then moves only if it still does. Idempotent.

        Raises ``GateFailed`` (``outcomes``: every gate's, passed or not), ``PromotionConflict`` when somebody else
        moved the alias meanwhile, ``ModelNotFound``, ``AliasNotFound``.
        """
        check_alias(target)
        parsed = [as_gate(gate) for gate in gates]
        candidate = self._candidate(model, version, source, target)
        current = self.find(model, alias=target)
        if current is not None and current.version == candidate.version:
            return self._unchanged(candidate, target)
        seen = current.version if current else None
        if not isinstance(expected, Any_) and expected != seen:
            raise _conflict(candidate, target, expected, seen)
        outcomes = evaluate_all(parsed, self._comparison(candidate, current))
        if not all(outcome.passed for outcome in outcomes):
            self._refused(candidate, target, outcomes, actor, reason)
            raise _refusal(candidate, target, outcomes)
        try:
            self.move_alias(
                model,
                target,
                candidate.version,
                expected=seen,
                actor=actor,
                reason=reason,
                gates=[outcome.to_dict() for outcome in outcomes],
                run=run,
            )
        except PromotionConflict:
            now = self.find(model, alias=target)
            if now is not None and now.version == candidate.version:
                return self._unchanged(candidate, target)
            raise _conflict(candidate, target, seen, now.version if now else None) from None
        return PromotionResult(model, candidate.version, seen, target, outcomes)

    def sign(self, model: str, version: int, *, actor: str) -> Signature:
        """Sign a version with the key of ``[windsock] signing_connection``. Idempotent.

        Raises ``ConfigurationError``, ``ConnectionNotFound``, ``ModelNotFound``.
        """
        found = self.get(model, version=version)
        signature = self._signatures().sign(found, actor)
        if signature.fresh:
            self._signed(found, signature, actor)
        return signature

    def verify_signature(self, model: str, version: int) -> Signature:
        """The signature of a trusted key. Raises ``SignatureMissing``, ``SignatureInvalid``, ``ModelNotFound``."""
        return self._signatures().verify(self.get(model, version=version))

    def _signatures(self) -> ModelSignatures:
        from ..security.signatures import ModelSignatures

        store = self.artifact_store
        if store is None:
            raise RegistryError("The registry knows no artifact store, in which signatures are kept.")
        return ModelSignatures(store, self.context.settings, self.context.credentials)

    def _signed(self, version: ModelVersion, signature: Signature, actor: str) -> None:
        """Called after a version was signed; a flavor that can keeps a record of it."""

    def explain(self, model: str, alias: str = "production") -> Explanation:
        """Why the version that holds ``alias`` holds it. Raises ``ModelNotFound``, ``AliasNotFound``."""
        from .explain import explain

        return explain(self, model, alias, self._metadata() if self._metadata else None)

    def _candidate(self, model: str, version: int | None, source: str | None, target: str) -> ModelVersion:
        if version is not None and source is not None:
            raise RegistryError(f'Promote version {version} or what "{source}" points at, not both.')
        if source == target:
            raise RegistryError(f'The source and the target of a promotion are both "{target}".')
        found = (
            self.get(model, version=version) if version is not None else self.get(model, alias=source or "candidate")
        )
        if found.state == "archived":
            raise RegistryError(
                f'Version {found.version} of "{model}" is archived and cannot become "{target}".',
                hint=f"Choose another: windsock model show {model}",
            )
        return found

    def _comparison(self, candidate: ModelVersion, current: ModelVersion | None) -> Comparison:
        """What the gates look at."""
        return Comparison(candidate, current, self.artifact_store)

    def _unchanged(self, candidate: ModelVersion, target: str) -> PromotionResult:
        event = self.last_move(candidate.model, target, candidate.version)
        gates = [GateOutcome.from_dict(form) for form in event.gates] if event else []
        previous = event.from_version if event else None
        return PromotionResult(candidate.model, candidate.version, previous, target, gates, changed=False)

    def _refused(
        self, candidate: ModelVersion, target: str, outcomes: list[GateOutcome], actor: str, reason: str | None
    ) -> None:
        """Called before ``GateFailed`` is raised; a flavor that can keeps a record of the refusal."""


class NativeModelRegistryConfig(ComponentConfig):
    """``allow_pickle``: gates may load models that were stored as pickles, which runs code that they contain."""

    allow_pickle: bool = False


class NativeModelRegistry(ModelRegistry):
    """Windsock's own registry, in its metadata database: no other server is needed.

    Number and alias are compare-and-set in one transaction with their history; see ``metadata/models.py``.
    """

    Config = NativeModelRegistryConfig

    @classmethod
    def over(cls, metadata: Metadata, store: ArtifactStore | None = None, *, allow_pickle: bool = False) -> Self:
        """One over an open database, without a stack."""
        registry = cls(NativeModelRegistryConfig(allow_pickle=allow_pickle))
        return registry.attach(metadata=lambda: metadata, artifact_store=(lambda: store) if store else None)

    @property
    def metadata(self) -> Metadata:
        """The database; opened from the settings if the stack has not attached its own."""
        if self._metadata is None:
            from ..metadata import Metadata

            url = self.context.settings.sql_alchemy_conn
            self._metadata = lambda: Metadata.open(url)
        return self._metadata()

    def register(self, new: NewModelVersion) -> ModelVersion:
        check_name("model", new.model)
        version = self.metadata.models.register(new)
        if self._context is not None and self.context.settings.signing_connection:
            self.sign(version.model, version.version, actor=new.created_by or self.context.settings.actor)
        return version

    def get(self, model: str, *, version: int | None = None, alias: str | None = None) -> ModelVersion:
        return self.metadata.models.get(model, version=version, alias=alias)

    def move_alias(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        expected: int | Any_ | None = ANY,
        actor: str,
        reason: str | None = None,
        gates: Sequence[Mapping[str, Any]] = (),
        run: str | None = None,
    ) -> Alias:
        check_alias(alias)
        return self.metadata.models.set_alias(
            model,
            alias,
            version,
            expected=expected,
            actor=actor,
            reason=reason,
            gates=[dict(g) for g in gates],
            run=run,
        )

    def history(self, model: str, alias: str | None = None, limit: int = 1000) -> list[AliasEvent]:
        return self.metadata.models.history(model, alias, limit)

    def archive(self, model: str, version: int, *, actor: str, reason: str | None = None) -> ModelVersion:
        try:
            # Looks for aliases and deployments with the model locked, so that no promotion slips in between.
            return self.metadata.models.archive(model, version, actor=actor, reason=reason)
        except PromotionConflict as error:
            if live := error.facts.get("deployments"):
                raise _in_use(model, version, live, "deployment {} serves it", error.hint) from None
            held = sorted(error.facts["aliases"])
            hint = f"Promote another version first: windsock model promote {model} --to {held[0]}"
            raise _in_use(model, version, held, "it is {}", hint) from None

    def check(self) -> CheckResult:
        """Read the list of models: proves the connection and the schema."""
        count = len(self.metadata.models.list())
        return CheckResult(ok=True, detail=f"{count} model{'' if count == 1 else 's'} registered")

    def _comparison(self, candidate: ModelVersion, current: ModelVersion | None) -> Comparison:
        artifacts = self.metadata.artifacts
        return Comparison(
            candidate,
            current,
            self.artifact_store,
            self.config.allow_pickle,
            lambda name, version: artifacts.get(name, version).ref(),
        )

    def _refused(
        self, candidate: ModelVersion, target: str, outcomes: list[GateOutcome], actor: str, reason: str | None
    ) -> None:
        self.metadata.audit.append(
            actor=actor,
            action="promotion_refused",
            subject_kind="model",
            subject=f"{candidate.model}@{candidate.version}",
            before=None,
            after={"alias": target, "gates": [outcome.to_dict() for outcome in outcomes]},
            reason=reason,
        )

    def _signed(self, version: ModelVersion, signature: Signature, actor: str) -> None:
        self.metadata.audit.append(
            actor=actor,
            action="sign",
            subject_kind="model",
            subject=f"{version.model}@{version.version}",
            before=None,
            after={"key": signature.key, "signed_at": signature.signed_at},
        )


def check_alias(alias: str) -> str:
    """Return ``alias`` if it can be one: a name, no number (it would read as a version), no reserved word."""
    check_name("alias", alias)
    if alias.isdigit():
        raise RegistryError(f'An alias cannot be a number: "{alias}" would read as version {alias}.')
    if alias.lower() in _NOT_ALIASES:
        raise RegistryError(f'"{alias}" cannot be an alias.', hint=_NOT_ALIASES[alias.lower()])
    return alias


def _in_use(model: str, version: int, users: Sequence[str], what: str, hint: str | None) -> RegistryError:
    return RegistryError(
        f'Version {version} of "{model}" cannot be archived: {what.format(" and ".join(users))}.',
        hint=hint,
        model=model,
        version=version,
        users=list(users),
    )


def _conflict(candidate: ModelVersion, target: str, seen: int | None, now: int | None) -> PromotionConflict:
    def where(version: int | None) -> str:
        return "no version" if version is None else f"version {version}"

    return PromotionConflict(
        f'"{candidate.model}" alias "{target}" moved from {where(seen)} to {where(now)} while you were promoting '
        f"{candidate.version}.",
        hint=f"Read it again and decide: windsock model show {candidate.model}",
        model=candidate.model,
        alias=target,
        version=candidate.version,
        expected=seen,
        found=now,
    )


def _refusal(candidate: ModelVersion, target: str, outcomes: list[GateOutcome]) -> GateFailed:
    failed = [outcome for outcome in outcomes if not outcome.passed]
    return GateFailed(
        f'Version {candidate.version} of "{candidate.model}" does not become "{target}": {len(failed)} of '
        f"{len(outcomes)} gate{'s' if len(outcomes) > 1 else ''} failed. " + " ".join(f"[{o.detail}]" for o in failed),
        hint=f"windsock model show {candidate.model} --version {candidate.version}",
        model=candidate.model,
        version=candidate.version,
        alias=target,
        outcomes=outcomes,
    )
