"""Findings as events: the columns of the kinds, who is involved, and harmless texts."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.core.batch import Strings
from watchdog.core.finding import ATTACKS, OVERFLOW, PARTY, SEVERITIES, Finding
from watchdog.core.finding_events import KIND_OF, finding_batches, key_text
from watchdog.core.kinds import ALL_KINDS, FINDING_KINDS, KINDS, dtype_of
from watchdog.core.prefix import parse_prefix, prefix_texts

FINDING = Finding(
    rule="ping-flood",
    attack="resource",
    severity="high",
    node="node",
    change="fire",
    time_ns=60_000_000_000,
    since_ns=50_000_000_000,
    key={"conn": "7"},
    incident={"netgroup": "AS24940"},
    entities=("136.43.1.2",),
    measures={"pings": 900},
    summary="text",
    maturity="stable",
    party={"peer_addr": "136.43.1.2", "netgroup": "AS24940"},
)
UNKNOWN = ("", "unknown", "unknown", 0)


def row(finding: Finding) -> dict[str, Any]:
    (events,) = finding_batches([finding])
    columns: dict[str, Any] = {name: column.tolist()[0] for name, column in events.columns.items()}
    return columns | {name: prefix_texts([columns[name]])[0] for name in ("netgroup", "netblock")}


def party(known: Mapping[str, str]) -> tuple[Any, ...]:
    columns = row(replace(FINDING, party=known))
    return tuple(columns[name] for name in ("peer_addr", "netgroup", "netblock", "asn"))


def test_a_finding_has_every_column_of_its_kind() -> None:
    assert row(FINDING) == {
        "time_ns": 60_000_000_000,
        "rule": "ping-flood",
        "attack": "resource",
        "severity": "high",
        "maturity": "stable",
        "key": "conn=7",
        "keys": 1,
        "node": "node",
        "peer_addr": "136.43.1.2",
        "netgroup": "AS24940",
        "netblock": "136.43.0.0/16",
        "asn": 24940,
        "since_ns": 50_000_000_000,
    }


def test_batches_fit_the_catalogue_one_for_each_kind_node_and_rule() -> None:
    findings = [replace(FINDING, change=change, node=node) for change in KIND_OF for node in ("a", "b")]
    batches = finding_batches([*findings, replace(FINDING, rule="other")])
    assert [(part.kind, part.node, part.source) for part in batches[:2]] == [
        ("finding:fire", "a", "rule:ping-flood"),
        ("finding:fire", "b", "rule:ping-flood"),
    ]
    assert len(batches) == 9
    assert {part.kind for part in batches} == set(KIND_OF.values()) == FINDING_KINDS
    assert FINDING_KINDS.isdisjoint(ALL_KINDS)
    for part in batches:
        assert list(part.columns) == list(KINDS[part.kind].fields)
        for name, field in KINDS[part.kind].fields.items():
            column, wanted = part.columns[name], dtype_of(field.type)
            assert isinstance(column, Strings) if wanted is None else column.dtype == wanted  # type: ignore[union-attr]
    assert finding_batches([]) == ()


def test_closed_sets_of_texts_are_those_of_findings() -> None:
    fields = KINDS["finding:fire"].fields
    assert (fields["attack"].values, fields["severity"].values) == (ATTACKS, SEVERITIES)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, UNKNOWN),
        ({"peer_addr": "1.2.3.4"}, ("1.2.3.4", "unknown", "1.2.0.0/16", 0)),
        ({"peer": "[2a01:4f8::1]:8333"}, ("2a01:4f8::1", "unknown", "2a01:4f8::/32", 0)),
        ({"netblock": "9.8.0.0/16"}, ("", "unknown", "9.8.0.0/16", 0)),
        ({"netgroup": "AS5", "netblock": "9.8.0.0/16"}, ("", "AS5", "9.8.0.0/16", 5)),
        ({"asn": "4294967295"}, ("", "unknown", "unknown", 4294967295)),
        ({"asn": "4294967296"}, UNKNOWN),
        ({"asn": "-1", "netgroup": "?", "netblock": "1.2.3.4/16"}, UNKNOWN),
        ({"peer_addr": "not an address"}, ("not an address", "unknown", "unknown", 0)),
    ],
)
def test_the_party_is_what_is_known_of_the_key(known: Mapping[str, str], expected: tuple[Any, ...]) -> None:
    assert party(known) == expected


def test_a_finding_for_many_keys_names_no_party() -> None:
    columns = row(replace(FINDING, key=OVERFLOW, stands_for=612))
    assert (columns["key"], columns["keys"], columns["peer_addr"], columns["netgroup"]) == (
        "group=*",
        612,
        "",
        "unknown",
    )


@given(st.dictionaries(st.sampled_from(PARTY), st.text(max_size=300)), st.text(max_size=300))
def test_any_text_of_a_peer_is_harmless(known: dict[str, str], value: str) -> None:
    columns = row(replace(FINDING, party=known, key={"user_agent": value}, node=value))
    for name in ("peer_addr", "key", "node"):
        assert all(char.isprintable() for char in columns[name])


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.text(",=\\ab", max_size=5)), max_size=3, unique_by=lambda one: one[0])
)
def test_different_keys_have_different_texts(fields: list[tuple[str, str]]) -> None:
    text = key_text(dict(fields))
    parts, held = [], ""
    for part in text.split(",") if text else ():  # a comma after an odd number of backslashes is part of a value
        held += part
        if (len(held) - len(held.rstrip("\\"))) % 2:
            held += ","
            continue
        parts.append(held)
        held = ""
    read = [part.split("=", 1) for part in parts]
    assert [(name, value.replace("\\,", ",").replace("\\\\", "\\")) for name, value in read] == fields


@given(st.integers(0, (1 << 32) - 1).map(lambda number: str(ipaddress.IPv4Address(number))))
def test_a_netblock_that_is_not_named_is_that_of_the_address(address: str) -> None:
    netblock = party({"peer_addr": address})[2]
    assert netblock in (f"{'.'.join(address.split('.')[:2])}.0.0/16", "unroutable", "local")
    assert parse_prefix(netblock) >= 0
