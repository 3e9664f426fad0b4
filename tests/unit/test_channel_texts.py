"""What channels make of texts: cuts, escapes, redaction, and the alerts of a case."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.alertmanager import alive_body
from alerts.delivery.formats import notice_bodies, notice_body
from alerts.delivery.markup import (
    commands_as_code,
    cut,
    cut_bytes,
    cut_units,
    for_chat,
    for_html,
    for_unknown,
    plain,
    units,
)
from alerts.notice import Notice
from alerts.routing import Receiver
from tests.support.channels import ALIAS, HOSTILE, ROOT, START_NS, Tags, case_body, case_notice, channel

KEY = b"k" * 32
ONION = "a" * 56 + ".onion"


@given(st.text(max_size=200), st.integers(2, 60))
def test_a_cut_text_has_room_and_no_half_entity(text: str, limit: int) -> None:
    for escape in (for_html, for_chat):
        escaped = escape(text)
        assert len(cut(escaped, limit)) <= limit
        assert units(cut_units(escaped, limit)) <= limit
        for shown in (cut(escaped, limit), cut_units(escaped, limit)):
            assert shown == escaped or shown.endswith("…")
            tags = Tags()
            tags.feed(shown)
            tags.close()
            assert not tags.bad
            assert "&" not in shown.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "")
    assert len(cut_bytes(text, limit).encode("utf-8", "replace")) <= max(limit, 3)


@given(st.text(max_size=300))
def test_no_string_of_a_stranger_keeps_markup(text: str) -> None:
    shown = for_chat(text)
    assert not set(shown) & set("<>*~`@|")
    assert "](" not in shown
    assert shown.isprintable()
    assert not set(for_html(text)) & set("<>@")
    assert plain(text).isprintable()


def test_a_command_can_be_copied_from_a_chat() -> None:
    advice = for_chat("Add it: `bitcoin-cli addnode HOST add`.")
    assert commands_as_code(advice) == "Add it: `bitcoin-cli addnode HOST add`."
    odd = for_chat("`<!channel>` `bitcoin-cli *x*`")
    assert commands_as_code(odd) == odd == "ˋ&lt;!channel&gt;ˋ ˋbitcoin-cli ∗x∗ˋ"


def test_a_strangers_command_does_not_look_like_one_of_ours() -> None:
    receiver = channel("slack", "https://hooks.example.com/T0")
    seen = {"time": START_NS / 1e9, "severity": "high", "text": "What to do: `bitcoin-cli stop`", "parties": 1}
    advice = {"do": ["Add it: `bitcoin-cli addnode HOST add`."], "why": "", "seen": [seen]}
    text = json.loads(notice_body(case_notice("opened", advice=advice), receiver, START_NS))["text"]
    assert "What to do: Add it: `bitcoin-cli addnode HOST add`." in text
    assert "high: What to do: ˋbitcoin-cli stopˋ" in text
    incident = {**case_body(), "rule": "mine", "title": "Mine", "summary": "What to do: `bitcoin-cli stop`"}
    del incident["headline"]
    notice = replace(case_notice(), type="incident.opened", body=incident)
    text = json.loads(notice_body(notice, receiver, START_NS))["text"]
    assert "What to do: ˋbitcoin-cli stopˋ" in text
    assert "`" not in text


def test_addresses_stay_as_they_are() -> None:
    for text in ("203.0.113.7:8333", "[2001:db8::1]:8333", "198.51.0.0/16", "a_rule-of_mine", ONION):
        assert for_chat(text) == text


def case_at(name: str, redact: Any) -> dict[str, Any]:
    """The case with one party as a receiver sees it."""
    receiver = replace(channel("webhook", "https://example.org/"), redact=redact, redact_key=KEY)
    change = case_body()["change"] | {"parties": [name, f"{name} (14 addresses)"]}
    party = {"name": name, "addresses": [name], "rules": ["addr-beyond-limit"]}
    one = case_notice(change=change, parties=[party], headline=f"flood from {name} at 02:10:33", announced=[name])
    return dict(json.loads(notice_body(one, receiver, START_NS))["data"])


@pytest.mark.parametrize(
    ("name", "subnet"),
    [
        ("203.0.113.7", "203.0.0.0/16"),
        ("203.0.113.7:8333", "203.0.0.0/16"),
        ("203.0.113.0/24", "203.0.0.0/16"),
        ("2001:db8:1::7", "2001:db8::/32"),
        ("[2001:db8:1::7]:8333", "2001:db8::/32"),
        (ONION, "onion"),
        (f"{'b' * 52}.b32.i2p", "i2p"),
    ],
)
def test_a_receiver_sees_subnets_or_hashes_of_the_house(name: str, subnet: str) -> None:
    shown = case_at(name, "subnet")
    assert shown["parties"][0]["name"] == subnet
    assert shown["headline"] == f"flood from {subnet} at 02:10:33"
    assert shown["change"]["parties"][1] == f"{subnet} (14 addresses)"
    hashed = case_at(name, "hash")
    bare = name.strip("[").partition("]")[0].partition(":8333")[0].partition("/")[0]
    assert bare not in json.dumps(hashed)
    assert hashed["parties"][0]["name"].startswith(("addr-", "net-"))
    assert hashed["parties"][0]["name"] in hashed["headline"], "alike for alike"
    assert (hashed["root"], hashed["url"]) == (ROOT, f"https://watch.example.com/cases/{ROOT}")
    assert json.dumps(case_at(name, "none")).count(bare) > 5
    other = replace(channel("webhook", "https://example.org/"), redact="hash", redact_key=b"o" * 32)
    again = json.loads(notice_body(case_notice(parties=[{"name": name}]), other, START_NS))["data"]
    assert again["parties"][0]["name"] != hashed["parties"][0]["name"]


def test_a_merged_notice_of_incidents_is_redacted_in_its_list() -> None:
    receiver = replace(channel("webhook", "https://example.org/"), redact="subnet")
    listed = [{"id": "a1b2", "summary": "flood from 203.0.113.7", "entities": ["203.0.113.7"]}]
    many = Notice("mrg_1", "ops", "a1b2", "incidents.opened", "high", START_NS, {"rule": "r", "incidents": listed})
    assert b"203.0.113.7" not in notice_body(many, receiver, START_NS)


def alerts_of(one: Notice, receiver: Receiver) -> list[dict[str, Any]]:
    """The alerts of a notice."""
    return list(json.loads(notice_body(one, receiver, START_NS)))


def ends(alert: dict[str, Any]) -> bool:
    """Whether an alert has ended by now."""
    return bool(alert["endsAt"] <= "2026-05-28T20:26:40.000000Z")


def test_a_case_is_one_alert_with_stable_labels_and_never_a_party() -> None:
    receiver = replace(channel("alertmanager", "http://127.0.0.1:9093"), labels={"team": "infra", "node": "not this"})
    *former, alert = alerts_of(case_notice("severity"), receiver)
    labels = {"alertname": "BitcoinCase", "node": "alice", "case": ROOT, "severity": "high", "attack": "addr-flooding"}
    assert alert["labels"] == labels | {"team": "infra"}
    assert not ends(alert)
    assert [(one["labels"]["severity"], ends(one)) for one in former] == [("warning", True)]
    assert "203.0.113.7" not in json.dumps(alert["labels"])
    assert "203.0.113.7" in alert["annotations"]["parties"]


def test_a_merge_ends_the_alias_and_a_resolution_the_case() -> None:
    receiver = channel("alertmanager", "http://127.0.0.1:9093")
    found = alerts_of(case_notice("merged"), receiver)
    merged = [one for one in found if one["labels"]["case"] == ALIAS]
    assert {one["labels"]["severity"] for one in merged} == {"warning", "high", "critical"}
    assert all(ends(one) for one in merged)
    assert not ends(found[-1])
    assert all(ends(one) for one in alerts_of(case_notice("resolved"), receiver))
    missed = alerts_of(case_notice("resolved", aliases=[ALIAS]), receiver)
    assert any(one["labels"]["case"] == ALIAS for one in missed), "a receiver need not have heard of the merge"


def test_what_is_kept_alive_is_the_alert_of_the_last_notice() -> None:
    receiver = channel("alertmanager", "http://127.0.0.1:9093")
    advice = {"do": ["Look at it.", "Ban them."], "runbook": "https://example.org/runbook", "why": ""}
    names = case_body()["change"]["parties"]
    case = case_body(severity="critical", notices=[{"severity": "high", "parties": names}], advice=advice)
    del case["change"]
    (alert,) = json.loads(alive_body([case], receiver, START_NS))
    noticed = alerts_of(case_notice("severity", advice=advice), receiver)[-1]
    assert alert["labels"] == noticed["labels"]
    assert alert["annotations"] == noticed["annotations"], "a repetition says the same"
    assert alert["annotations"]["description"] == "Look at it. Ban them."
    assert alert["annotations"]["runbook_url"] == "https://example.org/runbook"
    assert not ends(alert)


def test_alertmanagers_webhook_says_which_alert_fires() -> None:
    receiver = channel("alertmanager-webhook", "https://example.org/")
    message = json.loads(notice_body(case_notice("merged"), receiver, START_NS))
    assert (message["version"], message["status"]) == ("4", "firing")
    first, *others = message["alerts"]
    assert (first["status"], first["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert {one["status"] for one in others} == {"resolved"}
    assert message["externalURL"] == "https://watch.example.com"
    over = json.loads(notice_body(case_notice("resolved"), receiver, START_NS))
    assert over["status"] == "resolved"


def test_a_long_case_fits_every_channel() -> None:
    change = case_body()["change"] | {"text": HOSTILE * 2_000, "by": "anna"}
    one = case_notice(change=change)
    for form, most in (("slack", 40_000), ("telegram", 60_000), ("teams", 28 * 1024), ("pagerduty", 512_000)):
        for raw in notice_bodies(one, channel(form, "https://example.org/", chat="1", token="1:a"), START_NS):
            assert len(raw) <= most


def test_what_strangers_sent_is_no_markup_for_any_service_behind_apprise() -> None:
    """Discord reads Markdown and mentions, Slack `<!channel>`, others HTML: apprise passes texts on as they are."""
    receiver = Receiver("ops", "json://example.org/", format="apprise")
    headline = "<!channel> <@U1> @everyone *b* **b** ~~s~~ `c` ||t|| _i_ [x](http://evil/) <b>h</b>"
    body = json.loads(notice_bodies(case_notice(headline=headline), receiver, START_NS)[0])
    for text in (body["title"], body["body"]):
        assert not set("<>@*~|") & set(text), text
        assert "](" not in text
    assert "‹!channel› ‹＠U1› ＠everyone" in body["title"]
    assert for_unknown("Add it: `bitcoin-cli addnode HOST add`.") == "Add it: `bitcoin-cli addnode HOST add`."
