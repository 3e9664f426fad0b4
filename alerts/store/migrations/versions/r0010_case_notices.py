"""Notices of cases in the outbox, and the decision on each change of a case for each receiver."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_COPY = """
INSERT INTO outbox_0010 (
    position, id, receiver, incident_id, type, severity, status, attempts, created_ns, next_ns, settled_ns,
    last_status, last_error, body, merged_into, taken_by, subject
)
SELECT
    position, id, receiver, incident_id, type, severity, status, attempts, created_ns, next_ns, settled_ns,
    last_status, last_error, body, merged_into, taken_by, incident_id
FROM outbox
"""
_INDEXES = (
    ("outbox_by_id", ["id"], True, None),
    ("outbox_due", ["receiver", "next_ns", "position"], False, "status = 'waiting'"),
    ("outbox_by_severity", ["receiver", "severity", "next_ns", "position"], False, "status = 'waiting'"),
    ("outbox_by_incident", ["incident_id", "position"], False, None),
    ("outbox_by_status", ["status", "position"], False, None),
    ("outbox_by_receiver", ["receiver", "status", "position"], False, None),
    ("outbox_settled", ["settled_ns", "position"], False, "settled_ns IS NOT NULL"),
    ("outbox_merged", ["merged_into", "position"], False, "merged_into IS NOT NULL"),
)


def upgrade() -> None:
    """Let a notice be about a case; those so far are about incidents, which their `subject` names."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild()
    else:
        _alter()
    where = sa.text("status = 'waiting'")
    order = ["receiver", "subject", "position"]
    op.create_index("outbox_order", "outbox", order, sqlite_where=where, postgresql_where=where)
    op.create_index("outbox_by_case", "outbox", ["case_id", "position"])
    _decisions()


def _alter() -> None:
    op.drop_index("outbox_order", "outbox")
    op.alter_column("outbox", "incident_id", nullable=True)
    op.add_column("outbox", sa.Column("case_id", sa.String(16), sa.ForeignKey("cases.id", ondelete="CASCADE")))
    op.add_column("outbox", sa.Column("subject", sa.String(16)))
    op.execute("UPDATE outbox SET subject = incident_id")
    op.alter_column("outbox", "subject", nullable=False)


def _rebuild() -> None:
    """Copy the table: SQLite cannot take back a NOT NULL. Positions keep rising from where they were."""
    highest = op.get_bind().execute(sa.text("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")).scalar()
    op.create_table(
        "outbox_0010",
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.String(16), sa.ForeignKey("incidents.id", ondelete="CASCADE")),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("next_ns", sa.BigInteger(), nullable=False),
        sa.Column("settled_ns", sa.BigInteger()),
        sa.Column("last_status", sa.SmallInteger()),
        sa.Column("last_error", sa.Text()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("merged_into", sa.String(36)),
        sa.Column("taken_by", sa.String(16)),
        sa.Column("case_id", sa.String(16), sa.ForeignKey("cases.id", ondelete="CASCADE")),
        sa.Column("subject", sa.String(16), nullable=False),
        sqlite_autoincrement=True,
    )
    op.execute(_COPY)
    op.drop_table("outbox")
    op.rename_table("outbox_0010", "outbox")
    if highest is not None:
        numbers = {"seq": highest}
        taken = op.get_bind().execute(sa.text("UPDATE sqlite_sequence SET seq = :seq WHERE name = 'outbox'"), numbers)
        if not taken.rowcount:
            op.get_bind().execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', :seq)"), numbers)
    for name, columns, unique, where in _INDEXES:
        text = None if where is None else sa.text(where)
        op.create_index(name, "outbox", columns, unique=unique, sqlite_where=text)


def _decisions() -> None:
    op.create_table(
        "case_decisions",
        sa.Column("root", sa.String(16), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("type", sa.String(32), primary_key=True),
        sa.Column("receiver", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.String(16), sa.ForeignKey("cases.id", ondelete="CASCADE"), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("decided_ns", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.String(4), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
    )
    op.create_index("decisions_by_case", "case_decisions", ["case_id", "decided_ns"])
