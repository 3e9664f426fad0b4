"""Citations of docs/threats.md in rules and code: each leads to a section, and each section is cited."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "threats.md"
SECTIONS = re.findall(r"^### ([a-z0-9-]+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
CITING = [
    *sorted((ROOT / "rules" / "packs").rglob("*.yaml")),
    *sorted(path for folder in ("watchdog", "detectors", "alerts", "rules") for path in (ROOT / folder).rglob("*.py")),
]


def citations() -> dict[str, list[str]]:
    """Section -> the files that cite it."""
    found: dict[str, list[str]] = {}
    for path in CITING:
        for section in re.findall(r"threats\.md#([\w-]+)", path.read_text(encoding="utf-8")):
            found.setdefault(section, []).append(path.name)
    return found


def test_every_citation_leads_to_a_section() -> None:
    cited = citations()
    assert len(cited) > 20
    assert {section: files for section, files in cited.items() if section not in SECTIONS} == {}


def test_every_section_is_cited_and_there_once() -> None:
    assert sorted(set(SECTIONS)) == sorted(SECTIONS)
    assert [section for section in SECTIONS if section not in citations()] == []


def test_nothing_cites_a_catalogue_that_is_not_in_the_repository() -> None:
    numbered = re.compile(r"threats? [0-9A-Z][\w.-]*|\b(?:ADDR|ECL|MSG)-\d+|research/")
    found = [f"{path.name}: {hit}" for path in CITING for hit in numbered.findall(path.read_text(encoding="utf-8"))]
    assert found == []


def test_rule_pages_link_to_the_sections() -> None:
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "rules").glob("*.md"))]
    links = {link for text in pages for link in re.findall(r"\]\(\.\./threats\.md#([\w-]+)\)", text)}
    assert links
    assert links <= set(SECTIONS)
    assert not any(re.search(r"(?<![(/])threats\.md#", text) for text in pages), "a citation that is no link"
