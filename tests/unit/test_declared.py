"""Declared tracepoints are kinds like any other: for rules, `events`, schemas, recordings and rules as text."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from rules.digest import rule_hash
from rules.load import PACKS, load, load_text
from rules.portable import from_text, to_text
from rules.schema import json_schema
from tests.support.catalogue import check_batch
from tests.support.declared import only_here
from tests.support.events import batch, one_slice
from watchdog.archive.writer import EventsWriter
from watchdog.cli.main import main
from watchdog.core.batch import Blobs
from watchdog.core.declared import Declaration, declaration_of, declare, declared, from_columns
from watchdog.core.errors import RuleError, WatchdogError
from watchdog.core.kinds import ALL_KINDS, KINDS, any_kinds, chosen_kinds, kind_named
from watchdog.docs_build.event_pages import markdown
from watchdog.engine.engine import Engine
from watchdog.located_yaml.problem import RuleSetError
from watchdog.pipeline.pipeline import Pipeline
from watchdog.service.capabilities import capabilities
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.schema import config_schema
from watchdog.service.reload import needs_restart

FIBRE = PACKS / "optional" / "fibre.yaml"
TAIL = "udp:tail"
CONFIG = """
sources: ['log:debug.log']
tracepoints:
  udp:tail: [level: i8, took_us: u32, data: bytes(took_us), last: bool]
"""
RULE = """
rules:
  slow:
    title: Slow
    attack: node
    severity: info
    on: udp:tail
    where: level >= 0 and not last
    measure: {most: max(took_us)}
    over: 1m
    fire: most > 7
"""
FIELDS = (("level", "i8"), ("took_us", "u32"), ("data", "bytes(took_us)"), ("last", "bool"))
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _here() -> Iterator[None]:
    with only_here():
        yield


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("udp", [], "a tracepoint is PROVIDER:NAME"),
        ("udp:a:b", [], "a tracepoint is PROVIDER:NAME"),
        ("udp:\x1b", [], "a tracepoint is PROVIDER:NAME"),
        ("a" * 129 + ":b", [], "a tracepoint is PROVIDER:NAME"),
        ("mempool:added", [], "'mempool:added' is a kind of the catalogue already"),
        ("a:b", [("x", "u8")] * 13, "13 fields; a tracepoint has 12 arguments at most"),
        ("a:b", [("X", "u8")], "field 'X': a name has small letters"),
        ("a:b", [("x" * 65, "u8")], "a name has small letters"),
        ("a:b", [("kind", "u8")], "field 'kind': every kind has a field of this name already"),
        ("a:b", [("time_ns", "u8")], "field 'time_ns': every kind has a field of this name already"),
        ("a:b", [("x", "u8"), ("x", "u8")], "field 'x' is there twice"),
        ("a:b", [("x", "f64")], "field 'x': unknown type 'f64'; types are i8, i16, i32"),
        ("a:b", [("x", "bytes")], "unknown type 'bytes'"),
        ("a:b", [("x", "bytes(y)")], "field 'x': 'y' is no whole number of this tracepoint"),
        ("a:b", [("x", "bytes(y)"), ("y", "str")], "'y' is no whole number of this tracepoint"),
        ("a:b", [("x", "bytes(x)")], "'x' is no whole number of this tracepoint"),
    ],
)
def test_a_wrong_declaration_is_one_sentence(name: str, fields: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(WatchdogError) as caught:
        declaration_of(name, fields)
    assert message in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_declared_tracepoint_is_a_kind() -> None:
    assert TAIL not in KINDS
    declare([declaration_of(TAIL, FIELDS)])
    kind = kind_named(TAIL)
    assert [(one.name, one.type) for one in kind.fields.values()] == [
        ("time_ns", "i64"), ("level", "i32"), ("took_us", "u32"), ("data", "bytes"), ("last", "bool"),
    ]  # fmt: skip
    assert chosen_kinds(["udp"]) == frozenset({TAIL})
    assert any_kinds() == ALL_KINDS | {TAIL}
    row = {"t": 1, "level": -3, "took_us": 9, "last": True, "data": b"\x01"}
    check_batch(batch(TAIL, [row]))


def test_a_kind_is_declared_once_and_there_are_64_at_most() -> None:
    one = declaration_of(TAIL, FIELDS)
    declare([one, one])
    with pytest.raises(WatchdogError, match="tracepoint 'udp:tail' was declared with other fields; declare it once"):
        declare([declaration_of(TAIL, FIELDS[:2])])
    with pytest.raises(WatchdogError, match="more than 64 declared tracepoints"):
        declare(declaration_of(f"many:n{number}", []) for number in range(65))


def test_a_declaration_survives_the_columns_of_the_stream() -> None:
    one = declaration_of(TAIL, [*FIELDS, ("hash", "bytes32"), ("peer", "str")])
    assert one.columns[:3] == (("level", "i32", "i8"), ("took_us", "u32", ""), ("data", "bytes", "took_us"))
    assert from_columns(TAIL, one.columns) == one
    assert from_columns(TAIL, [("x", "u64", "")]) == Declaration("udp", "tail", (("x", "u64"),))
    for columns in ([("x", "u64", "i8")], [("x", "prefix", "")], [("x", "bytes", "y")], [("x", "str", "bytes32")]):
        with pytest.raises(WatchdogError):
            from_columns(TAIL, columns)


def test_a_configuration_declares_and_a_rule_reads(tmp_path: Path) -> None:
    (tmp_path / "watchdog.yaml").write_text(CONFIG)
    with pytest.raises(RuleSetError, match="unknown kind 'udp:tail'"):
        load_text(RULE)
    config = load_config(tmp_path / "watchdog.yaml")
    assert config.tracepoints == declared() == (declaration_of(TAIL, FIELDS),)
    rules = load_text(RULE)
    found = capabilities(rules.plans, {"log:a": frozenset({"log:tip"})})["slow"]
    assert (found.can_fire, found.lacks) == (False, ("tracepoint",))
    assert capabilities(rules.plans, {"stream:a": any_kinds()})["slow"].can_fire is not False
    with pytest.raises(RuleSetError, match="unknown field 'levle'"):
        load_text(RULE.replace("level", "levle"))


def test_wrong_declarations_are_mistakes_with_their_place(tmp_path: Path) -> None:
    lines = ["a:b: {x: u8}", "a:c: [x]", "a:d: [x: {y: u8}]", "a:e: [{x: u8, y: u8}]", "a:f: [x: u128]", "a g: []"]
    (tmp_path / "watchdog.yaml").write_text(
        "sources: ['log:a']\ntracepoints:\n" + "".join(f"  {one}\n" for one in lines)
    )
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "watchdog.yaml")
    assert [problem.place.line for problem in caught.value.problems] == [3, 4, 5, 6, 7, 8]
    assert not declared()


def test_the_hash_of_a_rule_follows_the_declaration() -> None:
    with only_here():
        declare([declaration_of(TAIL, FIELDS)])
        first = rule_hash(load_text(RULE).plans[0])
    declare([declaration_of(TAIL, [("level", "i8"), ("took_us", "u64"), ("last", "bool")])])
    assert rule_hash(load_text(RULE).plans[0]) != first


def test_rules_as_text_bring_their_tracepoints() -> None:
    with only_here():
        declare([declaration_of(TAIL, FIELDS), declaration_of("not:read", [])])
        text = to_text(load_text(RULE))
    assert json.loads(text)["tracepoints"] == {TAIL: [list(one) for one in FIELDS]}
    code = "import sys; from rules.portable import from_text; print(from_text(sys.argv[1]).hash)"
    done = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == from_text(text).hash


@pytest.mark.parametrize(
    "tracepoints",
    [
        [],
        {TAIL: {}},
        {TAIL: ["ab"]},
        {TAIL: [["x"]]},
        {TAIL: [["x", 7]]},
        {TAIL: [["x", "f64"]]},
        {"mempool:added": []},
    ],
)
def test_a_hostile_text_is_one_line(tracepoints: object) -> None:
    with only_here():
        declare([declaration_of(TAIL, FIELDS)])
        content = json.loads(to_text(load_text(RULE)))
    with pytest.raises(RuleError, match="rules text: ") as caught:
        from_text(json.dumps({**content, "tracepoints": tracepoints}))
    assert "\n" not in str(caught.value)


def test_the_schemas_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "watchdog.yaml").write_text(CONFIG)
    document = {"sources": ["log:a"], "tracepoints": {TAIL: [{"level": "i8"}, {"data": "bytes(level)"}], "a:b": []}}
    jsonschema.validate(document, config_schema())
    wrong: list[object] = [
        {"a": []},
        {TAIL: [{"x": "u8", "y": "u8"}]},
        {TAIL: [{"x": "f64"}]},
        {TAIL: {}},
        {TAIL: [{"x": "u8"}] * 13},
    ]
    for one in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"sources": ["log:a"], "tracepoints": one}, config_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"tracepoints": {TAIL: "x"}}, json_schema())
    monkeypatch.chdir(tmp_path)
    assert main(["rules", "schema"]) == 0
    kinds = json.loads(capsys.readouterr().out)["properties"]["rules"]["additionalProperties"]["properties"]["on"]
    assert TAIL in json.dumps(kinds)


def test_events_and_the_checker_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "watchdog.yaml").write_text(CONFIG)
    (tmp_path / "rules.yaml").write_text(RULE)
    assert main(["rules", "check", "--no-packs", str(tmp_path / "rules.yaml")]) == 1
    assert main(["events", TAIL, "--config", str(tmp_path / "watchdog.yaml")]) == 0
    assert "  data     bytes  took_us  Argument 3 of the tracepoint, bytes(took_us)\n" in capsys.readouterr().out
    with only_here():
        monkeypatch.chdir(tmp_path)
        assert main(["rules", "check", "--no-packs", "rules.yaml"]) == 0
    assert main(["events", "--config", "missing.yaml"]) == 2
    assert "missing.yaml: cannot read: no such file" in capsys.readouterr().err


def test_the_page_of_events_stays_the_catalogue() -> None:
    before = markdown()
    declare([declaration_of(TAIL, FIELDS)])
    assert markdown() == before


def test_fibre_is_off_by_default() -> None:
    assert "fibre-slow" not in load([]).sources
    assert not declared()


def test_a_rule_on_a_quantile_of_fibre_fires() -> None:
    plans = load([FIBRE], packs=False).plans
    course = Pipeline(Engine(plans, {"hand": any_kinds()}))
    times_ms = [-1, 200, 210, 220, 230, 1_500, 1_600]
    rows = [
        {"t": 1_700_000_000 + 600 * at, "udp_ns": ms * 10**6 if ms > 0 else -1, "udp_peer": "203.0.113.5:8333"}
        for at, ms in enumerate(times_ms)
    ]
    course.process(one_slice([batch("udp:block_race_time", rows)], 1_700_000_000 + 4_000))
    (slow,) = [one for one in course.books.incidents() if one.rule == "fibre-slow"]
    assert (slow.severity, slow.opened_ns // 10**9) == ("warning", 1_700_003_040)
    assert isinstance(batch("udp:block_race_time", rows).columns["hash"], Blobs)
    assert np.count_nonzero(batch("udp:block_race_time", rows).columns["udp_ns"] == -1) == 1


def test_a_running_service_names_what_a_reload_leaves(tmp_path: Path) -> None:
    (tmp_path / "watchdog.yaml").write_text(CONFIG)
    before = load_config(tmp_path / "watchdog.yaml")
    (tmp_path / "watchdog.yaml").write_text(CONFIG + "  udp:more: [x: u8]\n")
    assert needs_restart(before, load_config(tmp_path / "watchdog.yaml")) == ["tracepoints"]
    (tmp_path / "watchdog.yaml").write_text(CONFIG.replace("level: i8", "level: i16"))
    with pytest.raises(ConfigError, match="restart a running service after a change"):
        load_config(tmp_path / "watchdog.yaml")


def test_the_recorder_records_them_by_default(tmp_path: Path) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(f"{CONFIG}recorder: {{folder: recorder}}\n")
    recorder = load_config(path).nodes[0].recorder
    assert recorder is not None
    assert TAIL in recorder.kinds


def test_events_of_declared_kinds_are_recorded_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "watchdog.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    with only_here():
        declare([declaration_of(TAIL, FIELDS)])
        rows = [{"t": 1_700_000_000 + at, "level": -at, "took_us": 9, "data": bytes([at])} for at in range(3)]
        with EventsWriter(tmp_path / "x.events", ("hand",), kinds={"hand": frozenset({TAIL})}) as writer:
            writer.write(one_slice([batch(TAIL, rows)], 1_700_000_010))
        assert "udp:tail" in any_kinds()
    assert "udp:tail" not in any_kinds()
    assert main(["export", "x.events", "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["kind"], one["level"], one["data"]) for one in lines] == [(TAIL, -at, f"{at:02x}") for at in range(3)]
    with only_here():
        assert main(["tap", "events:x.events", "--kinds", TAIL, "--where", "level < 0", "--format", "json"]) == 0
    assert [json.loads(line)["level"] for line in capsys.readouterr().out.splitlines()] == [-1, -2]
