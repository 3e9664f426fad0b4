"""Cases: what people are notified of, each made of parts of incidents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the tables; cases of the time before are unknown."""
    op.create_table(
        "cases",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("opened_ns", sa.BigInteger, nullable=False),
        sa.Column("updated_ns", sa.BigInteger, nullable=False),
        sa.Column("resolved_ns", sa.BigInteger),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("cases_by_time", "cases", ["opened_ns", "id"])
    op.create_index("cases_by_resolution", "cases", ["state", "resolved_ns"])
    op.create_table(
        "case_aliases",
        sa.Column("alias", sa.String(16), primary_key=True),
        sa.Column("case_id", sa.String(16), sa.ForeignKey("cases.id", ondelete="CASCADE"), nullable=False),
    )
    op.create_index("aliases_by_case", "case_aliases", ["case_id"])
