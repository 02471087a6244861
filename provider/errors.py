"""Every error that Windsock raises on purpose.

::

    WindsockError
    ├── ConfigurationError      a setting, a stack or a component is wrong
    │   ├── SettingInvalid · StackNotFound · StackInvalid · ComponentInvalid
    │   └── FlavorNotFound · MissingExtra · ConnectionNotFound
    ├── PipelineError           a pipeline cannot be compiled
    │   ├── PipelineInvalid · PipelineFileInvalid · ReferenceMisuse · DuplicateName
    │   └── UnknownParameter · TypeMismatch · StepNotImportable
    ├── StepError               a step ran, and something is wrong with it
    │   └── StepFailed · OutputMismatch · NoActiveStep
    ├── ArtifactError
    │   ├── ArtifactNotFound · ArtifactCorrupted · StoreUnavailable
    │   ├── MaterializerNotFound · PickleRefused
    │   └── EncryptionKeyNotFound · EncryptionKeyWrong · DatasetMismatch
    ├── MetadataError
    │   ├── MetadataUnavailable · SchemaOutdated · RecordNotFound · Conflict
    │   ├── ContentRemoved · AuditBroken
    │   └── FilterInvalid · ImportRejected
    ├── RegistryError
    │   ├── ModelNotFound · AliasNotFound · PromotionConflict · GateFailed
    │   └── SignatureMissing · SignatureInvalid
    ├── DeploymentError
    │   └── DeploymentNotFound · DeploymentFailed
    ├── MonitoringError
    │   └── BaselineNotFound · DataUnreadable · ProfileMismatch
    ├── AlertNotSent            a receiver of alerts refuses or does not answer
    ├── ValidationFailed        data do not meet their expectations
    └── NotPermitted            the actor may not do this
        └── TokenInvalid        the API server does not take the token

A message says what was asked and what was found; ``hint`` says what to do next, usually a command.
``facts`` are the values behind the message, readable as attributes; they survive pickling, because an
error crosses process borders in Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class WindsockError(Exception):
    """The root: catch it to catch everything that Windsock raises on purpose."""

    def __init__(self, message: str, *, hint: str | None = None, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}") from None

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.facts)


def _rebuild(cls: type[WindsockError], message: str, hint: str | None, facts: dict[str, Any]) -> WindsockError:
    return cls(message, hint=hint, **facts)


def did_you_mean(asked: str, known: Iterable[str]) -> str:
    """``Did you mean "x"? Known: a, b, x.``, with the question only when something is close."""
    from difflib import get_close_matches  # errors are rare, and this module is imported everywhere

    names = sorted(known)
    close = get_close_matches(asked, names, n=1)
    listing = f"Known: {', '.join(names)}." if names else "None is known."
    return f'Did you mean "{close[0]}"? {listing}' if close else listing


class ConfigurationError(WindsockError):
    """A setting, a stack file or a component is wrong."""


class SettingInvalid(ConfigurationError):
    """A ``[windsock]`` setting has a value that cannot be used."""


class StackNotFound(ConfigurationError):
    """No stack of that name."""


class StackInvalid(ConfigurationError):
    """A stack file cannot be read; names the file and the line."""


class ComponentInvalid(ConfigurationError):
    """A component class or its configuration is wrong."""


class FlavorNotFound(ConfigurationError):
    """No implementation of that kind is known under that name."""


class MissingExtra(ConfigurationError):
    """A flavor or a type needs a package that is not installed; the hint is the command to run."""


class ConnectionNotFound(ConfigurationError):
    """No Airflow connection of that id."""


class PipelineError(WindsockError):
    """A pipeline cannot be compiled."""


class PipelineInvalid(PipelineError):
    """The graph is wrong: a cycle, an unknown step, an argument too many."""


class PipelineFileInvalid(PipelineError):
    """A pipeline file cannot be read; names the file and the line."""


class ReferenceMisuse(PipelineError):
    """The output of a step was used as a value while the pipeline was being wired."""


class DuplicateName(PipelineError):
    """Two things of one pipeline have the same name."""


class UnknownParameter(PipelineError):
    """A parameter that the pipeline or the step does not have."""


class TypeMismatch(PipelineError):
    """The type of an output does not fit the argument it is wired to."""


class StepNotImportable(PipelineError):
    """A step for remote compute is defined where a remote process cannot import it."""


class StepError(WindsockError):
    """Something is wrong with a step that ran."""


class StepFailed(StepError):
    """A step raised; the original exception is ``__cause__``."""


class OutputMismatch(StepError):
    """A step returned something else than its annotation or its named outputs say."""


class NoActiveStep(StepError):
    """``windsock.context()`` was called outside a running step."""


class ArtifactError(WindsockError):
    """An artifact cannot be stored, found or read."""


class ArtifactNotFound(ArtifactError):
    """No such artifact or version, or its content is gone from the store."""


class ArtifactCorrupted(ArtifactError):
    """The content read is not the content that was recorded: the digests differ."""


class StoreUnavailable(ArtifactError):
    """The artifact store does not answer, or its bucket is gone."""


class MaterializerNotFound(ArtifactError):
    """No materializer knows how to store a value of this type."""


class PickleRefused(ArtifactError):
    """Loading would run a pickle, and nobody allowed it."""


class EncryptionKeyNotFound(ArtifactError):
    """A key that encrypts artifacts is not where it is said to be, or may not be used."""


class EncryptionKeyWrong(ArtifactError):
    """The artifact was encrypted under another key than those that are given."""


class DatasetMismatch(ArtifactError):
    """Rows do not fit a data set, or it has no such column or partition."""


class MetadataError(WindsockError):
    """The metadata database cannot do what was asked."""


class MetadataUnavailable(MetadataError):
    """The metadata database does not answer."""


class SchemaOutdated(MetadataError):
    """The database's schema is missing, older or newer than this Windsock's."""


class RecordNotFound(MetadataError):
    """No such run, step run, report or other record."""


class Conflict(MetadataError):
    """Somebody else changed the record first (compare-and-set failed)."""


class ContentRemoved(Conflict):
    """What is to be recorded is being removed from the artifact store, or was: store it again, then record it."""


class AuditBroken(MetadataError):
    """The audit trail is not what was written: an event was changed, removed, inserted or moved."""


class FilterInvalid(MetadataError):
    """What a list is to be narrowed by makes no sense."""


class ImportRejected(MetadataError):
    """A file of records cannot be imported; names the line. What came before it stays."""


class RegistryError(WindsockError):
    """The model registry refuses."""


class ModelNotFound(RegistryError):
    """No model of that name, or no such version."""


class AliasNotFound(RegistryError):
    """The model has no such alias."""


class PromotionConflict(RegistryError):
    """The alias moved while a promotion was being decided."""


class GateFailed(RegistryError):
    """A model version does not pass a gate of its promotion."""


class SignatureMissing(RegistryError):
    """A model version must be signed to be served, and nobody who is trusted has signed it."""


class SignatureInvalid(RegistryError):
    """The signature of a model version is not true: it, or what it says of the version, was changed."""


class DeploymentError(WindsockError):
    """A deployment cannot be made, changed or found."""


class DeploymentNotFound(DeploymentError):
    """No deployment of that name."""


class DeploymentFailed(DeploymentError):
    """The server of a deployment did not become ready."""


class MonitoringError(WindsockError):
    """Drift or performance cannot be computed."""


class BaselineNotFound(MonitoringError):
    """The model version has no baseline profile."""


class DataUnreadable(MonitoringError):
    """The data to look at cannot be read."""


class ProfileMismatch(MonitoringError):
    """Two profiles were made with different edges and cannot be merged or compared."""


class AlertNotSent(WindsockError):
    """The receiver of an alert refused it or did not answer."""


class ValidationFailed(WindsockError):
    """Data do not meet their expectations."""


class NotPermitted(WindsockError):
    """The actor may not do this."""


class TokenInvalid(NotPermitted):
    """A token for the API server is missing, expired, forged or meant for something else."""
