"""`--fleet` and `--config` of replay, record and evaluate: several nodes on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.rulesets import FULL_AT_TWO
from tests.support.service_process import mempool_line
from watchdog.cli.main import main
from watchdog.core.finding import FLEET

RULES = (
    FULL_AT_TWO
    + """
  full-at-one:
    title: The mempool of a node is full
    attack: resource
    severity: warning
    on: rpc:mempool
    measure: {most: max(txs)}
    over: 10s
    fire: most > 100
"""
)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    for name, size in (("alice", 600), ("bob", 700), ("carol", 10)):
        lines = [mempool_line(10 * step, size if 2 <= step < 8 else 10) for step in range(20)]
        (tmp_path / f"{name},1.jsonl").write_text("".join(lines))  # a path may have a comma
    return tmp_path


def replayed(folder: Path, capfd: pytest.CaptureFixture[str], *arguments: str) -> list[tuple[str, str]]:
    assert main(["replay", *arguments, "--no-packs", "--rules", str(folder / "rules.yaml")]) == 0
    return sorted((one["node"], one["rule"]) for one in map(json.loads, capfd.readouterr().out.splitlines()))


def nodes_of(folder: Path) -> list[str]:
    return [f"{name}=snapshots:{folder}/{name},1.jsonl" for name in ("alice", "bob", "carol")]


WANTED = [(FLEET, "full-at-two"), ("alice", "full-at-one"), ("bob", "full-at-one")]


def test_cases_of_several_nodes_and_of_the_house(recorded: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rules = ["--no-packs", "--rules", str(recorded / "rules.yaml")]
    assert main(["replay", "--cases", "--fleet", *nodes_of(recorded), *rules]) == 0
    cases = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert sorted((one["node"], one["headline"]) for one in cases) == [
        ("*", "The mempool is full at two nodes"),
        ("alice", "The mempool of a node is full"),
        ("bob", "The mempool of a node is full"),
    ]
    assert main(["replay", "--cases", "--table", "--fleet", *nodes_of(recorded), *rules]) == 0
    assert "NODE" in capfd.readouterr().out.splitlines()[0]


def test_a_replay_of_several_nodes(recorded: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert replayed(recorded, capfd, "--fleet", *nodes_of(recorded)) == WANTED
    alone = replayed(recorded, capfd, f"snapshots:{recorded}/alice,1.jsonl", "--node", "alice")
    assert alone == [("alice", "full-at-one")], "with one node nothing is compared"


def test_the_nodes_of_a_configuration(recorded: Path, capfd: pytest.CaptureFixture[str]) -> None:
    nodes = "".join(f"  {name}: {{sources: 'snapshots:{name},1.jsonl'}}\n" for name in ("alice", "bob", "carol"))
    (recorded / "watchdog.yaml").write_text(f"nodes:\n{nodes}")
    assert replayed(recorded, capfd, "--config", str(recorded / "watchdog.yaml")) == WANTED


def test_a_recording_of_several_nodes_replays_as_they_did(recorded: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = recorded / "fleet"
    assert main(["record", "--fleet", *nodes_of(recorded), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["alice.events", "bob.events", "carol.events"]
    capfd.readouterr()
    again = [f"{name}=events:{out}/{name}.events" for name in ("alice", "bob", "carol")]
    assert replayed(recorded, capfd, "--fleet", *again) == WANTED
    renamed = [f"{name}-2=events:{out}/{name}.events" for name in ("alice", "bob")]
    assert replayed(recorded, capfd, "--fleet", *renamed) == [
        (FLEET, "full-at-two"),
        ("alice-2", "full-at-one"),
        ("bob-2", "full-at-one"),
    ]


def test_labels_of_several_nodes(recorded: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("alice", "bob"):
        folder = recorded / name
        folder.mkdir()
        (recorded / f"{name},1.jsonl").rename(folder / "snapshots.jsonl")
        (folder / "labels.json").write_text("[]")
    fleet = [f"{name}=recording:{recorded}/{name}" for name in ("alice", "bob")]
    code = main(["evaluate", "--fleet", *fleet, "--no-packs", "--rules", str(recorded / "rules.yaml"), "--json"])
    assert code == 0
    scores = json.loads(capfd.readouterr().out)["recordings"]
    assert [(one["name"], one["incidents"]) for one in scores] == [("alice", 1), ("bob", 1), (FLEET, 1)]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "no source is named"),
        (["log:a", "--fleet", "alice=log:b"], "SOURCE and --fleet are alternatives"),
        (["--fleet", "alice"], "'alice' is not NODE=SOURCE"),
        (["--fleet", "alice="], "'alice=' is not NODE=SOURCE"),
        (["--fleet", "a b=log:x"], "bad name of a node 'a b'"),
        (["--fleet", "alice=log:a", "alice=log:b"], "node 'alice' is given twice"),
        (["--fleet", "alice=log:a", "bob=log:a"], "source 'log:a' is one of alice and of bob"),
        (["--fleet", "alice=lgo:a"], "unknown kind of source 'lgo'"),
        (["--fleet", "alice=log:a", "--checkpoint", "x"], "--checkpoint is for one node"),
        (["--fleet", "alice=log:a", "--db", "sqlite:///x.db"], "--db is for one node"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_mistakes(
    arguments: list[str],
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["replay", *arguments]) == 2
    assert wanted in capfd.readouterr().err
