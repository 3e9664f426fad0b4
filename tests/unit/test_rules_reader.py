"""The YAML reader: positions, bounds, and no surprise from hostile text."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from watchdog.located_yaml.nodes import Node, Scalar, Series, Table
from watchdog.located_yaml.problem import LONGEST_TEXT, MOST_PROBLEMS, Report
from watchdog.located_yaml.reader import LARGEST_FILE, read_file, read_yaml, source_text


def read(text: str) -> tuple[Node | None, Report]:
    report = Report()
    return read_yaml(source_text("x.yaml", text), report), report


def test_values_know_their_line_and_column() -> None:
    node, report = read("a: 1\nb:\n  c: [x, 'y z']\n")
    assert isinstance(node, Table)
    inner = node.entries[1].value
    assert isinstance(inner, Table)
    series = inner.entries[0].value
    assert isinstance(series, Series)
    last = series.items[1]
    assert isinstance(last, Scalar)
    assert (last.text, last.plain, last.place.line, last.place.column) == ("y z", False, 3, 10)
    assert not report.problems


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "~", "null"])
def test_an_empty_file_is_no_mistake(text: str) -> None:
    node, report = read(text)
    assert node is None
    assert not report.problems


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "\u2028", "\x85"])
def test_lines_are_counted_alike_whatever_ends_them(ending: str) -> None:
    _, report = read(f"a: 1{ending}b: 2{ending}a: 3{ending}")
    assert [(p.place.line, p.place.column) for p in report.problems] == [(3, 1)]
    assert "a: 3" in report.problems[0].render()


def test_text_is_never_turned_into_numbers_or_dates() -> None:
    node, _ = read("a: 2021-07-01\nb: 1:30\nc: 0x10\nd: yes\n")
    assert isinstance(node, Table)
    assert [entry.value.text for entry in node.entries if isinstance(entry.value, Scalar)] == [
        "2021-07-01",
        "1:30",
        "0x10",
        "yes",
    ]


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (LARGEST_FILE + 1))
    report = Report()
    assert read_file(path, report, "big.yaml") is None
    assert report.problems[0].render() == "big.yaml:1:1: file is larger than 1 MiB"


def test_a_missing_file_is_unreadable_not_wrong(tmp_path: Path) -> None:
    report = Report()
    assert read_file(tmp_path / "none.yaml", report, "none.yaml") is None
    assert report.problems[0].unreadable
    assert report.problems[0].render() == "none.yaml: cannot read: no such file or directory"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{" * 100_000,
        "- " * 50_000,
        "a: &x [" + "*x, " * 1000 + "]",
        "? " * 20_000,
        "a" * 300_000,
        '"' + "\\x41" * 50_000 + '"',
        "".join(f"k{n}: v\n" for n in range(5_000)) * 2,
        "%YAML 9.9\n---\na",
        "!" * 10_000,
    ],
    ids=["brackets", "braces", "dashes", "aliases", "questions", "long", "escapes", "duplicates", "directive", "tags"],
)
def test_hostile_text_is_settled_in_bounded_time(text: str) -> None:
    start = time.perf_counter()
    read(text)
    assert time.perf_counter() - start < 100


def test_problems_are_capped_and_the_rest_counted() -> None:
    _, report = read("".join(f"k: {n}\n" for n in range(1000)))
    assert len(report.problems) == MOST_PROBLEMS
    assert report.ordered()[-1].message == f"and {999 - MOST_PROBLEMS} more mistakes"


def test_control_characters_of_a_file_never_reach_the_terminal() -> None:
    _, report = read('a: 1\na: "\\e[31m"  # \u202e\n')
    assert all(line.isprintable() for line in report.problems[0].render().splitlines())


NAME = "x" * 900_000


@pytest.mark.parametrize("text", [f"a: !{NAME} 1", f"a: &{NAME} 1", f"a: *{NAME}", f"? {NAME}\n: 1\n? {NAME}\n: 2"])
def test_a_mistake_with_a_name_as_long_as_the_file_is_short(text: str) -> None:
    report = Report()
    read_yaml(source_text("x.yaml", text), report)
    assert report.problems
    assert len(report.problems[0].render()) < 2 * LONGEST_TEXT


def test_many_mistakes_in_one_long_line_are_rendered_in_bounded_time() -> None:
    pairs = ", ".join(f"k{number}: {'v' * 2_000}" for number in range(200))
    report = Report()
    read_yaml(source_text("x.yaml", f"{{{pairs}, {pairs}}}"), report)
    assert len(report.problems) == MOST_PROBLEMS
    start = time.process_time()
    assert all(len(problem.render()) < 1_000 for problem in report.problems)
    assert time.process_time() - start < 0.5  # 40 ms for each where the whole line was made plain
