"""`watchdog incidents` and `watchdog deliveries` as people use them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from alerts.incident import IncidentState
from alerts.store.actions import Verb
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from alerts.store.outbox import Outbox
from alerts.store.schema import HEAD
from alerts.store.writer import IncidentWriter
from tests.support.history import START, incident, record, told
from tests.unit.test_store_database import older_database
from watchdog.cli.main import main

ODD = "<script>\x1b[31m%s{0}\u202e"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a history of three incidents, which is the default database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WATCHDOG_DB", raising=False)
    known = [
        incident(1, severity="high", summary=ODD, entities=(ODD,)),
        incident(2),
        incident(3, state=IncidentState.RESOLVED, resolved_ns=START),
    ]
    records = [record(one) for one in known]
    database = Database.open("sqlite:///watchdog.db")
    IncidentWriter(database).record(records, told(records))
    Outbox(database).dead(told(records)[0].id, f"status 400 {ODD}", START, 400)
    database.close()
    return tmp_path


def lines(capfd: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> list[str]:
    assert main(argv) == code
    captured = capfd.readouterr()
    return (captured.out if code == 0 else captured.err).splitlines()


def test_the_list_shows_the_latest_first_and_nothing_harmful(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = lines(capfd, "incidents", "list")
    assert [line.split()[-2] for line in shown if "addr-beyond-limit" in line] == [incident(n).id for n in (3, 2, 1)]
    assert "<script>\\x1b[31m%s{0}\\u{202e}" in "\n".join(shown)
    assert "\x1b" not in "".join(shown)


def test_filters_pages_and_json(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (only,) = lines(capfd, "incidents", "list", "--jsonl", "--severity", "high", "--since", "2020-01-01")
    assert json.loads(only)["id"] == incident(1).id
    assert lines(capfd, "incidents", "list", "--since", "1h") == ["no incidents"]
    assert main(("incidents", "list", "--jsonl", "--limit", "2")) == 0
    captured = capfd.readouterr()
    cursor = captured.err.split("--cursor ")[1].strip()
    (last,) = lines(capfd, "incidents", "list", "--jsonl", "--limit", "2", "--cursor", cursor)
    assert [json.loads(line)["id"] for line in (*captured.out.splitlines(), last)] == [
        incident(n).id for n in (3, 2, 1)
    ]


def test_a_severity_means_that_and_above(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def listed(*argv: str) -> list[str]:
        return [json.loads(line)["id"] for line in lines(capfd, "incidents", "list", "--jsonl", *argv)]

    assert listed("--severity", "warning") == [incident(n).id for n in (3, 2, 1)]
    assert listed("--severity", "high") == [incident(1).id]
    assert listed("--severity", "critical") == []
    (place / "key").write_text("0123456789abcdef0123456789abcdef\n")
    assert len(lines(capfd, "incidents", "export", "--redact-key-file", "key", "--severity", "warning")) == 3


def test_states_may_be_named_with_commas(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for argv in (("--state", "open,resolved"), ("--state", "open", "--state", "resolved")):
        assert len(lines(capfd, "incidents", "list", "--jsonl", *argv)) == 3
    assert len(lines(capfd, "incidents", "list", "--jsonl", "--state", "open,acknowledged")) == 2
    (line,) = lines(capfd, "incidents", "list", "--state", "open,acknowledge", code=2)
    assert "invalid choice: 'acknowledge', did you mean 'acknowledged'" in line


def test_an_operator_acknowledges_notes_resolves_and_sees_it(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    id_ = incident(2).id
    assert lines(capfd, "incidents", "ack", id_[:6], "--who", "ana") == [f"{id_} acknowledged"]
    lines(capfd, "incidents", "note", id_, f"looks like {ODD}", "--who", "ana")
    shown = "\n".join(lines(capfd, "incidents", "show", id_))
    assert "warning acknowledged: Peer sends too many addresses" in shown
    assert "ana: looks like <script>\\x1b[31m" in shown
    lines(capfd, "incidents", "resolve", id_, "our own crawler", "--who", "bob")
    shown = "\n".join(lines(capfd, "incidents", "show", id_))
    assert "resolve by bob: our own crawler" in shown
    assert "members       1\n" in f"{shown}\n", "nothing fires in an incident that is resolved"
    assert "note by ana: looks like" in shown
    whole = json.loads(lines(capfd, "incidents", "show", id_, "--json")[0])
    assert (whole["state"], whole["acknowledged_by"]) == ("resolved", "ana")
    assert [change["text"] for change in whole["changes"]][1:] == ["by ana", "by bob"]
    assert lines(capfd, "incidents", "ack", id_, "--who", "eve", code=2) == [
        f"watchdog: incident '{id_}' is resolved: it cannot be acknowledged"
    ]


def test_doing_again_what_is_done_says_so(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    id_ = incident(2).id
    lines(capfd, "incidents", "ack", id_, "--who", f"ana{ODD}")
    before = lines(capfd, "incidents", "show", id_)
    (line,) = lines(capfd, "incidents", "ack", id_, "--who", f"ana{ODD}")
    assert line == f"{id_} is already acknowledged by ana<script>\\x1b[31m%s{{0}}\\u{{202e}}"
    assert lines(capfd, "incidents", "show", id_) == before
    lines(capfd, "incidents", "resolve", id_, "--who", "bob")
    assert lines(capfd, "incidents", "resolve", id_, "--who", "bob") == [f"{id_} is already resolved"]
    assert lines(capfd, "incidents", "resolve", id_, "our own", "--who", "eve") == [
        f"{id_} is already resolved; the text was added"
    ]
    assert "resolve by eve: our own" in "\n".join(lines(capfd, "incidents", "show", id_))


def test_an_older_database_is_left_to_the_service(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    older_database(place / "old.db")
    said = f"is of an older version (revision 0001, this one needs {HEAD}); 'watchdog run' of this version brings it up"
    before = (place / "old.db").read_bytes()
    for argv in (
        ("incidents", "list"),
        ("incidents", "ack", "0123"),
        ("incidents", "note", "0123", "text"),
        ("incidents", "remove", "--older-than", "90d"),
        ("deliveries", "list"),
    ):
        (line,) = lines(capfd, *argv, "--db", "old.db", code=2)
        assert line == f"watchdog: database 'old.db': {said} to date"
    assert (place / "old.db").read_bytes() == before
    assert not list(place.glob("old.db?*"))


def test_mistakes_are_one_line(place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for argv, said in (
        (("incidents", "show", "ffffffffffffffff"), "no incident 'ffffffffffffffff'"),
        (("incidents", "show", "x"), "at least its first 4 digits"),
        (("incidents", "list", "--cursor", "x"), "not one that a page of incidents has given"),
        (("incidents", "list", "--db", "postgresql://u@h:port/x"), "database URL: the port is not a number"),
        (("replay", "events:none", "--db", "postgresql://u@h:port/x"), "database URL: the port is not a number"),
        (("incidents", "note", incident(1).id, "x" * 2_001), "text of 2001 characters: at most 2000"),
        (("incidents", "ack", incident(1).id, "--who", "x" * 101), "name of 101 characters: at most 100"),
        (("incidents", "list", "--db", "none.db"), "database 'none.db': no such file"),
        (("incidents", "list", "--db", "sqlite://demo/x.db"), "three slashes: 'sqlite:///demo/x.db'"),
        (("incidents", "list", "--db", "."), "database '.': that is a folder; name the file, such as 'watchdog.db'"),
        (("incidents", "list", "--db", f"sqlite:///{place}"), "that is a folder; name the file"),
        (("incidents", "list", "--since", "soon"), "neither a duration"),
        (("incidents", "list", "--state", "closed"), "invalid choice: 'closed'"),
        (("incidents", "note", "2bd8", "asked", "the", "peer"), "several words needs quotes around it"),
        (("incidents", "show", "2bd8", "the"), "unknown argument 'the'; see"),
        (("incidents", "remove", "--older-than", "90"), "not a duration"),
        (("incidents", "export", "--redact-key-file", "none"), "redaction key 'none': no such file"),
        (("deliveries", "resend", "msg_x"), "no delivery 'msg_x'"),
    ):
        (line,) = lines(capfd, *argv, code=2)
        assert said in line
    monkeypatch.setenv("WATCHDOG_DB", "sqlite:///other.db")
    assert lines(capfd, "incidents", "list", code=2) == ["watchdog: database 'other.db': no such file"]


def test_the_help_names_the_default_database(capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("incidents", "deliveries"):
        text = " ".join(" ".join(lines(capfd, command, "list", "--help")).split())
        assert "WATCHDOG_DB, else that of the configuration, else watchdog.db in the current folder" in text


def test_the_configuration_names_the_database(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "etc").mkdir()
    config = place / "etc" / "watchdog.yaml"
    config.write_text("sources: [log:debug.log]\ndatabase: sqlite:///kept.db\n")
    (place / "watchdog.db").rename(place / "etc" / "kept.db")
    for suffix in ("-wal", "-shm"):
        if (place / f"watchdog.db{suffix}").exists():
            (place / f"watchdog.db{suffix}").rename(place / "etc" / f"kept.db{suffix}")
    for command in ("incidents", "deliveries"):
        assert len(lines(capfd, command, "list", "--jsonl", "--config", str(config))) == 3
    monkeypatch.setenv("WATCHDOG_DB", "other.db")
    assert len(lines(capfd, "incidents", "list", "--jsonl", "--config", str(config))) == 3
    monkeypatch.chdir(config.parent)
    assert lines(capfd, "incidents", "list", code=2) == ["watchdog: database 'other.db': no such file"]
    monkeypatch.delenv("WATCHDOG_DB")
    assert len(lines(capfd, "incidents", "list", "--jsonl")) == 3
    assert lines(capfd, "incidents", "list", "--db", "none.db", code=2) == [
        "watchdog: database 'none.db': no such file"
    ]
    config.write_text("sources: [log:debug.log]\ndatabas: x\n")
    (line,) = lines(capfd, "incidents", "list", code=2)
    assert "unknown key 'databas'" in line
    assert line.endswith("; --db URL names the database without it")


def test_a_filter_on_an_unknown_name_says_so(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def said(*argv: str) -> str:
        assert main(argv) == 0
        return capfd.readouterr().err

    node = incident(1).node
    assert "no incident of a node 'alic\\x1b' is kept" in said("incidents", "list", "--node", "alic\x1b")
    assert "no incident of a node 'alic' is kept" in said("incidents", "list", "--jsonl", "--node", "alic")
    (place / "key").write_text("0123456789abcdef0123456789abcdef\n")
    assert "a node 'alic'" in said("incidents", "export", "--redact-key-file", "key", "--node", "alic")
    assert said("incidents", "list", "--node", node, "--severity", "critical") == ""
    assert "no delivery to a receiver 'teem' is kept; did you mean 'team'" in said(
        "deliveries", "list", "--receiver", "teem"
    )
    assert said("deliveries", "list", "--receiver", "team", "--status", "sent") == ""


def test_old_incidents_are_removed_and_open_ones_stay(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    database = Database.open("sqlite:///watchdog.db")
    for notice in told([record(incident(3))]):
        Outbox(database).sent(notice.id, 200, START)
    database.close()
    assert lines(capfd, "incidents", "remove", "--older-than", "90d") == ["1 incident removed"]
    assert len(lines(capfd, "incidents", "list", "--jsonl")) == 2


def test_an_export_has_evidence_without_addresses(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "key").write_text("0123456789abcdef0123456789abcdef\n")
    exported = lines(capfd, "incidents", "export", "--redact-key-file", "key")
    assert len(exported) == 3
    assert "136.43" not in "".join(exported)
    assert json.loads(exported[0])["evidence"][0]["fields"]["entries"] == 1000


def test_deliveries_are_listed_and_sent_again(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(lines(capfd, "deliveries", "list", "--jsonl")) == 3
    (own,) = lines(capfd, "deliveries", "list", "--incident", incident(1).id[:6], "--jsonl")
    assert json.loads(own)["incident"] == incident(1).id
    assert lines(capfd, "deliveries", "list", "--incident", "ffff", code=2) == ["watchdog: no incident 'ffff'"]
    (dead,) = lines(capfd, "deliveries", "list", "--status", "dead", "--jsonl")
    id_ = json.loads(dead)["id"]
    table = lines(capfd, "deliveries", "list", "--status", "dead")
    assert id_ in table[1]
    assert table[2].strip() == "status 400 <script>\\x1b[31m%s{0}\\u{202e}"
    assert lines(capfd, "deliveries", "resend", id_) == [f"{id_} waits for team"]
    assert lines(capfd, "deliveries", "list", "--status", "dead") == ["no deliveries"]


def test_what_operators_said_is_shown_whatever_they_did_with_it(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Over the API an acknowledgement has a text too; a second one changes nothing, but was said."""
    id_ = incident(2).id
    done: Sequence[tuple[Verb, str, str]] = (
        ("ack", "ana", "looking"),
        ("ack", "ana", "still looking"),
        ("note", "ben", "asked the peer"),
        ("resolve", "ana", "our own crawler"),
    )
    with closing(Database.open("sqlite:///watchdog.db")) as database:
        for number, (verb, who, text) in enumerate(done):
            IncidentQueries(database).act(id_, verb, who, text, START + number)
    shown = lines(capfd, "incidents", "show", id_)
    begin = shown.index("said by operators:") + 1
    said = [line.split("  ")[-1] for line in shown[begin : begin + len(done)]]
    assert said == [f"{verb} by {who}: {text}" for verb, who, text in done]


@pytest.mark.parametrize("command", ["incidents", "deliveries"])
def test_json_is_one_document_and_jsonl_is_lines(command: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    in_lines = [json.loads(line) for line in lines(capfd, command, "list", "--jsonl")]
    assert main([command, "list", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == in_lines
    assert len(in_lines) == 3
    lines(capfd, command, "list", "--json", "--jsonl", code=2)
    none = ("--node", "none") if command == "incidents" else ("--receiver", "none")
    assert lines(capfd, command, "list", "--json", *none) == ["[]"]
    assert lines(capfd, command, "list", "--jsonl", *none) == []


def test_a_folder_without_a_database_names_the_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WATCHDOG_DB", raising=False)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    (line,) = lines(capfd, "cases", "list", code=2)
    assert line.startswith("watchdog: no watchdog.db and no watchdog.yaml in this folder; name one with --db URL, or ")
