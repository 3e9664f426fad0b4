"""Incidents carry the share of their windows that was watched; older rows do not know it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; null where it is not known."""
    op.add_column("incidents", sa.Column("watched", sa.Float(), nullable=True))
