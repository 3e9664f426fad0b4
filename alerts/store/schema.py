"""Tables and indexes of the history; `migrations/` makes them, and a test holds both against each other.

Times are unix nanoseconds; event time where an incident is meant, wall clock where a person or a delivery is.
Documents are JSON as ASCII text: what peers sent cannot meet an encoding that the database does not take.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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

HEAD = "0016"
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
    Column("verdict", String(12)),  # false_alarm, attack; null: the action gives none
    Column("judged", Text),  # JSON: rule, node and scores of the incident that a verdict is about
    sqlite_autoincrement=True,  # an id is never given twice, also after retention removed the last row
)
Index("actions_by_incident", actions.c.incident_id, actions.c.id)

outbox = Table(
    "outbox",
    metadata,
    Column("position", _counter, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False),
    Column("receiver", Text, nullable=False),
    Column("incident_id", String(16), ForeignKey("incidents.id", ondelete=_cascade)),  # null: about a case
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
    Column("case_id", String(16), ForeignKey("cases.id", ondelete=_cascade)),  # the case now, whatever merged
    Column("subject", String(16), nullable=False),  # the incident, or the root of the case: its notices keep order
    Column("kept", Text),  # what the channel returned, for later notices of the same case; see `alerts.store.threads`
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
    outbox.c.subject,
    outbox.c.position,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)
Index("outbox_by_incident", outbox.c.incident_id, outbox.c.position)
Index("outbox_by_case", outbox.c.case_id, outbox.c.position)
Index("outbox_by_status", outbox.c.status, outbox.c.position)
Index("outbox_by_receiver", outbox.c.receiver, outbox.c.status, outbox.c.position)
_settled = text("settled_ns IS NOT NULL")
Index("outbox_settled", outbox.c.settled_ns, outbox.c.position, sqlite_where=_settled, postgresql_where=_settled)
_merged = text("merged_into IS NOT NULL")
Index("outbox_merged", outbox.c.merged_into, outbox.c.position, sqlite_where=_merged, postgresql_where=_merged)

_kept = text("kept IS NOT NULL")
Index(
    "outbox_kept",
    outbox.c.receiver,
    outbox.c.subject,
    outbox.c.position,
    sqlite_where=_kept,
    postgresql_where=_kept,
)

recordings = Table(
    "recordings",
    metadata,
    Column("incident_id", String(16), ForeignKey("incidents.id", ondelete=_cascade), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("from_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
)

cases = Table(
    "cases",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("node", Text, nullable=False),
    Column("opened_ns", BigInteger, nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    Column("resolved_ns", BigInteger),
    Column("state", String(12), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("document", Text, nullable=False),  # JSON: the case object with claims and links
    Column("firing", Boolean),  # whether a claim fires; null: stored by a version that did not know it
)
Index("cases_by_time", cases.c.opened_ns, cases.c.id)
Index("cases_by_resolution", cases.c.state, cases.c.resolved_ns)
Index("cases_by_class", cases.c.state, cases.c.severity, cases.c.opened_ns, cases.c.id)
Index("cases_by_node", cases.c.node, cases.c.state, cases.c.severity, cases.c.opened_ns, cases.c.id)

case_aliases = Table(
    "case_aliases",
    metadata,
    Column("alias", String(16), primary_key=True),
    Column("case_id", String(16), ForeignKey("cases.id", ondelete=_cascade), nullable=False),
)
Index("aliases_by_case", case_aliases.c.case_id)

case_decisions = Table(
    "case_decisions",
    metadata,
    Column("root", String(16), primary_key=True),  # CaseLife.root
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # of the notice
    Column("type", String(32), primary_key=True),
    Column("receiver", Text, primary_key=True),
    Column("case_id", String(16), ForeignKey("cases.id", ondelete=_cascade), nullable=False),
    Column("time_ns", BigInteger, nullable=False),  # of the change, event time
    Column("decided_ns", BigInteger, nullable=False),  # wall clock
    Column("decision", String(4), nullable=False),  # sent, held
    Column("reason", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("place", Text, nullable=False),
)
Index("decisions_by_case", case_decisions.c.case_id, case_decisions.c.decided_ns)

case_acts = Table(
    "case_acts",
    metadata,
    Column("id", _counter, primary_key=True, autoincrement=True),
    Column("case_id", String(16), ForeignKey("cases.id", ondelete=_cascade), nullable=False),
    Column("node", Text, nullable=False),
    Column("action", String(8), nullable=False),  # ack, resolve, note, split
    Column("who", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("party", Text, nullable=False),  # that is split off, else empty
    Column("at_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # an id is never given twice, also after retention removed the last row
)
Index("case_acts_by_case", case_acts.c.case_id, case_acts.c.id)

case_clocks = Table(
    "case_clocks",
    metadata,
    Column("root", String(16), primary_key=True),
    Column("case_id", String(16), ForeignKey("cases.id", ondelete=_cascade), nullable=False),
    Column("clock", Text, nullable=False),  # JSON: `alerts.escalation.CaseClock`
)
Index("clocks_by_case", case_clocks.c.case_id)

drills = Table(
    "drills",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("node", Text, nullable=False),  # empty: the first one of the configuration
    Column("severity", String(8), nullable=False),
    Column("who", Text, nullable=False),
    Column("asked_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),  # it ends by then
    Column("begun_ns", BigInteger),  # when the service took it
    Column("case_id", String(16)),
    Column("over", Boolean, nullable=False, default=False),  # asked to end
    Column("ended_ns", BigInteger),
    Column("error", Text, nullable=False, default=""),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _counter, primary_key=True, autoincrement=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", String(16), nullable=False),
    Column("subject", Text, nullable=False),  # such as `case 0123456789abcdef`
    Column("detail", Text, nullable=False),  # JSON: an object
    sqlite_autoincrement=True,
)

Index("audit_by_action", audit.c.action, audit.c.id)

silences = Table(
    "silences",
    metadata,
    Column("id", _counter, primary_key=True, autoincrement=True),
    Column("node", Text, nullable=False),  # empty: every node
    Column("party", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("technique", Text, nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("changed_by", Text),  # who extended or expired it last
    Column("expired_ns", BigInteger),  # when a person ended it
    Column("reminded_ns", BigInteger),  # the end that was announced
    sqlite_autoincrement=True,
)
Index("silences_by_end", silences.c.until_ns)
