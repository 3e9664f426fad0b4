"""Tables and indexes of the history; `migrations/` makes them, and a test holds both against each other.

Times are unix nanoseconds; event time where an incident is meant, wall clock where a person or a delivery is.
Documents are JSON as ASCII text: what peers sent cannot meet an encoding that the database does not take.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

HEAD = "0007"
"""The newest revision; a database with a higher one was written by a newer version."""

metadata = MetaData()
_counter = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only a column of type INTEGER by itself

incidents = Table(
    "incidents",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("opened_ns", BigInteger, nullable=False),
    Column("state", String(12), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("attack", String(32), nullable=False),
    Column("node", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("fingerprint", String(32), nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    Column("cleared_ns", BigInteger),
    Column("resolved_ns", BigInteger),
    Column("acknowledged_by", Text),
    Column("summary", Text, nullable=False),
    Column("findings", BigInteger, nullable=False),
    Column("members", BigInteger, nullable=False),
    Column("firing", BigInteger, nullable=False),
    Column("completeness", Float, nullable=False),
    Column("watched", Float),  # null: stored by a version that did not know it
    Column("maturity", String(12)),  # the rule's at its latest finding; null as with watched
    Column("shown", Text, nullable=False),  # JSON: key, first entities, how many more
    Column("sequence", BigInteger, nullable=False),  # counts of the change whose picture this is: IncidentChange
    Column("acted", BigInteger, nullable=False),
)
Index("incidents_by_time", incidents.c.opened_ns, incidents.c.id)
Index(
    "incidents_by_class",
    incidents.c.state,
    incidents.c.severity,
    incidents.c.attack,
    incidents.c.opened_ns,
    incidents.c.id,
)
Index(
    "incidents_by_node",
    incidents.c.node,
    incidents.c.state,
    incidents.c.severity,
    incidents.c.attack,
    incidents.c.opened_ns,
    incidents.c.id,
)
Index("incidents_by_resolution", incidents.c.state, incidents.c.resolved_ns, incidents.c.id)

_cascade = "CASCADE"

incident_pictures = Table(
    "incident_pictures",
    metadata,
    Column("incident_id", String(16), ForeignKey("incidents.id", ondelete=_cascade), primary_key=True),
    Column("picture", Text, nullable=False),  # the incident object without its evidence
    Column("evidence", Text, nullable=False),  # the list of events
)

incident_changes = Table(
    "incident_changes",
    metadata,
    Column("incident_id", String(16), ForeignKey("incidents.id", ondelete=_cascade), primary_key=True),
    Column("change", BigInteger, primary_key=True, autoincrement=False),  # ChangeRecord.key
    Column("sequence", BigInteger, nullable=False),
    Column("acted", BigInteger, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("text", Text, nullable=False),
    Column("state", String(12), nullable=False),
    Column("severity", String(8), nullable=False),
)

actions = Table(
    "actions",
    metadata,
    Column("id", _counter, primary_key=True, autoincrement=True),
    Column("incident_id", String(16), ForeignKey("incidents.id", ondelete=_cascade), nullable=False),
    Column("action", String(8), nullable=False),  # ack, resolve, note
    Column("who", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # an id is never given twice, also after retention removed the last row
)
Index("actions_by_incident", actions.c.incident_id, actions.c.id)

outbox = Table(
    "outbox",
    metadata,
    Column("position", _counter, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False),
    Column("receiver", Text, nullable=False),
    Column("incident_id", String(16), ForeignKey("incidents.id", ondelete=_cascade), nullable=False),
    Column("type", String(32), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("status", String(8), nullable=False),  # waiting, sent, dead
    Column("attempts", SmallInteger, nullable=False, default=0),
    Column("created_ns", BigInteger, nullable=False),
    Column("next_ns", BigInteger, nullable=False),
    Column("settled_ns", BigInteger),
    Column("last_status", SmallInteger),
    Column("last_error", Text),
    Column("body", Text, nullable=False),
    Column("merged_into", String(36)),  # id of the notice that names this one's incident in its place
    Column("taken_by", String(16)),  # the sender that was first given it; see `alerts.store.merged`
    sqlite_autoincrement=True,
)
_waiting = text("status = 'waiting'")
Index("outbox_by_id", outbox.c.id, unique=True)
Index(
    "outbox_due",
    outbox.c.receiver,
    outbox.c.next_ns,
    outbox.c.position,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)
Index(
    "outbox_by_severity",
    outbox.c.receiver,
    outbox.c.severity,
    outbox.c.next_ns,
    outbox.c.position,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)
Index(
    "outbox_order",
    outbox.c.receiver,
    outbox.c.incident_id,
    outbox.c.position,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)
Index("outbox_by_incident", outbox.c.incident_id, outbox.c.position)
Index("outbox_by_status", outbox.c.status, outbox.c.position)
Index("outbox_by_receiver", outbox.c.receiver, outbox.c.status, outbox.c.position)
_settled = text("settled_ns IS NOT NULL")
Index("outbox_settled", outbox.c.settled_ns, outbox.c.position, sqlite_where=_settled, postgresql_where=_settled)
_merged = text("merged_into IS NOT NULL")
Index("outbox_merged", outbox.c.merged_into, outbox.c.position, sqlite_where=_merged, postgresql_where=_merged)
