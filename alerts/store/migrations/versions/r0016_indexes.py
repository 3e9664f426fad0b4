"""Indexes for lists of cases by state, severity and node, and for the latest entry of an action in the audit."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the indexes."""
    op.create_index("cases_by_class", "cases", ["state", "severity", "opened_ns", "id"])
    op.create_index("cases_by_node", "cases", ["node", "state", "severity", "opened_ns", "id"])
    op.create_index("audit_by_action", "audit", ["action", "id"])
