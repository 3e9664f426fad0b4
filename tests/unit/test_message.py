"""Messages for people: golden texts of real cases, every change, hostile bodies, lengths."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.case.render import MOST_ANNOUNCED
from alerts.delivery.body_reader import labels, moment
from alerts.delivery.case_message import LONGEST_FIRST, first_line
from alerts.delivery.message import LONGEST_PART, MOST_PARTS, Message, message_of
from alerts.delivery.samples import ADDRESSES, ATTACKER, sample_body
from alerts.notice import CASE_EVENT_TYPES
from watchdog.cli.receivers_preview import message_text
from watchdog.core.text import printable

GOLDEN = Path(__file__).parents[1] / "golden" / "messages"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))
HOSTILE = "<!channel> *b* [x](http://evil) &amp; \x1b[31m\u202edrow\n\nnew paragraph\x00"


def changed(type_: str, **change: object) -> dict[str, Any]:
    """Return a sample body with other fields in its change."""
    body = sample_body(type_)
    return body | {"change": {**as_table(body["change"]), **change}}


def as_table(value: object) -> Mapping[str, Any]:
    assert isinstance(value, Mapping)
    return value


def html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@pytest.mark.parametrize("name", NAMES)
def test_the_message_of_a_case_of_a_recording(name: str) -> None:
    body = json.loads((GOLDEN / f"{name}.json").read_text())
    found = message_text(message_of(body)) + "\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("WATCHDOG_WRITE_GOLDEN"):
        file.write_text(found)
    assert found == file.read_text()


def test_there_are_golden_messages_of_most_changes() -> None:
    assert len(NAMES) >= 10
    assert len({name.rpartition("-")[2] for name in NAMES}) >= 7


@pytest.mark.parametrize("type_", CASE_EVENT_TYPES)
def test_the_first_line_has_severity_node_what_and_case(type_: str) -> None:
    body = sample_body(type_, "https://watch.example.org")
    message = message_of(body)
    assert len(message.first) <= LONGEST_FIRST
    assert "\n" not in message.first
    assert " alice: " in message.first
    assert message.first.endswith(", case 6ed2cb2a")
    assert ("netblock" if type_ == "case.opened" else "Eclipse") in message.first
    assert message.first.startswith(("WARNING", "HIGH", "ACKNOWLEDGED (by anna)", "OVER after"))
    assert message.url == "https://watch.example.org/cases/6ed2cb2a8f0e1d3c"


def test_each_change_says_what_is_new_in_its_first_paragraph() -> None:
    news = {type_: message_of(sample_body(type_)).parts[0] for type_ in CASE_EVENT_TYPES}
    assert len(set(news.values())) == len(CASE_EVENT_TYPES)
    assert news["case.opened"].startswith("New: this case opened at 2026-05-28 20:26:40 UTC.")
    assert "rose from warning to high" in news["case.severity"]
    assert "stage outbound (the outbound peers of the node are being replaced)" in news["case.stage"]
    assert "next: blocks may be withheld from the node" in news["case.stage"]
    assert "Newly accused: 203.0.113.9" in news["case.stage"]
    assert "case 93b1f0a2 is the same attack" in news["case.merged"]
    assert news["case.acknowledged"].startswith('anna acknowledged this case and says: "looking at it".')
    assert "In total: 2 networks, 4 addresses, 2 incidents, 2 notices." in news["case.resolved"]
    assert "20:26 to 2026-05-29 03:56 UTC, 7h 30m, of which the last 2h were quiet" in news["case.resolved"]
    assert "no one has acknowledged it" in news["case.reminder"]
    assert "so it comes to you" in news["case.escalated"]


def test_what_to_do_is_left_out_once_there_is_nothing_to_do() -> None:
    said = {one: "\n".join(message_of(sample_body(one)).parts) for one in CASE_EVENT_TYPES}
    over = {"case.resolved", "case.acknowledged"}
    assert {one for one in CASE_EVENT_TYPES if "What to do: " not in said[one]} == over
    assert {one for one in CASE_EVENT_TYPES if "Runbook: " not in said[one]} == over


def test_a_party_that_joined_in_silence_is_named_at_the_end() -> None:
    new = message_of(changed("case.resolved", new_parties=["203.0.113.9"])).parts[0]
    assert new.endswith("Not named before: 203.0.113.9.")
    assert "Newly accused" not in new


def test_a_notice_with_several_reasons_says_all_of_them() -> None:
    body = changed("case.severity", new_stages=["outbound"], merged="93b1f0a2c4d6e8f0", others=["stage", "merged"])
    new = message_of(body).parts[0]
    assert "rose from warning to high" in new
    assert "New stage: outbound (the outbound peers of the node are being replaced). Merged into it: 93b1f0a2." in new
    reopened = message_of(changed("case.reopened", others=["severity"])).parts[0]
    assert "is active again" in reopened
    assert "The severity rose from warning to high." in reopened
    merged = changed("case.merged", merged="93b1f0a2c4d6e8f0", also_merged=["aa11bb22cc33dd44"])
    assert "cases 93b1f0a2 and aa11bb22 are the same attack" in message_of(merged).parts[0]


def test_a_case_of_several_nodes_names_their_cases() -> None:
    related = [{"node": name, "id": f"{name * 16}"} for name in "abcde"]
    message = message_of(sample_body("case.opened") | {"node": "*", "related": related})
    assert message.first.startswith("WARNING several nodes: ")
    assert (
        "open cases of a (case aaaaaaaa), b (case bbbbbbbb), c (case cccccccc), d (case dddddddd) and 1 more."
        in (message.parts[0])
    )


def test_an_operator_who_closes_a_case_is_named() -> None:
    body = changed("case.resolved", by="bob", text="our own crawler")
    assert message_of(body).parts[0].startswith('bob closed this case and says: "our own crawler".')


def test_at_most_four_names_and_how_many_addresses_each_has() -> None:
    names = [ATTACKER, "203.0.113.9", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    body = changed("case.opened", parties=names) | {"parties_beyond": 7}
    who = next(part for part in message_of(body).parts if part.startswith("Accused now"))
    assert who.startswith(f"Accused now: {ATTACKER} (3 addresses), 203.0.113.9, 192.0.2.1, 192.0.2.2 and 4 more.")
    assert labels(body, [ADDRESSES[0]]) == [ADDRESSES[0]]
    many = [{"name": ATTACKER, "addresses": [f"198.51.100.{n}" for n in range(64)]}]
    assert labels({"parties": many}, [ATTACKER]) == [f"{ATTACKER} (64 or more addresses)"]


def test_a_case_without_an_accused_party_says_so() -> None:
    body = changed("case.opened", parties=[]) | {"parties": [], "announced": []}
    assert "No peer is accused: this is about the node itself." in message_of(body).parts
    body = changed("case.opened", parties=["no single origin: 48 peers relay it"])
    assert "No single origin: 48 peers relay it, so none of them is accused." in message_of(body).parts
    body = sample_body("case.opened") | {"announced": ["10.0.0.0/16"] * MOST_ANNOUNCED}
    assert "64 or more netblocks were announced" in " ".join(message_of(body).parts)


def test_the_previous_severity_is_that_of_the_notice_before() -> None:
    assert first_line(sample_body("case.severity")).startswith("HIGH (was warning) alice: ")
    body = sample_body("case.severity") | {"notices": []}
    assert first_line(body).startswith("HIGH alice: ")


def test_what_is_too_long_is_cut_but_never_the_case() -> None:
    body = sample_body("case.severity") | {"headline": "x" * 5_000, "node": "n" * 300}
    message = message_of(body)
    assert len(message.first) <= LONGEST_FIRST
    assert message.first.endswith("…, case 6ed2cb2a")
    assert message.parts
    assert all(len(part) <= LONGEST_PART for part in message.parts)


def test_hostile_text_is_harmless_and_then_escaped() -> None:
    parties = [{"name": HOSTILE, "addresses": [HOSTILE, HOSTILE]}]
    seen = [{"title": HOSTILE, "severity": HOSTILE}]
    advice = {"do": [HOSTILE], "why": HOSTILE, "runbook": HOSTILE, "seen": seen}
    change = {"by": HOSTILE, "text": HOSTILE, "parties": [HOSTILE], "new_parties": [HOSTILE]}
    body = {"headline": HOSTILE, "node": HOSTILE, "id": HOSTILE, "parties": parties, "advice": advice, "change": change}
    for type_ in CASE_EVENT_TYPES:
        message = message_of(body | {"change": change | {"type": type_}}, escape=html)
        shown = "\n".join([message.first, *message.parts])
        assert not set("\x1b\x00\u202e<>") & set(shown)
        assert all("\n\n" not in part for part in message.parts), "a peer begins no paragraph"
        assert len(message.first) <= LONGEST_FIRST


def test_an_escape_is_never_cut_in_two() -> None:
    for size in range(60, 200):
        line = message_of(sample_body("case.opened") | {"headline": "&" * size}, escape=html).first
        assert len(line) <= LONGEST_FIRST
        assert line.count("&") == line.count("&amp;")


def test_line_breaks_of_ours_stay_whatever_the_escape_does_with_others() -> None:
    seen = message_of(sample_body("case.stage"), escape=printable).parts[1]
    assert seen.split("\n")[0] == "Seen so far (UTC):"
    assert len(seen.split("\n")) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(sample_body("case.opened"))


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON),
    st.dictionaries(st.sampled_from(sorted(as_table(sample_body("case.opened")["change"]))), JSON),
    st.dictionaries(st.sampled_from(["do", "runbook", "why", "seen", "seen_beyond"]), JSON),
    st.sampled_from(CASE_EVENT_TYPES),
)
def test_no_body_makes_it_fail(
    fields: dict[str, object], change: dict[str, object], advice: dict[str, object], type_: str
) -> None:
    body = sample_body(type_)
    body |= {"change": {**as_table(body["change"]), **change}, "advice": {**as_table(body["advice"]), **advice}}
    for one in (body | fields, fields, {**fields, "rule": "x"}, {}):
        message = message_of(one, escape=html)
        assert isinstance(message, Message)
        assert 0 < len(message.first) <= LONGEST_FIRST
        assert len(message.parts) <= MOST_PARTS


def test_incidents_have_messages_too() -> None:
    body = {
        "id": "b271aa0913cd55e0",
        "rule": "ping-flood",
        "title": "Ping flood from one peer",
        "severity": "high",
        "state": "open",
        "node": "alice",
        "opened": 1_780_000_000.0,
        "summary": f"{HOSTILE} sent 900 pings",
        "entities": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"],
        "entities_beyond": 3,
        "url": None,
    }
    message = message_of(body)
    assert message.first == "HIGH alice: Ping flood from one peer, incident b271aa09"
    assert "Named: 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4 and 4 more." in message.parts
    assert "\x1b" not in message.parts[0]
    assert message_of(body | {"state": "resolved"}).first.startswith("OVER HIGH alice: ")
    merged = {"rule": "ping-flood", "severity": "high", "count": 37, "incidents": [], "summary": "37 incidents opened"}
    assert message_of(merged).first == "HIGH: 37 incidents of rule ping-flood opened"


def test_times_are_utc_and_have_the_date_on_another_day() -> None:
    assert moment(1_780_000_000.0) == "2026-05-28 20:26"
    assert moment(1_780_000_000.0, beside=1_780_000_100.0, exact=True) == "20:26:40"
    assert moment(None) == moment(-1.0) == moment(1e300) == "an unknown time"
