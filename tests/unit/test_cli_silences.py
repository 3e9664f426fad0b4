"""`watchdog silences`: adding, listing, extending, expiring and previewing, without a service."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from alerts.case.document import stored_cases
from alerts.claims import RuleWords, no_words
from alerts.render import as_object
from alerts.silence import ClaimSilence
from alerts.silence_preview import previewed, silenced_lines
from alerts.store.database import Database
from alerts.store.silences import Silences
from alerts.store.writer import IncidentWriter
from tests.support.case_rig import CaseRig
from tests.support.history import START, incident, record
from watchdog.cli.main import main

DAY_S = 86_400


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database of one open incident."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'watchdog.db'}"
    monkeypatch.setenv("WATCHDOG_DB", url)
    database = Database.open(url)
    IncidentWriter(database).record((record(incident()),), (), ())
    database.close()
    return tmp_path


def said(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Run the command; return what it printed."""
    assert main(["silences", *arguments]) == code
    found = capfd.readouterr()
    return found.out if code == 0 else found.err


def test_a_silence_has_a_life(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert said(capfd, "list") == "no silences\n"
    added = said(
        capfd, "add", "--party", "136.43.1.0/24", "--for", "4h", "--who", "anna", "--comment", "our \x1b[31mcrawler"
    )
    assert added.startswith("silence 1 added until ")
    assert added.endswith("(UTC): party 136.43.1.0/24\n")
    listed = said(capfd, "list")
    assert "3h 59m left" in listed
    assert "anna: our \\x1b[31mcrawler" in listed
    said(capfd, "extend", "1", "--for", "8h", "--who", "ben")
    (one,) = json.loads(said(capfd, "list", "--json"))
    assert one["changed_by"] == "ben"
    assert one["until"] == pytest.approx(time.time() + 8 * 3_600, abs=60)
    assert said(capfd, "expire", "1", "--who", "carla") == "silence 1 expired: party 136.43.1.0/24\n"
    assert said(capfd, "list") == "no silences\n"
    assert "expired" in said(capfd, "list", "--all")
    assert "silence 1 is over" in said(capfd, "expire", "1", code=2)
    assert "no silence '2'" in said(capfd, "extend", "2", "--for", "1h", code=2)
    assert place.joinpath("watchdog.db").exists()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--for", "4h"), "needs a party, a rule or a technique"),
        (("--party", "nowhere", "--for", "4h"), "is not an address"),
        (("--party", "136.43.1.1", "--for", "31d"), "30 days at most"),
        (("--party", "136.43.1.1", "--until", "2020-01-01"), "must end in the future"),
        (("--party", "136.43.1.1", "--for", "4h", "--who", ""), "needs an author"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: tuple[str, ...], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    told = said(capfd, "add", *arguments, "--comment", "x", code=2)
    assert words in told
    assert told.count("\n") == 1


@pytest.mark.usefixtures("place")
def test_an_unknown_rule_or_technique_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["silences", "add", "--rule", "ping-floods", "--for", "1h", "--comment", "x"]) == 0
    assert "no rule 'ping-floods' is loaded here" in capfd.readouterr().err
    assert main(["silences", "add", "--rule", "source-silent", "--for", "1h", "--comment", "x"]) == 0
    assert capfd.readouterr().err == ""


def test_an_unknown_node_is_named(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "watchdog.yaml").write_text("node: alice\nsources: ['log:debug.log']\n")
    unknown = "watchdog: no node 'alcie' is configured; is the name right?\n"
    for node, heard in (("alcie", unknown), ("*", ""), ("*fleet*", "")):
        assert main(["silences", "add", "--party", "1.2.3.4", "--node", node, "--for", "1h", "--comment", "x"]) == 0
        assert capfd.readouterr().err == heard
    assert [one["node"] for one in json.loads(said(capfd, "list", "--json"))] == ["alcie", "*", "*"]


@pytest.mark.usefixtures("place")
def test_a_preview_says_what_would_have_been_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    whole = said(capfd, "preview", "--party", "136.43.0.0/16")
    assert "held back  warning" in whole
    assert whole.endswith("party 136.43.0.0/16: 1 held back, 0 in part, of 1 incident, open or of the last 7 days\n")
    assert ": 0 held back, 0 in part" in said(capfd, "preview", "--party", "136.44.0.0/16")
    (one,) = json.loads(said(capfd, "preview", "--rule", "addr-beyond-limit", "--json"))
    assert (one["extent"], one["held"], one["heard"]) == ("whole", ["136.43.0.0/16"], [])
    assert json.loads(said(capfd, "preview", "--rule", "addr-beyond-limit", "--node", "other", "--json")) == []
    assert said(capfd, "list") == "no silences\n"


def test_a_preview_tells_part_from_whole_and_hears_what_must_be_heard() -> None:
    two = as_object(incident(entities=("136.43.1.1", "20.1.2.3"), key={}), "")
    one = ClaimSilence("", 0, 1, "anna", "x", party="136.43.0.0/16")
    words = RuleWords("spy")
    assert previewed(one, two, words).extent == "part"
    assert previewed(one, two, words).heard == ("20.1.0.0/16",)
    critical = as_object(incident(severity="critical"), "")
    by_rule = ClaimSilence("", 0, 1, "anna", "x", rule="addr-beyond-limit")
    assert previewed(by_rule, critical, no_words("addr-beyond-limit")).extent == "none"
    assert previewed(one, critical, words).extent == "whole"
    assert previewed(one, two, RuleWords("tip", role="state")).extent == "none"
    assert previewed(one, two, RuleWords("x", role="witness")).extent == "none"
    assert previewed(one, critical, RuleWords("table-group", forged=True)).extent == "none"


def test_an_incident_says_which_silences_held_it_back() -> None:
    own = as_object(incident(), "")
    opened_ns = int(float(str(own["opened"])) * 1e9)
    words = RuleWords("spy")

    def lines(from_ns: int, until_ns: int, party: str = "136.43.0.0/16") -> list[str]:
        one = ClaimSilence("4", from_ns, until_ns, "anna", "our crawler", party=party)
        return silenced_lines([one], own, words)

    (line,) = lines(0, opened_ns + 1)
    assert line.startswith("held back: silenced (136.43.0.0/16: silenced by anna until 2023-11-14 22:13:2")
    assert line.endswith(": our crawler (silence 4))")
    assert lines(0, opened_ns) == []
    assert lines(opened_ns + 10**12, opened_ns + 10**13) == []
    assert lines(0, opened_ns + 1, "136.44.0.0/16") == []


def test_why_names_the_silence_of_an_incident_without_a_case(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = CaseRig()
    rig.say("ping-flood", ["20.1.1.1"], 0)
    rig.until(5)
    database = Database.open(f"sqlite:///{place / 'watchdog.db'}")
    (case,) = rows = stored_cases(rig.feed.book)
    IncidentWriter(database).record((), (), rows)
    one = ClaimSilence("", 0, START + 10**13, "anna", "ours", party="136.43.1.1")
    Silences(database).add(one, START - 10**9)
    database.close()
    monkeypatch.setattr(time, "time_ns", lambda: START + 10**9)
    assert main(["cases", "why", case.id, incident().id]) == 0
    assert "held back: silenced (136.43.0.0/16: silenced by anna" in capfd.readouterr().out
    assert main(["cases", "why", case.id, "0123456789abcdef"]) == 2
    assert "has no incident" in capfd.readouterr().err


def test_those_of_the_configuration_are_listed(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "debug.log").touch()
    (place / "watchdog.yaml").write_text(
        "sources: ['log:debug.log']\n"
        "silences:\n"
        "  - {technique: spy, until: 2126-01-01, author: anna, comment: our crawler}\n"
        "  - {party: 203.0.113.7, until: 2020-01-01T12:00+01:00, author: anna, comment: long over}\n"
    )
    listed = said(capfd, "list")
    assert "watchdog.yaml:3" in listed
    assert "critical, outbound and view still notify" in listed
    assert "long over" not in listed
    assert "long over" in said(capfd, "list", "--all")
    assert "those of the configuration are changed there" in said(capfd, "expire", "file:01234567", code=2)


@pytest.mark.parametrize(
    ("key", "entry", "words"),
    [
        ("silences", "{party: 203.0.113.7, until: 2126-01-01, author: anna}", "lacks 'comment'"),
        ("silences", "{party: 203.0.113.7, author: anna, comment: x}", "lacks 'until'"),
        ("silences", "{until: 2126-01-01, author: anna, comment: x}", "needs a party, a rule or a technique"),
        ("silences", "{party: 203.0.113.7/8, until: 2126-01-01, author: anna, comment: x}", "write 203.0.0.0/8"),
        ("silences", "{party: 203.0.113.7, until: soon, author: anna, comment: x}", "is not a date"),
        ("silences", "{party: 203.0.113.7, untl: 2126-01-01, author: anna, comment: x}", "did you mean 'until'"),
        ("silences", "all", "must be a table"),
        ("maintenance", '{name: x, from: "02:00"}', "lacks 'to'"),
        ("maintenance", '{name: x, from: "2:00", to: "04:00"}', "not a time of day"),
        ("maintenance", '{name: x, from: "02:00", to: "24:00"}', "not a time of day"),
        ("maintenance", '{name: x, from: "02:00", to: "04:00", zone: Europe/Bonn}', "unknown time zone"),
        ("maintenance", '{name: x, from: "02:00", to: "04:00", zone: ../etc/passwd}', "unknown time zone"),
        ("maintenance", '{name: x, from: "02:00", to: "04:00", days: tuesday}', "unknown days 'tuesday'"),
        ("maintenance", '{name: x, from: "02:00", to: "04:00", keeps: worst}', "unknown keeps 'worst'"),
    ],
)
def test_a_mistake_in_the_file_has_its_place(
    tmp_path: Path, key: str, entry: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "debug.log").touch()
    config = tmp_path / "watchdog.yaml"
    config.write_text(f"sources: ['log:debug.log']\n{key}:\n  - {entry}\n")
    assert main(["check", "--config", str(config)]) == 1
    told = capfd.readouterr().out
    assert words in told
    assert "watchdog.yaml:3:" in told
