"""The door: one value that holds the nouns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .artifacts import Artifacts
from .audit import Audit
from .database import Database
from .deployments import Deployments
from .drift import Drift
from .lineage import Lineage
from .models import Models
from .pipelines import Pipelines
from .runs import Runs

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection


class Metadata:
    """A metadata database, by noun: ``metadata.models.get("churn", alias="production")``.

    ``get`` raises, ``find`` returns None, ``list`` returns a page. Thread-safe, and usable after a fork. No secret
    belongs into it: parameters, reasons and metadata are stored as they are given.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.pipelines = Pipelines(database)
        self.runs = Runs(database)
        self.artifacts = Artifacts(database)
        self.models = Models(database)
        self.deployments = Deployments(database)
        self.drift = Drift(database)
        self.audit = Audit(database)
        self.lineage = Lineage(database)

    @classmethod
    def open(cls, url: str, *, check: bool = True) -> Metadata:
        """Open ``[windsock] sql_alchemy_conn``. An SQLite file that is missing or empty gets its tables at once.

        Raises ``SettingInvalid``, ``MissingExtra``, ``MetadataUnavailable`` and ``SchemaOutdated``; ``check=False``
        asks the database nothing.
        """
        from .state import ensure

        database = Database(url)
        if check:
            ensure(database)
        return cls(database)

    @property
    def url(self) -> str:
        """Where it is, without the password."""
        return self.database.name

    def transaction(self) -> AbstractContextManager[Connection]:
        """Several writes of this thread as one: all of them happen, or none. Not repeated in a collision."""
        return self.database.transaction()

    def close(self) -> None:
        """Close this process's idle connections."""
        self.database.close()
