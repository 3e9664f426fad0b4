"""Silences: claims that count for nothing for a while."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the table."""
    counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "silences",
        sa.Column("id", counter, primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("node", "party", "rule", "technique")),
        sa.Column("from_ns", sa.BigInteger, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("changed_by", sa.Text),
        sa.Column("expired_ns", sa.BigInteger),
        sa.Column("reminded_ns", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("silences_by_end", "silences", ["until_ns"])
