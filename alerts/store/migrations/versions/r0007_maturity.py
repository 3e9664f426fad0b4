"""Incidents carry the maturity of their rule; older rows do not know it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; null means unknown."""
    op.add_column("incidents", sa.Column("maturity", sa.String(length=12), nullable=True))
