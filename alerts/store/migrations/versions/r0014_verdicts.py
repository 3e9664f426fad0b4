"""Operators judge: an action may call an incident a false alarm or an attack. Older actions say neither."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns; null means no verdict."""
    op.add_column("actions", sa.Column("verdict", sa.String(length=12), nullable=True))
    op.add_column("actions", sa.Column("judged", sa.Text, nullable=True))
