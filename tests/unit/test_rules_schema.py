"""The JSON Schema and the reference agree with the reader, because all come from one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rules.detector import OPTIONS
from rules.functions import NUMERIC
from rules.keys import MATURITIES, RULE_KEYS
from rules.load import PACKS, check
from rules.measure_table import MEASURES
from rules.measures import CELL_FUNCTIONS
from rules.rows import TEXT_FUNCTIONS
from rules.schema import json_schema
from watchdog.core.finding import ATTACKS, SEVERITIES
from watchdog.located_yaml.nodes import Node, Scalar, Series
from watchdog.located_yaml.problem import Report
from watchdog.located_yaml.reader import read_file, read_yaml
from watchdog.located_yaml.values import parse_integer

ROOT = Path(__file__).resolve().parents[2]
BAD = ROOT / "tests" / "golden" / "rules" / "bad"
DOC = (ROOT / "docs" / "RULES.md").read_text(encoding="utf-8")
# mistakes that a schema can see; the others need the catalogue's types, other files, or YAML itself
VISIBLE = [
    "bad-duration",
    "bad-list-name",
    "bad-measure-name",
    "bad-rule-id",
    "duration-without-unit",
    "empty-title",
    "escalate-unknown-severity",
    "evidence-not-a-number",
    "evidence-too-many",
    "kind-is-table",
    "list-instead-of-table",
    "list-is-text",
    "measure-is-list",
    "missing-keys",
    "override-unknown-key",
    "rule-is-text",
    "unknown-attack",
    "unknown-key",
    "unknown-kind",
    "unknown-maturity",
    "unknown-severity",
    "unknown-top-key",
]


def data(node: Node | None) -> Any:
    """What an editor's YAML 1.2 parser hands to the schema."""
    if node is None:
        return None
    if isinstance(node, Series):
        return [data(item) for item in node.items]
    if not isinstance(node, Scalar):
        return {entry.key.text: data(entry.value) for entry in node.entries}
    if not node.plain:
        return node.text
    words = {"true": True, "false": False}
    if node.empty or node.text in words:
        return words.get(node.text)
    number = parse_integer(node.text)
    return node.text if number is None else number


def parsed(path: Path) -> Any:
    report = Report()
    source = read_file(path, report, path.name)
    assert source is not None
    return data(read_yaml(source, report))


@pytest.fixture(name="accepts")
def _accepts() -> Callable[[Any], bool]:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(json_schema())
    validator = Draft202012Validator(json_schema())
    return lambda value: bool(validator.is_valid(value))


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_the_schema_accepts_the_shipped_packs(accepts: Callable[[Any], bool]) -> None:
    for path in sorted(PACKS.glob("*.yaml")):
        assert accepts(parsed(path)), path.name


@pytest.mark.parametrize("name", VISIBLE)
def test_the_schema_rejects_a_mistake_that_it_can_see(accepts: Callable[[Any], bool], name: str) -> None:
    assert not accepts(parsed(BAD / f"{name}.yaml"))


@pytest.mark.parametrize("key", [key for key in RULE_KEYS if key.required], ids=lambda key: key.name)
def test_the_reader_asks_for_what_the_schema_requires(key: Any, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("rules:\n  some-rule: {}\n")
    messages = [problem.message for problem in check([tmp_path], packs=False)]
    assert f"rule 'some-rule' lacks '{key.name}'" in messages
    assert key.name in json_schema()["properties"]["rules"]["additionalProperties"]["required"]


@pytest.mark.parametrize(
    "word", [*MEASURES, *CELL_FUNCTIONS, *NUMERIC, *TEXT_FUNCTIONS, *OPTIONS, *MATURITIES, *ATTACKS, *SEVERITIES]
)
def test_the_reference_names_every_word_of_the_language(word: str) -> None:
    assert f"`{word}" in DOC


@pytest.mark.parametrize("option", OPTIONS)
def test_the_reference_gives_the_default_of_every_detector_option(option: str) -> None:
    default, about = OPTIONS[option]
    assert f"| `{option}` | `{default}` | {about} |" in DOC


def test_the_examples_of_the_reference_load(tmp_path: Path) -> None:
    blocks = [part.split("```")[0] for part in DOC.split("```yaml\n")[1:]]
    assert blocks
    for number, block in enumerate(blocks):
        (tmp_path / f"{number:02d}.yaml").write_text(block, encoding="utf-8")
    assert [problem.render() for problem in check([tmp_path], packs=False)] == []
