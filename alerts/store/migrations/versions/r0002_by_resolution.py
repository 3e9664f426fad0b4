"""Retention finds what was resolved long ago without reading the rest."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the index."""
    op.create_index("incidents_by_resolution", "incidents", ["state", "resolved_ns", "id"], unique=False)
