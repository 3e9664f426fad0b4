"""When exceptions matched: kept beside the checkpoints, and what `watchdog check` says of those that are of no use."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rules.load import RuleSet, load, load_text
from tests.unit.test_rules_exceptions import RULES
from watchdog.cli.main import main
from watchdog.core.durations import DAY_NS
from watchdog.service.config.read import load_config
from watchdog.service.exception_record import NAME, ExceptionRecord, ExceptionRecords, read_records, useless_lines

NOW_NS = 1_790_000_000 * 10**9


def made(more: str = "") -> RuleSet:
    return load_text(f"{RULES}except: [{{rules: all, when: peer_addr in own, reason: ours{more}}}]\n")


def test_the_first_sight_and_the_last_match_are_kept(tmp_path: Path) -> None:
    rules = made()
    (one,) = rules.exceptions
    records = ExceptionRecords(tmp_path)
    records.note(rules.exceptions, NOW_NS, 0)
    assert read_records(tmp_path) == {one.id: ExceptionRecord(NOW_NS)}
    one.use.matched = 5
    records.note(rules.exceptions, NOW_NS + 1, 1)
    records.note(rules.exceptions, NOW_NS + 2, 2)
    assert read_records(tmp_path) == {one.id: ExceptionRecord(NOW_NS, NOW_NS + 1)}
    again = made()  # another process, or a reload: the count begins again
    (same,) = again.exceptions
    assert same.id == one.id
    later = ExceptionRecords(tmp_path)
    later.note(again.exceptions, NOW_NS + 3, 3)
    assert read_records(tmp_path) == {one.id: ExceptionRecord(NOW_NS, NOW_NS + 1)}
    same.use.matched = 1
    later.note(again.exceptions, NOW_NS + 4, 4)
    assert read_records(tmp_path)[one.id].last_ns == NOW_NS + 4
    later.note((), NOW_NS + 5, 5)
    assert read_records(tmp_path) == {}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": {"since": "x", "last": null}}', "\x00"])
def test_a_damaged_file_is_written_again(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    assert read_records(tmp_path) == {}
    ExceptionRecords(tmp_path).note(made().exceptions, NOW_NS, 0)
    assert len(read_records(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = ExceptionRecords(tmp_path / "gone")
    for second in range(3):
        records.note(made().exceptions, NOW_NS, second)
    assert len([line for line in caplog.messages if "cannot be written" in line]) == 1


def test_what_matches_nothing_for_a_week_or_has_ended_is_a_line() -> None:
    rules = made()
    (one,) = rules.exceptions
    week_ns = NOW_NS + 7 * DAY_NS
    assert useless_lines(rules.exceptions, {}, week_ns) == []
    assert useless_lines(rules.exceptions, {one.id: ExceptionRecord(NOW_NS)}, week_ns - 1) == []
    (line,) = useless_lines(rules.exceptions, {one.id: ExceptionRecord(NOW_NS)}, week_ns)
    assert line == "rules.yaml:24: this exception has matched nothing for 7 days (ours): remove it?"
    assert useless_lines(rules.exceptions, {one.id: ExceptionRecord(NOW_NS, NOW_NS + 1)}, week_ns) == []
    ended = made(", until: 2020-01-01").exceptions
    assert useless_lines(ended, {}, NOW_NS) == ["rules.yaml:24: this exception has ended (ours): remove it"]


def test_check_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "debug.log").touch()
    (tmp_path / "rules.yaml").write_text(RULES)
    config = tmp_path / "watchdog.yaml"
    config.write_text(
        "sources: ['log:debug.log']\nrules: rules.yaml\npacks: false\n"
        "except: [{rules: all, when: peer_addr in own, reason: ours}]\n"
        "silences: [{party: 203.0.113.7, until: 2020-01-01, author: anna, comment: old}]\n"
    )
    assert main(["check", "--config", str(config)]) == 0
    assert "this exception" not in (told := "".join(capsys.readouterr()))
    assert "watchdog.yaml:5: the silence of party 203.0.113.7 has ended: remove it" in told
    read = load_config(config)
    exceptions = load(read.rules, packs=read.packs, exceptions=read.exceptions).exceptions
    ExceptionRecords(read.checkpoint.folder).note(exceptions, time.time_ns() - 8 * DAY_NS, 0)
    assert main(["check", "--config", str(config)]) == 0
    assert "watchdog.yaml:4: this exception has matched nothing for 8 days (ours): remove it?" in "".join(
        capsys.readouterr()
    )


def test_nodes_with_rules_of_several_loads_share_one_record(tmp_path: Path) -> None:
    one, other = made().exceptions[0], made().exceptions[0]
    records = ExceptionRecords(tmp_path)
    records.note([one, other], NOW_NS, 0)
    one.use.matched = 1
    records.note([one, other], NOW_NS + 1, 1)
    assert read_records(tmp_path) == {one.id: ExceptionRecord(NOW_NS, NOW_NS + 1)}


def test_check_names_what_a_silence_or_a_window_names_in_vain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "debug.log").touch()
    config = tmp_path / "watchdog.yaml"
    config.write_text(
        "node: alice\nsources: ['log:debug.log']\nsilences:\n"
        "  - {technique: spyy, until: 2100-01-01, author: anna, comment: old}\n"
        "  - {rule: source-silent, node: alice, until: 2100-01-01, author: anna, comment: old}\n"
        "  - {rule: ping-flod, node: '*', until: 2100-01-01, author: anna, comment: old}\n"
        "maintenance: [{name: patch, nodes: [alcie], from: '02:00', to: '04:00'}]\n"
    )
    assert main(["check", "--config", str(config)]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "which does not exist here" in line]
    assert [line.partition("; ")[0].removeprefix("watchdog: warning: ") for line in told] == [
        "watchdog.yaml:4: the silence of technique spyy names the technique 'spyy', which does not exist here",
        "watchdog.yaml:6: the silence of rule ping-flod, node * names the rule 'ping-flod', which does not exist here",
        "watchdog.yaml:7: the maintenance window 'patch' names the node 'alcie', which does not exist here",
    ]
    assert ["did you mean 'spy'?" in told[0], "'ping-flood'?" in told[1], "'alice'?" in told[2]] == 3 * [True]
