"""Components: the parts a stack is made of, and the base class of those that users write.

A component is a class with a ``Config`` of its own; the class is chosen by ``flavor`` in a YAML file, the config is
what else stands there. A wrong subclass is refused when it is defined, a wrong config when it is read: never in the
middle of a run.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ComponentInvalid, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .security.credentials import Credentials
    from .settings import Settings

KINDS = (
    "alerter",
    "artifact_store",
    "compute",
    "container_registry",
    "data_validator",
    "data_versioning",
    "deployer",
    "drift_detector",
    "experiment_tracker",
    "feature_store",
    "image_builder",
    "metadata_store",
    "model_registry",
    "secret_store",
    "step",
    "tracer",
)
"""What a component can be. ``step`` is a component that a user's pipeline runs."""


class ComponentConfig(BaseModel):
    """Base of every component's configuration: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


C = TypeVar("C", bound=ComponentConfig)


@dataclass(frozen=True)
class ComponentContext:
    """What a component may use of its surroundings; handed in, never looked up."""

    settings: Settings
    credentials: Credentials


@dataclass(frozen=True)
class CheckResult:
    """The outcome of a live round trip: ``ok``, one line of ``detail``, and what to do if it failed."""

    ok: bool
    detail: str
    hint: str | None = None


class Component(ABC):  # noqa: B024 - the abstract methods are those of each kind
    """One part of a stack, or one configurable step of a pipeline.

    A subclass sets ``kind`` (through the abstract class of its kind) and ``Config``. ``__init__`` must be cheap and
    open no connection: stacks are built far more often than used.

    A user's own step is a subclass with a ``run`` method::

        class Cleaner(Component):
            class Config(ComponentConfig):
                drop_missing: bool = True

            def run(self, customers: pd.DataFrame) -> pd.DataFrame: ...
    """

    kind: ClassVar[str] = "step"
    Config: ClassVar[type[ComponentConfig]] = ComponentConfig

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.kind not in KINDS:
            raise ComponentInvalid(
                f"{cls.__qualname__}.kind is {cls.kind!r}, which is no kind of component.",
                hint=did_you_mean(cls.kind, KINDS),
            )
        if not (isinstance(cls.Config, type) and issubclass(cls.Config, ComponentConfig)):
            raise ComponentInvalid(f"{cls.__qualname__}.Config must be a subclass of windsock.ComponentConfig.")

    def __init__(self, config: ComponentConfig | None = None, context: ComponentContext | None = None) -> None:
        self.config: Any = config if config is not None else self.Config()
        self._context = context

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any], context: ComponentContext | None = None) -> Component:
        """Build one from what stands in a YAML file. Raises ``ComponentInvalid``, naming the key."""
        return cls(validated(cls.Config, dict(options), f"{cls.kind} {cls.__name__}"), context)

    @property
    def context(self) -> ComponentContext:
        if self._context is None:
            raise ComponentInvalid(f"{type(self).__name__} was built without a context and asked for it.")
        return self._context

    def check(self) -> CheckResult:
        """Prove with a real round trip that the component works. Never raises for an outage; reports it."""
        return CheckResult(ok=True, detail="nothing to check")


def validated(config: type[C], options: Any, what: str, below: str = "") -> C:
    """A configuration from what stands in a YAML file, ``below`` that key. Raises ``ComponentInvalid``."""
    try:
        return config.model_validate(options)
    except ValidationError as error:
        problems = "; ".join(_problem(config, e) for e in error.errors())
        raise ComponentInvalid(
            f"{what} is configured wrongly{f' in {below}' if below else ''}: {problems}",
            fields=[".".join(map(str, (below, *e["loc"]) if below else e["loc"])) for e in error.errors()],
        ) from None


def _problem(config: type[ComponentConfig], error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if not key:  # about the options as a whole
        return f"{error['msg'].removeprefix('Value error, ')}."
    if error["type"] == "extra_forbidden":
        return f'"{key}" is not an option. {did_you_mean(key, config.model_fields)}'
    if error["type"] == "missing":
        return f'"{key}" is missing.'
    return f'"{key}": {error["msg"]}.'
