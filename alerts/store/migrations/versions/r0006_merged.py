"""Notices of openings merge under pressure, and what waits is found in order of severity."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns and the indexes; no notice has merged yet, and what waits may have been under way."""
    op.add_column("outbox", sa.Column("merged_into", sa.String(36)))
    op.add_column("outbox", sa.Column("taken_by", sa.String(16)))
    op.execute("UPDATE outbox SET taken_by = 'before' WHERE status = 'waiting'")
    waiting, merged = sa.text("status = 'waiting'"), sa.text("merged_into IS NOT NULL")
    op.create_index(
        "outbox_by_severity",
        "outbox",
        ["receiver", "severity", "next_ns", "position"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_index(
        "outbox_merged", "outbox", ["merged_into", "position"], sqlite_where=merged, postgresql_where=merged
    )
