"""What is asked again and again is found by an index, and old cases go in small transactions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, func, inspect, select, text

from alerts.incident import IncidentState
from alerts.store.audit import Audit
from alerts.store.case_clocks import standing
from alerts.store.cases import CaseFilter, CaseQueries
from alerts.store.database import Database, stored_json
from alerts.store.firing import firing_cases
from alerts.store.retention import CASE_BATCH, remove_resolved
from alerts.store.schema import HEAD, audit, case_clocks, case_decisions, cases
from tests.support.older_database import make_older_database
from tests.support.postgres import Server

NUMBERS = itertools.count()
NOW_NS = 1_770_000_000 * 10**9
MANY = 3 * CASE_BATCH - 50
ASKED: dict[str, Callable[[Database], object]] = {
    "attention": lambda database: database.read(standing),
    "open": lambda database: CaseQueries(database).page(CaseFilter(states=(IncidentState.OPEN,))),
    "rare": lambda database: CaseQueries(database).page(CaseFilter(severities=("critical",))),
    "node": lambda database: CaseQueries(database).page(CaseFilter(node="bob")),
    "all": lambda database: CaseQueries(database).page(CaseFilter(), 10, "i1.0000000000000001"),
    "by digits": lambda database: CaseQueries(database).named("00ff"),
    "audit": lambda database: Audit(database).latest("reload"),
    "keepalive": lambda database: database.read(lambda one: firing_cases(one, "team")),
}


def case_row(number: int, resolved: bool) -> dict[str, object]:
    """A case of which people have heard, over or not."""
    return {
        "id": f"{number:016x}",
        "node": "alice",
        "opened_ns": NOW_NS + number,
        "updated_ns": NOW_NS + number,
        "resolved_ns": NOW_NS + number + 1 if resolved else None,
        "state": "resolved" if resolved else "open",
        "severity": "high",
        "document": stored_json({"id": f"{number:016x}"}),
        "firing": not resolved,
    }


def fill(connection: Connection) -> None:
    """Store many cases that are over, each with a clock and two decisions, and one that is open."""
    numbers = range(MANY)
    decided = {"type": "case.opened", "time_ns": 1, "decided_ns": 1, "decision": "sent"}
    decided |= {"reason": "", "detail": "", "place": ""}
    connection.execute(cases.insert(), [case_row(number, resolved=True) for number in numbers])
    connection.execute(cases.insert(), [case_row(MANY, resolved=False)])
    clocks = [{"root": f"{number:016x}", "case_id": f"{number:016x}", "clock": "{}"} for number in (*numbers, MANY)]
    connection.execute(case_clocks.insert(), clocks)
    connection.execute(
        case_decisions.insert(),
        [
            {"root": f"{number:016x}", "number": one, "case_id": f"{number:016x}", "receiver": "team", "place": ""}
            | decided
            for number in numbers
            for one in (1, 2)
        ],
    )
    entries = [{"at_ns": 1, "who": "anna", "action": "ack", "subject": "x", "detail": "{}"} for _ in range(50)]
    connection.execute(audit.insert(), entries)


@pytest.fixture(params=["file", "server"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A history with many cases, in SQLite and in PostgreSQL."""
    if request.param == "file":
        found = Database.open(f"sqlite:///{tmp_path / 'h.db'}")
    else:
        server: Server = request.getfixturevalue("postgres")
        found = Database.open(server.url(f"plans_{next(NUMBERS)}"))
    found.write(fill)
    yield found
    found.close()


def plans(database: Database, ask: Callable[[Database], object]) -> list[str]:
    """How the database finds what is asked for: the plan of each statement, in one text."""
    statements: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, values))

    event.listen(database.engine, "before_cursor_execute", note)
    ask(database)
    event.remove(database.engine, "before_cursor_execute", note)

    def explain(connection: Connection) -> list[str]:
        how = "EXPLAIN QUERY PLAN" if database.on_sqlite else "EXPLAIN"
        if not database.on_sqlite:
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # these tables are small
        asked = [connection.exec_driver_sql(f"{how} {one}", values) for one, values in statements]  # type: ignore[arg-type]
        return ["\n".join(str(row[-1]) for row in rows) for rows in asked]

    return database.read(explain)


@pytest.mark.parametrize("name", ASKED)
def test_no_table_is_read_as_a_whole(database: Database, name: str) -> None:
    found = plans(database, ASKED[name])
    assert found
    tables = "|".join(table.name for table in (cases, case_clocks, case_decisions, audit))
    for plan in found:
        assert not re.search(rf"Seq Scan|^SCAN ({tables})\b", plan, re.MULTILINE), plan


def test_pages_are_the_same_however_they_are_walked(database: Database) -> None:
    queries = CaseQueries(database)
    seen, cursor = list[str](), None
    while True:
        page = queries.page(CaseFilter(states=(IncidentState.RESOLVED, IncidentState.OPEN)), 100, cursor)
        seen += [row["id"] for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [f"{number:016x}" for number in range(MANY, -1, -1)]
    assert [row["id"] for row in queries.page(CaseFilter(), 1_000).rows] == seen
    assert [row["id"] for row in queries.named(f"{MANY:016x}"[:16])] == [f"{MANY:016x}"]
    assert len(queries.named("0000")) == 2
    assert queries.named("f") == []


def test_old_cases_go_in_portions_and_a_stop_is_heard(database: Database) -> None:
    def left() -> int:
        return database.read(lambda one: one.execute(select(func.count()).select_from(cases)).scalar_one())

    pauses: list[float] = []
    remove_resolved(database, NOW_NS * 2, stopped=lambda: len(pauses) == 1, pause=pauses.append)
    assert left() == MANY + 1 - CASE_BATCH
    remove_resolved(database, NOW_NS * 2, pause=pauses.append)
    assert (left(), len(pauses)) == (1, 2)
    kept = select(func.count()).select_from(case_decisions)
    assert database.read(lambda one: one.execute(kept).scalar()) == 0


def test_a_history_of_the_version_before_gets_the_indexes(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    make_older_database(path, "0015")
    database = Database.open(f"sqlite:///{path}")
    names = {one["name"] for table in ("cases", "audit") for one in inspect(database.engine).get_indexes(table)}
    assert {"cases_by_class", "cases_by_node", "audit_by_action"} <= names
    assert HEAD >= "0016"
    database.close()
