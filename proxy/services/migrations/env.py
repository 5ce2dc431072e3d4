"""What alembic runs to migrate: on the connection that proxy.services.database gives it."""
from alembic import context

from proxy.services.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
