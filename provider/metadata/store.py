"""The door: one value that holds the nouns."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .database import Database

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from .artifacts import Artifacts
    from .audit import Audit
    from .bulk import Bulk
    from .deployments import Deployments
    from .drift import Drift
    from .lineage import Lineage
    from .models import Models
    from .performance import Performance
    from .pipelines import Pipelines
    from .reach import Reach
    from .runs import Runs
    from .tombstones import Tombstones


class Metadata:
    """A metadata database, by noun: ``metadata.models.get("churn", alias="production")``.

    ``get`` raises, ``find`` returns None, ``list`` returns a page. Thread-safe, and usable after a fork. No secret
    belongs into it: parameters, reasons and metadata are stored as they are given.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    # A noun is imported when it is first asked for: a task needs two of them, and all of them cost it 40 ms.

    @cached_property
    def pipelines(self) -> Pipelines:
        from .pipelines import Pipelines

        return Pipelines(self.database)

    @cached_property
    def runs(self) -> Runs:
        from .runs import Runs

        return Runs(self.database)

    @cached_property
    def artifacts(self) -> Artifacts:
        from .artifacts import Artifacts

        return Artifacts(self.database)

    @cached_property
    def models(self) -> Models:
        from .models import Models

        return Models(self.database)

    @cached_property
    def deployments(self) -> Deployments:
        from .deployments import Deployments

        return Deployments(self.database)

    @cached_property
    def drift(self) -> Drift:
        from .drift import Drift

        return Drift(self.database)

    @cached_property
    def performance(self) -> Performance:
        from .performance import Performance

        return Performance(self.database)

    @cached_property
    def audit(self) -> Audit:
        from .audit import Audit

        return Audit(self.database)

    @cached_property
    def lineage(self) -> Lineage:
        from .lineage import Lineage

        return Lineage(self.database)

    @cached_property
    def reach(self) -> Reach:
        from .reach import Reach

        return Reach(self.database)

    @cached_property
    def tombstones(self) -> Tombstones:
        from .tombstones import Tombstones

        return Tombstones(self.database)

    @cached_property
    def bulk(self) -> Bulk:
        from .bulk import Bulk

        return Bulk(self.database)

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
