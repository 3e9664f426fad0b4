"""Drops the mark of claimed notices: the only sender of a database keeps them in memory."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Take the column away (SQLite: 3.35 or later)."""
    op.drop_column("outbox", "claimed")
