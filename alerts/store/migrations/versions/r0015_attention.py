"""When people last heard of each case by the wall clock, for reminders and escalations; and drills."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the tables. Cases from before get a clock with their next change."""
    op.add_column("cases", sa.Column("firing", sa.Boolean))
    op.create_table(
        "case_clocks",
        sa.Column("root", sa.String(16), primary_key=True),
        sa.Column("case_id", sa.String(16), sa.ForeignKey("cases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("clock", sa.Text, nullable=False),
    )
    op.create_index("clocks_by_case", "case_clocks", ["case_id"])
    op.create_table(
        "drills",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("asked_ns", sa.BigInteger, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.Column("begun_ns", sa.BigInteger),
        sa.Column("case_id", sa.String(16)),
        sa.Column("over", sa.Boolean, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("error", sa.Text, nullable=False),
    )
