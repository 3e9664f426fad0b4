"""README.md and docs/COMMANDS.md against the program: commands are run, tables compared with their subject."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from fnmatch import fnmatch
from io import StringIO
from pathlib import Path

import pytest

from alerts.incident import Incident, IncidentState
from alerts.render import as_object
from tests.support.readme import README, Step, normalised, outputs, renewed, steps
from watchdog.cli.main import available, main
from watchdog.core.kinds import KINDS
from watchdog.sources.registry import syntaxes

WITH_ACTIONS = ("audit", "rules", "receivers", "incidents", "cases", "silences", "deliveries")
TEXT = README.read_text(encoding="utf-8")
COMMANDS = (README.parent / "docs" / "COMMANDS.md").read_text(encoding="utf-8")


def rows(heading: str, text: str = TEXT) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = text.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    tables = re.findall(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in tables[0].splitlines()[2:]]


def coded(cell: str) -> list[str]:
    """What stands in back quotes."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.slow
def test_every_command_prints_what_the_readme_shows(tmp_path: Path) -> None:
    found = list(steps(TEXT))
    assert sum(step.shown is not None for step in found) >= 5
    for step, printed in zip(found, outputs(found, tmp_path), strict=True):
        assert normalised(printed) == normalised(step.shown or ""), f"{step.command}: run make docs and read the diff"


def test_steps_are_the_commands_in_their_order() -> None:
    text = "```sh\nmake demo\n```\n```console\n$ a b\nout\n$ c\n```\n```yaml\nx\n```\n```sh\nd\n```\n"
    assert list(steps(text)) == [Step("a b", "out\n"), Step("c", ""), Step("d\n", None)]


def test_renewing_replaces_what_is_shown_and_nothing_else() -> None:
    text = "a\n```console\n$ echo new\nold\n$ echo '4 rules, no mistakes'\n3 rules, no mistakes\n```\nb\n"
    assert renewed(text) == text.replace("old", "new").replace("\n3 rules", "\n4 rules")


def test_the_two_commands_exist() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`?make ([a-z-]+)", TEXT))
    assert {"setup", "demo", "test", "quick"} <= named
    assert {target for target in named if f"\n{target}:" not in makefile} == set()


def test_every_source_has_its_row() -> None:
    table = {coded(row[0])[0]: row for row in rows("Sources")}
    assert set(table) == set(syntaxes())
    for syntax, source in (("capture:DIR", "capture"), ("snapshots:FILE", "snapshots"), ("log:FILE", "log")):
        patterns = [pattern.removesuffix("*") for pattern in coded(table[syntax][3])]
        gives = [kind.name for kind in KINDS.values() if source in kind.sources and kind.name != "source:gap"]
        assert [name for name in gives if not name.startswith(tuple(patterns))] == [], syntax


def commands() -> Iterator[tuple[str, set[str]]]:
    """Each command of the table with its options."""
    for row in rows("Commands", COMMANDS):
        yield coded(row[0])[0].removeprefix("watchdog ").partition(" [")[0], set(coded(row[1]))


def test_the_table_has_every_command_and_every_action() -> None:
    named = {re.sub(r"( [A-Z]+(\.\.\.)?)+$", "", name) for name, _ in commands()}
    assert {name.partition(" ")[0] for name in named} == set(available())
    assert {name for name in named if " " in name} == {
        f"{name} {action}" for name in WITH_ACTIONS for action in actions(name)
    }


def actions(name: str) -> list[str]:
    """What the help of a command lists as its actions."""
    printed = StringIO()
    with redirect_stdout(printed):
        assert main([name, "--help"]) == 0
    return re.findall(r"^    ([a-z-]+) ", printed.getvalue(), re.MULTILINE)


@pytest.mark.parametrize(("name", "options"), list(commands()))
def test_the_options_of_a_command_are_those_of_its_help(
    name: str, options: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in name.split() if word.islower()]
    assert main([*words, "--help"]) == 0
    listed = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert set(listed) - {"--help"} == options


@pytest.mark.parametrize("command", [step.command for step in steps(TEXT)])
def test_no_command_of_the_readme_needs_more_than_a_shell(command: str) -> None:
    assert command.split(maxsplit=1)[0] in {"watchdog", "cat", "sed", "(umask"}


def test_what_the_tour_writes_is_ignored() -> None:
    ignored = (README.parent / ".gitignore").read_text(encoding="utf-8").split()
    written = set(
        re.findall(
            r"> ([a-z]+(?:\.[a-z]+)+)",
            "".join(line for line in TEXT.splitlines() if "watchdog" in line or "cat >" in line),
        )
    )
    assert written >= {"tuned.yaml", "mine.yaml", "watchdog.yaml", "ops.secret", "rules.schema.json"}
    assert [name for name in sorted(written) if not any(fnmatch(f"/{name}", pattern) for pattern in ignored)] == []


def test_the_table_of_fields_is_the_incident() -> None:
    named = [name for row in rows("How to read an incident") for name in coded(row[0])]
    assert sorted(named) == sorted(as_object(an_incident()))


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert links
    assert [link for link in links if not (README.parent / link.partition("#")[0]).exists()] == []


def test_paths_of_the_layout_exist() -> None:
    paths = [path for row in rows("Where things are") for path in coded(row[0])]
    assert [path for path in paths if not (README.parent / path).exists()] == []


def an_incident() -> Incident:
    """Any incident: only its fields matter."""
    return Incident(
        id="0",
        fingerprint="0",
        rule="r",
        attack="data",
        severity="info",
        state=IncidentState.OPEN,
        node="node",
        key={},
        opened_ns=0,
        updated_ns=0,
        cleared_ns=None,
        resolved_ns=None,
        acknowledged_by=None,
        entities=(),
        entities_beyond=0,
        summary="",
        measures={},
        peak={},
        findings=1,
        members=1,
        firing=1,
        members_beyond=0,
        listed_members=(),
        evidence=(),
        completeness=1.0,
        watched=1.0,
        history=(),
        history_beyond=0,
    )
