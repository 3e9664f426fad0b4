"""Redaction: alike for alike, and nothing left that tells who is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.render import as_object
from alerts.store.redact import Redactor
from tests.support.history import incident
from watchdog.core.errors import SecretError
from watchdog.core.finding import Evidence

KEY = b"a key of sixteen"
ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"


def test_an_address_has_one_name_in_every_form_and_place() -> None:
    told = Redactor(KEY).text
    plain = told("136.43.1.1")
    assert plain.startswith("addr-")
    assert told("136.43.1.1:8333") == f"{plain}:8333"
    assert told("::ffff:136.43.1.1") == told("[::ffff:136.43.1.1]") == plain
    assert told("136.43.1.1 (AS0) sent 5, as 136.43.1.1.") == f"{plain} (AS0) sent 5, as {plain}."
    assert told("[2001:db8::1]:8333") == told("2001:db8:0:0::1") + ":8333"
    assert told(ONION + ":8333") == told(ONION) + ":8333" != ONION
    assert told("136.43.0.0/16") != told("136.43.0.0")
    assert told("of AS24940.") == f"of {told('AS24940')}."


@pytest.mark.parametrize(
    "text",
    ["at 12:30:45 on 2026-11-21 03:00:00", "/Satoshi:27.1.0/", "1 000 addresses in 10m: 0.5", "AS0", "", ":"],
)
def test_what_is_no_address_stays(text: str) -> None:
    assert Redactor(KEY).text(text) == text


def test_another_key_gives_other_names_and_the_same_key_the_same() -> None:
    assert Redactor(KEY).text("136.43.1.1") == Redactor(KEY).text("136.43.1.1")
    assert Redactor(KEY).text("136.43.1.1") != Redactor(b"another key, also long").text("136.43.1.1")


@given(
    st.ip_addresses(),
    st.sampled_from(["", "x", "peer=", "(", "<b>", "_"]),
    st.sampled_from(["", ".", ",", ")", ":", "x"]),
)
def test_no_address_survives_whatever_stands_around_it(address: object, before: str, behind: str) -> None:
    text = f"{before}{address}{behind}"
    if str(address) != "::":
        assert str(address) not in Redactor(KEY).text(text)


def test_an_incident_tells_nobody_but_keeps_its_patterns() -> None:
    fields: dict[str, str | int | float | bool] = {
        "peer": "136.43.1.1:40000",
        "peer_addr": "136.43.1.1",
        "netgroup": "136.43.0.0/16",
        "subnet": "136.43.1.0/24",
        "source_netgroup": "onion:5",
        "entry_netblock": "136.43.0.0/16",
        "asn": 24940,
        "source_asn": 0,
        "address": "00ff" * 8,
        "address_id": 1234567890123,
        "entries": 1000,
        "user_agent": "/136.43.1.1/",
        "solicited": False,
    }
    one = incident(
        summary="136.43.1.1 (AS24940) sent 150", acknowledged_by="ana", evidence=(Evidence(5, "p2p:addr", fields),)
    )
    plain = as_object(one) | {
        "notes": [{"who": "ana", "text": "136.43.1.1 is ours"}],
        "changes": [{"reason": "acknowledged", "text": "by ana", "time": 1.0, "until": 1.0, "count": 1}],
    }
    redacted = Redactor(KEY).incident(plain)
    text = json.dumps(redacted)
    for secret in ("136.43", "24940", "00ff00ff", "1234567890123", "ana", "onion:5", one.id, one.fingerprint):
        assert secret not in text
    (event,) = cast("list[dict[str, dict[str, object]]]", redacted["evidence"])
    shown = event["fields"]
    assert shown["peer"] == f"{shown['peer_addr']}:40000"
    assert shown["user_agent"] == f"/{shown['peer_addr']}/"
    assert redacted["entities"] == [shown["netgroup"], shown["peer_addr"]]
    assert redacted["key"] == {"netgroup": shown["netgroup"]}
    assert shown["entry_netblock"] == shown["netgroup"]
    assert redacted["summary"] == f"{shown['peer_addr']} ({shown['asn']}) sent 150"
    assert (shown["entries"], shown["solicited"], shown["source_asn"]) == (1000, False, 0)


def test_a_key_that_is_missing_or_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="no such file"):
        Redactor.from_file(tmp_path / "none")
    (tmp_path / "short").write_bytes(b"  secret \n")
    with pytest.raises(SecretError, match="6 bytes; 16 to 64 are needed") as caught:
        Redactor.from_file(tmp_path / "short")
    assert "secret" not in str(caught.value).replace(str(tmp_path), "")


def test_ids_of_a_case_say_what_they_are_and_match_those_of_incidents() -> None:
    redactor, one = Redactor(b"sixteen bytes or more"), incident()
    case, other = "0123456789abcdef", "fedcba9876543210"
    found = redactor.case(
        {
            "id": case,
            "incidents": [one.id],
            "claims": [{"incident": one.id}],
            "aliases": [other],
            "not_joined": [{"case": other, "why": f"both continue case {case}: both name 217.94.191.240"}],
        }
    )
    assert str(found["id"]).startswith("case-")
    assert found["incidents"] == [redactor.incident(as_object(one))["id"]]
    assert found["claims"] == [{"incident": cast("list[str]", found["incidents"])[0]}]
    (apart,) = cast("list[dict[str, str]]", found["not_joined"])
    assert found["aliases"] == [apart["case"]]
    assert apart["case"].startswith("case-")
    assert apart["why"].startswith(f"both continue case {found['id']}: both name addr-")
