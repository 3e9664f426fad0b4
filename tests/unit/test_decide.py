"""Decisions: each change is sent to a receiver, or held back for one named reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as moved

from alerts.decide import HeldReason, decide, notices
from alerts.incident import IncidentState, Reason
from alerts.notice import EVENT_TYPES
from alerts.routing import DEFAULT_EVENTS, Receiver
from alerts.store.database import Database
from alerts.store.firing import firing_ids
from alerts.store.incidents import IncidentFilter, IncidentQueries
from alerts.store.writer import IncidentWriter
from tests.support.history import incident, record
from watchdog.core.finding import Maturity

TEAM = Receiver("team", "", about="incidents")


@pytest.mark.parametrize(
    ("receiver", "reason", "held"),
    [
        (TEAM, Reason.OPENED, None),
        (Receiver("team", "", about="incidents", severity="high"), Reason.OPENED, HeldReason.FLOOR),
        (TEAM, Reason.UPDATED, HeldReason.EVENTS),
        (Receiver("team", "", about="incidents", enabled=False), Reason.OPENED, HeldReason.DISABLED),
        (Receiver("team", "", about="incidents", enabled=False, severity="high"), Reason.UPDATED, HeldReason.DISABLED),
    ],
)
def test_a_change_is_held_back_for_the_first_reason_that_applies(
    receiver: Receiver, reason: Reason, held: HeldReason | None
) -> None:
    (decision,) = decide(record(incident(), reason=reason), [receiver])
    assert decision.held == held
    assert decision.labels == ("team", "held" if held else "sent", held.value if held else "")


def test_a_receiver_about_cases_is_told_nothing_of_an_incident() -> None:
    assert [one.receiver for one in decide(record(incident()), [Receiver("cases", ""), TEAM])] == ["team"]


def test_severity_and_state_are_those_of_the_change_though_the_incident_is_later() -> None:
    later = incident(severity="critical", state=IncidentState.RESOLVED)
    change = record(later, reason=Reason.OPENED)
    change = replace(change, change=moved(change.change, severity="warning", state=IncidentState.OPEN))
    lead = Receiver("lead", "", about="incidents", severity="high")
    decisions = decide(change, [TEAM, lead])
    assert [one.held for one in decisions] == [None, HeldReason.FLOOR]
    (notice,) = notices(change, decisions, lambda _: None, 0)
    assert (notice.severity, notice.body["severity"], notice.body["state"]) == ("warning", "warning", "open")


@pytest.mark.parametrize("maturity", ["sandbox", "incubating", "stable", "deprecated", None])
def test_only_sandbox_rules_are_never_sent(maturity: Maturity | None) -> None:
    change = record(incident(maturity=maturity, severity="critical"))
    decisions = decide(change, [TEAM, Receiver("off", "", about="incidents", enabled=False)])
    sent = notices(change, decisions, lambda _: None, 0)
    if maturity == "sandbox":
        assert [decision.held for decision in decisions] == [HeldReason.SANDBOX, HeldReason.SANDBOX]
        assert sent == []
    else:
        assert [notice.body["maturity"] for notice in sent] == [maturity]


def test_a_change_is_rendered_once() -> None:
    change = record(incident())
    rendered = change.document
    (notice,) = notices(change, decide(change, [TEAM]), lambda _: None, 0)
    assert change.document is rendered
    assert notice.body["evidence"] is rendered["evidence"]


def test_the_history_shows_sandbox_incidents_and_keepalives_leave_them_out(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'history.db'}")
    kinds: tuple[Maturity | None, ...] = ("sandbox", "incubating", None)
    own = [incident(id=f"{number:016x}", maturity=maturity) for number, maturity in enumerate(kinds)]
    IncidentWriter(database).record([record(one) for one in own], ())
    queries = IncidentQueries(database)
    assert {row["id"]: row["maturity"] for row in queries.page(IncidentFilter()).rows} == {
        one.id: one.maturity for one in own
    }
    shown = queries.one(own[0].id)
    assert shown is not None
    assert shown["maturity"] == "sandbox"
    ids = database.read(lambda connection: firing_ids(connection, EVENT_TYPES, "info"))
    assert ids == [own[1].id, own[2].id]
    assert set(DEFAULT_EVENTS) <= set(EVENT_TYPES)
    database.close()
