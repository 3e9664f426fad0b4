"""The catalogue for people: the page is current, the command lists everything, mistakes get a hint."""

from __future__ import annotations

import json

import pytest

from watchdog.cli.main import main
from watchdog.core.kinds import KINDS, PEER_FIELDS
from watchdog.docs_build import event_pages as event_docs


def test_events_page_is_current() -> None:
    assert event_docs.DOCS.read_text(encoding="utf-8") == event_docs.markdown(), "run make docs"


def test_page_has_every_kind_and_every_field_once_in_its_place() -> None:
    page = event_docs.markdown()
    for kind in KINDS.values():
        section = page.split(f"### {kind.name}\n")[1].split("\n##")[0]
        for field in kind.fields.values():
            shared = field.name in {"time_ns", *PEER_FIELDS} and "Peer fields" in section
            assert shared or field.name == "time_ns" or f"| {field.name}" in section, (kind.name, field.name)


def test_listing_names_every_kind_with_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(KINDS)
    assert next(line for line in lines if line.startswith("node:started")).split()[1:5] == [
        "snapshots,",
        "rpc,",
        "ipc,",
        "log,",
    ]


def test_one_kind_shows_fields_units_and_the_other_sources_of_the_fact(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "p2p:addr"]) == 0
    out = capsys.readouterr().out
    assert "the same fact: log:addr_received (count one of them)" in out
    assert "beyond_limit" in out
    assert "addresses" in out


def test_json_has_the_whole_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [kind["kind"] for kind in data] == list(KINDS)
    assert main(["events", "log:tip", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert [field["name"] for field in one["fields"]] == ["time_ns", "height", "hash", "txs"]
    assert one["fields"][1]["unit"] == "blocks"


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("p2p:adr", "did you mean 'p2p:addr'?"),
        ("inbound_message", "did you mean 'net:inbound_message'?"),
        ("addr_entry", "did you mean 'p2p:addr_entry'?"),
        ("zzz", "`watchdog events` lists them"),
    ],
)
def test_unknown_kinds_get_a_hint_and_exit_code_2(kind: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", kind]) == 2
    err = capsys.readouterr().err
    assert err == f"watchdog: unknown kind '{kind}'; {hint}\n"


def test_the_beginning_of_kinds_lists_those(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "addrman"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [kind for kind in KINDS if kind.startswith("addrman:")]
    assert len(names) > 5
    assert main(["events", "log:addrman_", "--json"]) == 0
    assert all(kind["kind"].startswith("log:addrman_") for kind in json.loads(capsys.readouterr().out))
