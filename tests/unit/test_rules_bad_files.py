"""Every mistake in tests/golden/rules/bad has one file and the exact text that people see.

After a wanted change of words: UPDATE_GOLDEN=1 pytest tests/unit/test_rules_bad_files.py, then read the difference.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rules.load import check

BAD = Path(__file__).resolve().parents[1] / "golden" / "rules" / "bad"
FILES = sorted(BAD.glob("*.yaml"))


def rendered(path: Path) -> str:
    """All problems of one file, with the file's name alone as place."""
    problems = check([path], packs=False)
    return "\n".join(problem.render() for problem in problems).replace(f"{path.parent}{os.sep}", "") + "\n"


def test_there_are_at_least_forty_mistakes() -> None:
    assert len(FILES) >= 40


@pytest.mark.golden
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mistake_reads_as_expected(path: Path) -> None:
    expected = path.with_suffix(".expected")
    if os.environ.get("UPDATE_GOLDEN") == "1":
        expected.write_text(rendered(path), encoding="utf-8")
    assert rendered(path) == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mistake_starts_with_file_line_and_column_in_plain_lower_case(path: Path) -> None:
    for problem in check([path], packs=False):
        first = problem.render().splitlines()[0]
        assert re.match(rf"{re.escape(str(path))}:\d+:\d+: ['a-z]", first), first
        assert first.isprintable()
        assert not first.endswith(".")


def test_every_expected_text_belongs_to_a_file() -> None:
    assert {path.stem for path in BAD.glob("*.expected")} == {path.stem for path in FILES}
