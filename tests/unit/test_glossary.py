"""docs/GLOSSARY.md against code and pages: each word is used where it says, under the name that it gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "GLOSSARY.md"
TEXT = GLOSSARY.read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([a-z ]+) \| (.+) \| `([^`]+)` `([^`]+)` \|$", TEXT, re.MULTILINE)
LONGEST = 150  # characters of a meaning: one line


def test_the_glossary_has_every_word_once_and_in_one_line() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| ")]
    assert len(lines) == len(ROWS) + 2, "a row is not of the form | word | means | `file` `name` |"
    words = [word for word, *_ in ROWS]
    assert len(words) == len(set(words)) >= 30
    assert not [word for word, means, *_ in ROWS if len(means) > LONGEST]


@pytest.mark.parametrize(("word", "means", "path", "name"), ROWS, ids=[row[0] for row in ROWS])
def test_a_word_is_used_as_the_glossary_says(word: str, means: str, path: str, name: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text), f"{path} does not have {name!r}"
    stem = word.removesuffix("y") if word.endswith("y") else word
    assert re.search(re.escape(stem), text, re.IGNORECASE), f"{path} does not speak of {word!r}"
    assert means[0].islower() or means[0] in "/`"
    assert not means.endswith(".")


def test_people_find_the_glossary() -> None:
    assert "(docs/GLOSSARY.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(GLOSSARY.md)" in (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
