"""What Alembic runs: on the connection that :mod:`windsock.provider.metadata.migrate` hands over, and on no other."""

from __future__ import annotations

from alembic import context
from windsock.provider.metadata import schema

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=schema.metadata,
    version_table=schema.VERSION_TABLE,
    render_as_batch=True,
    transactional_ddl=connection.dialect.name != "mysql",
    compare_type=True,
    # The database may hold other people's tables: they are none of our business.
    include_name=lambda name, kind, _parents: kind != "table" or (name or "").startswith("windsock_"),
)
if connection.dialect.name == "mysql":
    from windsock.provider.metadata.migrate_mysql import Restartable

    context.get_context().impl = Restartable.of(context.get_context().impl)
with context.begin_transaction():
    context.run_migrations()
