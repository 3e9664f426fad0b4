"""What people and machines see of an incident."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from alerts.book import IncidentBook
from alerts.incident import Incident
from alerts.render import as_line, as_object, table, tally
from watchdog.core.finding import Evidence, Finding

SECOND = 1_000_000_000
START_NS = 1_768_212_000 * SECOND
CONTRACT = [
    *("id", "rule", "attack", "severity", "state", "node", "key", "opened", "updated", "resolved"),
    *("entities", "summary", "measures", "findings", "evidence", "completeness", "watched"),
]


def incidents(summary: str = "217.94.191.240 sent 40000 addresses", *, resolved: bool = True) -> list[Incident]:
    """One incident of a flood: two peers, an escalation, and its end."""
    book = IncidentBook()

    def tell(second: int, change: str, peer: str, severity: str, beyond: float) -> None:
        book.apply(
            Finding(
                rule="addr-beyond-limit",
                attack="addr-flooding",
                severity="high" if severity == "high" else "warning",
                node="node",
                change="clear" if change == "clear" else "fire",
                time_ns=START_NS + second * SECOND,
                since_ns=START_NS,
                key={"peer_addr": peer},
                incident={"netgroup": "217.94.0.0/16"},
                entities=(peer, "AS3352"),
                measures={"beyond": beyond},
                summary=summary,
                evidence=(Evidence(START_NS + SECOND, "p2p:addr", {"entries": 1000, "solicited": False}),),
                completeness=0.5,
                resolve_after_ns=1800 * SECOND,
            )
        )

    tell(60, "fire", "217.94.191.240", "warning", 200)
    tell(120, "fire", "217.94.1.1", "warning", math.inf)
    tell(180, "fire", "217.94.191.240", "high", 1200)
    if resolved:
        tell(600, "clear", "217.94.191.240", "high", 0)
        tell(660, "clear", "217.94.1.1", "warning", 0)
    book.drain()
    book.advance(START_NS + 7200 * SECOND)
    return book.table.incidents()


def test_the_object_has_the_fields_of_the_contract_in_their_order() -> None:
    (incident,) = incidents()
    shown = as_object(incident, "Peer sends too many addresses")
    assert list(shown)[: len(CONTRACT)] == CONTRACT
    assert (shown["opened"], shown["resolved"], shown["cleared"]) == (1768212060.0, 1768214460.0, 1768212660.0)
    assert shown["title"] == "Peer sends too many addresses"
    assert shown["entities"] == ["217.94.0.0/16", "217.94.191.240", "AS3352", "217.94.1.1"]


def test_times_that_have_not_come_are_null_and_numbers_are_json() -> None:
    (incident,) = incidents(resolved=False)
    shown = json.loads(as_line(incident))
    assert shown["resolved"] is None
    assert shown["state"] == "open"
    assert shown["measures"] == {"beyond": 1200}
    assert shown["peak"] == {"beyond": None}
    assert shown["evidence"] == [
        {"time": 1768212001.0, "kind": "p2p:addr", "fields": {"entries": 1000, "solicited": False}}
    ]


def test_every_change_is_told_with_its_reason() -> None:
    (incident,) = incidents()
    changes = json.loads(as_line(incident))["changes"]
    assert [(change["reason"], change["text"]) for change in changes] == [
        ("opened", "condition held for 1m"),
        ("member joined", "217.94.1.1"),
        ("escalated", "warning to high: 217.94.191.240 sent 40000 addresses"),
        ("member cleared", "217.94.191.240"),
        ("cleared", "217.94.1.1"),
        ("resolved", "quiet for 30m"),
    ]


def test_a_line_is_one_line_of_ascii_whatever_a_peer_sent() -> None:
    (incident,) = incidents("\x1b[2J\u202e\n<script>\u2028{}%s")
    line = as_line(incident)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["summary"].endswith("\x1b[2J\u202e\n<script>\u2028{}%s")


def test_the_table_reads_like_this() -> None:
    assert table(incidents(), 80).splitlines() == [
        "SEVERITY  OPENED (UTC)         LASTED   STATE         RULE",
        "high      2026-01-12 10:01:00  10m      resolved      addr-beyond-limit",
        "          2 peers of 217.94.0.0/16: 217.94.191.240 sent 40000 addresses",
        "          217.94.0.0/16 217.94.191.240 AS3352 217.94.1.1",
        "",
        "1 incident: 1 high",
    ]


def test_the_table_fits_its_width_and_counts_whom_it_does_not_name() -> None:
    crowd = [replace(incident, entities_beyond=1200) for incident in incidents("x" * 500)]
    text = table(crowd, 60)
    assert max(map(len, text.splitlines())) <= 60
    assert "217.94.0.0/16 217.94.191.240 AS3352 and 1201 more" in text


def test_the_table_shows_hostile_text_escaped() -> None:
    text = table(incidents("\x1b]0;owned\x07\u202eabc"), 100)
    assert r"\x1b]0;owned\x07\u{202e}abc" in text
    assert "\x1b" not in text


def test_colour_marks_the_severity_only() -> None:
    text = table(incidents(resolved=False), 100, colour=True)
    assert "\x1b[31mhigh\x1b[0m      2026-01-12" in text
    assert text.count("\x1b[") == 2


def test_what_still_fires_has_lasted_until_the_end_of_the_input() -> None:
    opened_ns = incidents()[0].opened_ns
    firing = [replace(one, cleared_ns=None, resolved_ns=None, updated_ns=opened_ns + 10**10) for one in incidents()]
    assert " 10s " in table(firing, 80)
    assert " 8m 15s " in table(firing, 80, until_ns=opened_ns + 495 * 10**9)
    assert " 10m " in table(incidents(), 80, until_ns=opened_ns + 10**15)


def test_an_incident_about_nobody_has_no_empty_line() -> None:
    nobody = [replace(one, entities=()) for one in incidents()]
    assert [line for line in table(nobody, 80).splitlines()[:-2] if not line.strip()] == []


def test_an_empty_table_says_so() -> None:
    assert tally([]) == "0 incidents"
    assert table([], 80).endswith("\n0 incidents\n")


def test_a_narrow_table_shows_the_whole_id_of_each_rule() -> None:
    long = [replace(incident, rule="eclipse-inbound-concentrated") for incident in incidents("x")]
    text = table(long, 60)
    assert text.startswith("SEVERITY  OPENED (UTC)         LASTED   STATE\n          RULE\n")
    assert "\n          eclipse-inbound-concentrated\n          2 peers of" in text
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("\n") == table(long, 100).count("\n") + 1 + len(long)
