"""`watchdog cases`: operators' verbs, filters, the story, and an export that shows no peer and no operator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from alerts.case.document import stored_cases
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.writer import IncidentWriter
from tests.support.case_rig import CaseRig
from watchdog.cli.main import main

A, B, C = "91.165.48.111", "217.94.191.240", "84.19.3.7"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A history with a case of two parties, and before it one that is over."""
    rig = CaseRig()
    rig.burst("ping-flood", [C], 0, severity="high")
    rig.say("addr-pattern-2021", [A], 200)
    rig.say("addr-pattern-2021", [B], 201)
    rig.until(210)
    url = f"sqlite:///{tmp_path / 'h.db'}"
    monkeypatch.setenv("WATCHDOG_DB", url)
    database = Database.open(url)
    IncidentWriter(database).record((), (), stored_cases(rig.feed.book))
    found = [one["id"] for one in CaseQueries(database).latest()]
    database.close()
    return found


def out(capfd: Capture, *argv: str, code: int = 0) -> str:
    assert main(["cases", *argv]) == code
    shown = capfd.readouterr()
    return shown.out if code == 0 else shown.err


def lines(capfd: Capture, *argv: str) -> Sequence[str]:
    return out(capfd, *argv).splitlines()


def test_verbs_say_what_they_did_and_the_story_shows_it(ids: list[str], capfd: Capture) -> None:
    id_, _ = ids
    assert out(capfd, "ack", id_[:6], "looking", "--who", "anna") == f"{id_} acknowledged\n"
    assert out(capfd, "ack", id_, "--who", "anna") == f"{id_} is already acknowledged by anna\n"
    added = out(capfd, "ack", id_, "--who", "anna", "--text", "still")
    assert added == f"{id_} is already acknowledged by anna; the text was added\n"
    assert out(capfd, "note", id_, "--text", "seen before", "--who", "bert") == f"{id_} noted\n"
    assert out(capfd, "split", id_, B, "a partner", "--who", "bert").startswith(
        f"{id_} split: {B} gets a case of its own"
    )
    assert out(capfd, "resolve", id_) == f"{id_} resolved\n"
    shown = lines(capfd, "show", id_)
    story = [line.split(maxsplit=2)[2] for line in shown[shown.index("story:") + 1 : shown.index("claims:") - 1]]
    assert story[:5] == [
        "acknowledged  anna: looking",
        "acknowledged  anna: still",
        "note          bert: seen before",
        "split         bert: 217.94.0.0/16 is a case of its own: a partner",
        story[4],
    ]
    assert story[4].startswith("resolved ")


def test_mistakes_are_one_line(ids: list[str], capfd: Capture) -> None:
    id_, over = ids
    for argv, said in (
        (("ack", over), "is resolved: it cannot be acknowledged"),
        (("ack", "0000"), "no case '0000'"),
        (("ack", "xyz"), "write its id, or at least its first 4 digits"),
        (("note", id_), "a note needs a text"),
        (("note", id_, "one", "--text", "two"), "the text is given twice"),
        (("note", id_, "x" * 2_001), "text of 2001 characters: at most 2000"),
        (("ack", id_, "--who", ""), "a name is needed"),
        (("split", id_, "9.9.9.9"), "it has no party '9.9.0.0/16'; there are 217.94.0.0/16, 91.165.0.0/16"),
        (("split", over, C), "there is nothing to split"),
        (("ack", id_, "two", "words"), "several words needs quotes around it"),
        (("list", "--state", "shut"), "invalid choice: 'shut'"),
        (("list", "--limit", "1001"), "not a number from 1 to 1000"),
        (("list", "--cursor", "x"), "not one that a page"),
        (("export", "--redact-key-file", "none"), "redaction key 'none': no such file"),
    ):
        (line,) = out(capfd, *argv, code=2).splitlines()
        assert said in line


def test_lists_are_filtered_and_paged(ids: list[str], capfd: Capture) -> None:
    id_, over = ids
    for argv, found in (
        ((), ids),
        (("--state", "open,acknowledged"), [id_]),
        (("--state", "resolved"), [over]),
        (("--severity", "critical"), []),
        (("--node", "alice"), ids),
        (("--since", "2100-01-01"), []),
    ):
        assert [json.loads(line)["id"] for line in lines(capfd, "list", "--jsonl", *argv)] == found, argv
    assert main(["cases", "list", "--limit", "1", "--json"]) == 0
    shown = capfd.readouterr()
    assert "claims" not in json.loads(shown.out)[0]
    cursor = shown.err.strip().rpartition(" ")[2]
    assert [json.loads(line)["id"] for line in lines(capfd, "list", "--jsonl", "--cursor", cursor)] == [over]
    assert main(["cases", "list", "--node", "bob"]) == 0
    assert "no case of a node 'bob' is kept" in capfd.readouterr().err


def test_an_export_shows_no_address_no_operator_and_no_id(ids: list[str], capfd: Capture, tmp_path: Path) -> None:
    id_, _ = ids
    out(capfd, "note", id_, f"the peer {A} is ours", "--who", "secret-anna")
    out(capfd, "split", id_, B, "--who", "secret-anna")
    out(capfd, "ack", id_, "--who", "secret-anna")
    key = tmp_path / "key"
    key.write_text("sixteen bytes or more")
    text = out(capfd, "export", "--redact-key-file", str(key))
    for hidden in (A, B, C, "217.94", "91.165", "secret-anna", "is ours", *ids):
        assert hidden not in text, hidden
    first, second = (json.loads(line) for line in text.splitlines())
    assert first["id"].startswith("case-")
    assert {one["incident"] for one in first["claims"]} <= set(first["incidents"])
    assert first["split_off"][0] in {one["party"] for one in first["claims"]}, "alike for alike"
    assert second["severity"] == "high"
    assert "story" not in first
