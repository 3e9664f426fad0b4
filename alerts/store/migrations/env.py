"""How Alembic runs: on the connection that `alerts.store.revision` gives it, within that one's transaction."""

from __future__ import annotations

from alembic import context

from alerts.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
