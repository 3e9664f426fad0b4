"""`watchdog rules`: exit codes and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from watchdog.cli.main import main

BAD = Path(__file__).resolve().parents[1] / "golden" / "rules" / "bad"
RULE = """rules:
  my-rule:
    title: Mine
    attack: node
    severity: info
    on: node:started
    over: 1h
    fire: count() > 3
"""


def test_right_rules_exit_with_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(RULE)
    assert main(["rules", "check", "--no-packs", str(path)]) == 0
    assert capsys.readouterr().out.startswith("1 rule, no mistakes, hash ")


def test_every_mistake_is_printed_and_exits_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    path = BAD / "three-mistakes.yaml"
    assert main(["rules", "check", "--no-packs", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines if line.startswith(str(path))] == [
        f"{path}:7:12",
        f"{path}:10:17",
        f"{path}:11:11",
    ]
    hints = [line for line in lines if "hint: did" in line]
    assert hints
    assert all(line.startswith("  hint: did you mean") for line in hints)


def test_a_file_that_cannot_be_read_exits_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", str(tmp_path / "none.yaml")]) == 2
    assert capsys.readouterr().err == f"watchdog: {tmp_path / 'none.yaml'}: cannot read: no such file or directory\n"


def test_the_list_has_a_line_for_each_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(RULE)
    assert main(["rules", "list", "--no-packs", "--rules", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "my-rule  info  incubating  node  Mine\n"


def test_the_json_list_holds_what_other_programs_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(RULE)
    assert main(["rules", "list", "--json", "--rules", str(tmp_path)]) == 0
    found = {rule["id"]: rule for rule in json.loads(capsys.readouterr().out)}
    assert found["my-rule"]["over_s"] == 3600
    assert found["my-rule"]["kinds"] == ["node:started"]
    assert len(found) > 1


def test_a_rule_is_shown_with_the_place_of_each_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, change = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text(RULE)
    change.write_text("overrides:\n  my-rule: {over: 2h}\n")
    assert main(["rules", "show", "my-rule", "--no-packs", "--rules", str(path), "--rules", str(change)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  over: 2h  # {change}:2" in lines
    assert f"  title: Mine  # {path}:3" in lines


def test_an_unknown_rule_is_one_line_and_exit_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "show", "no-such-rule"]) == 2
    assert capsys.readouterr().err == "watchdog: no rule 'no-such-rule'; see 'watchdog rules list'\n"


def test_a_rule_of_a_pack_that_is_not_used_names_the_pack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "show", "tx-normal-moved"]) == 2
    said = capsys.readouterr().err
    assert (
        "is in the pack 'drift', which is not in use here; give a configuration with 'packs: [default, drift]'" in said
    )
    config = tmp_path / "watchdog.yaml"
    config.write_text("sources: ['log:debug.log']\npacks: [default, drift]\n")
    assert main(["rules", "show", "tx-normal-moved", "--config", str(config)]) == 0


def test_a_broken_rule_set_stops_the_list_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    path = BAD / "unknown-top-key.yaml"
    assert main(["rules", "list", "--rules", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"watchdog: {path}:1:1: unknown key 'rulez'")


def test_warnings_go_to_standard_error_and_change_no_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{RULE}overrides:\n  my-rule: {{expects: abc, over: 2h}}\n")
    assert main(["rules", "check", "--no-packs", str(path)]) == 0
    first, excerpt, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"watchdog: warning: {path}:10:22: rule 'my-rule' has changed")
    assert excerpt == "     10 |   my-rule: {expects: abc, over: 2h}"


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "bitcoin-watchdog rules"


def test_an_id_with_a_slip_names_the_nearest_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "show", "addr-beyond-limits"]) == 2
    expected = "no rule 'addr-beyond-limits', did you mean 'addr-beyond-limit'; see 'watchdog rules list'"
    assert expected in capsys.readouterr().err


def test_one_rule_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "show", "addr-beyond-limit", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["id"], found["severity"]) == ("addr-beyond-limit", "warning")
    assert "packs/addr-flooding.yaml:" in found["places"]["fire"]
    assert f"hash {found['hash']}" in found["text"]
    assert main(["rules", "list", "--json", "--no-packs"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_list_and_show_read_the_configuration_of_this_folder_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(RULE)
    (tmp_path / "watchdog.yaml").write_text("sources: [log:debug.log]\nrules: [mine.yaml]\n")
    said = "watchdog: these are the rules of watchdog.yaml in this folder\n"
    assert main(["rules", "list"]) == 0
    listed = capsys.readouterr()
    assert ("\nmy-rule " in listed.out, listed.err) == (True, said)
    assert main(["rules", "show", "my-rule", "--json"]) == 0
    shown = capsys.readouterr()
    assert (json.loads(shown.out)["can_fire"], shown.err) == (True, said)
    assert main(["rules", "show", "my-rule", "--config", "watchdog.yaml"]) == 0
    assert capsys.readouterr().err == "", "a file that was named needs no word"
    (tmp_path / "watchdog.yaml").write_text("sources: [log:debug.log]\nrulez: [mine.yaml]\n")
    assert main(["rules", "list"]) == 0
    listed = capsys.readouterr()
    assert "my-rule" not in listed.out
    assert "the shipped rules are shown" in listed.err
    assert main(["rules", "list", "--config", "watchdog.yaml"]) == 2


def test_a_file_without_anything_in_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("# rules:\n")
    assert main(["rules", "check", str(path)]) == 0
    assert f"watchdog: warning: {path}:1:1: nothing in this file" in capsys.readouterr().err
