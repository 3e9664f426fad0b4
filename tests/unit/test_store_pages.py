"""Pages of the history: right for every filter, and never a walk through the whole table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event

from alerts.incident import Incident, IncidentState
from alerts.store.cursor import CursorError
from alerts.store.database import Database
from alerts.store.incidents import IncidentFilter, IncidentQueries
from alerts.store.outbox import Outbox
from alerts.store.retention import remove_resolved, remove_settled
from alerts.store.writer import IncidentWriter
from tests.support.history import SECOND, START, incident, record, told
from watchdog.core.finding import ATTACKS, SEVERITIES

KINDS = list(itertools.product(tuple(IncidentState), SEVERITIES, ATTACKS, ("alpha", "beta")))


def varied(number: int) -> Incident:
    """Incidents of all sorts; several open in the same second."""
    state, severity, attack, node = KINDS[number * 37 % len(KINDS)]
    resolved_ns = START + number if state is IncidentState.RESOLVED else None
    opened_ns = START + number // 3 * SECOND
    return incident(
        number,
        state=state,
        severity=severity,
        attack=attack,
        node=node,
        resolved_ns=resolved_ns,
        opened_ns=opened_ns,
    )


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def history(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, list[Incident]]]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('pages')}/history.db"
    else:
        url = request.getfixturevalue("postgres").url("pages")
    database = Database.open(url)
    known = [varied(number) for number in range(400)]
    records = [record(one) for one in known]
    IncidentWriter(database).record(records, told(records[:50]))
    yield database, known
    database.close()


filters = st.builds(
    IncidentFilter,
    states=st.lists(st.sampled_from(IncidentState), max_size=2, unique=True).map(tuple),
    severities=st.lists(st.sampled_from(SEVERITIES), max_size=2, unique=True).map(tuple),
    attacks=st.lists(st.sampled_from(ATTACKS), max_size=2, unique=True).map(tuple),
    node=st.sampled_from((None, "alpha", "beta", "nobody")),
    since_ns=st.none() | st.integers(START, START + 140 * SECOND) | st.sampled_from((-(1 << 80), 1 << 80)),
)


def fits(one: Incident, wanted: IncidentFilter) -> bool:
    """The filter said plainly."""
    return (
        (not wanted.states or one.state in wanted.states)
        and (not wanted.severities or one.severity in wanted.severities)
        and (not wanted.attacks or one.attack in wanted.attacks)
        and (wanted.node is None or one.node == wanted.node)
        and (wanted.since_ns is None or one.opened_ns >= wanted.since_ns)
    )


@settings(max_examples=40)
@given(filters, st.integers(1, 60))
def test_pages_hold_what_the_filter_allows_once_and_in_order(
    history: tuple[Database, list[Incident]], wanted: IncidentFilter, limit: int
) -> None:
    database, known = history
    queries, cursor, seen = IncidentQueries(database), None, []
    while True:
        page = queries.page(wanted, limit, cursor)
        assert len(page.rows) <= limit
        seen += [row["id"] for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
    expected = sorted((one for one in known if fits(one, wanted)), key=lambda one: (-one.opened_ns, one.id))
    by_place = sorted(expected, key=lambda one: (one.opened_ns, one.id), reverse=True)
    assert seen == [one.id for one in by_place]


def test_rows_of_a_list_stay_small_whatever_the_evidence(history: tuple[Database, list[Incident]]) -> None:
    (row,) = IncidentQueries(history[0]).page(IncidentFilter(), 1).rows
    assert "evidence" not in row
    assert "changes" not in row
    assert {"id", "rule", "severity", "state", "opened", "summary", "key", "entities", "members"} <= set(row)


def test_a_cursor_of_somebody_else_is_refused(history: tuple[Database, list[Incident]]) -> None:
    for cursor in ("", "i", "d12", "i12", "i12.xyz", "i12.0123456789ABCDEF", "i" + "f" * 17 + ".0123456789abcdef"):
        with pytest.raises(CursorError, match="not one that a page of incidents has given"):
            IncidentQueries(history[0]).page(IncidentFilter(), 10, cursor)


def test_ids_are_completed_from_their_first_digits(history: tuple[Database, list[Incident]]) -> None:
    database, known = history
    assert IncidentQueries(database).completed(known[7].id[:10]) == [known[7].id]
    assert len(IncidentQueries(database).completed("")) == 2


IN_OWN_ORDER = "FROM outbox ORDER BY outbox.position DESC"
"""All deliveries from the newest on: the table itself is in this order, and a page stops early."""


class Plans:
    """The query plans of everything that a database does."""

    def __init__(self, database: Database) -> None:
        self.steps: list[str] = []
        self._asking = False
        event.listen(database.engine, "before_cursor_execute", self._look)

    def _look(
        self, connection: Connection, _cursor: object, statement: str, values: Mapping[str, object], *_: object
    ) -> None:
        if self._asking or not statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
            return
        self._asking = True
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        self.steps += [f"{row.detail}   <- {statement}" for row in found]
        self._asking = False

    def walks(self) -> list[str]:
        """Return the steps that read a whole table, or sort rows that no index orders."""
        tables = ("incidents", "incident_pictures", "incident_changes", "outbox", "actions")
        plain = [step for step in self.steps if step.startswith(tuple(f"SCAN {table} " for table in tables))]
        return [step for step in plain if "USING" not in step.split("   <- ")[0] and IN_OWN_ORDER not in step]


def test_every_question_uses_an_index(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path}/plans.db")
    records = [record(varied(number)) for number in range(300)]
    IncidentWriter(database).record(records, told(records))
    plans, queries, outbox = Plans(database), IncidentQueries(database), Outbox(database)
    id_ = records[0].incident.id
    for wanted in (
        IncidentFilter(),
        IncidentFilter(since_ns=START),
        IncidentFilter(states=(IncidentState.OPEN,)),
        IncidentFilter(severities=("critical",), attacks=("eclipse",)),
        IncidentFilter(node="alpha"),
        IncidentFilter(node="alpha", states=(IncidentState.OPEN, IncidentState.ACKNOWLEDGED), since_ns=START),
    ):
        page = queries.page(wanted, 3)
        queries.page(wanted, 3, page.cursor)
    queries.one(id_)
    queries.counts()
    queries.completed(id_[:5])
    queries.act(id_, "note", "ana", "text", START)
    for receiver, status in itertools.product((None, "team"), (None, "dead", "sent", "waiting")):
        outbox.page(receiver=receiver, status=status)  # type: ignore[arg-type] # a table of arguments
    outbox.page(incident=id_)
    notice = outbox.due(START, "team", 10)[0].notice.id
    outbox.counts()
    outbox.give_up(["nobody"], "receiver is gone", START)
    outbox.failed(notice, "no answer", START + 5)
    outbox.sent(notice, 200, START)
    remove_resolved(database, START + SECOND, pause=lambda _: None)
    remove_settled(database, START + SECOND, pause=lambda _: None)
    assert plans.steps
    assert plans.walks() == []
    database.close()
