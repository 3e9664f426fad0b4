"""Retention finds deliveries that were settled long ago without reading the rest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the index; what waits is not in it."""
    settled = sa.text("settled_ns IS NOT NULL")
    op.create_index(
        "outbox_settled", "outbox", ["settled_ns", "position"], sqlite_where=settled, postgresql_where=settled
    )
