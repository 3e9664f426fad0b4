"""Every path that a page names exists; files of changes to come do not exist yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doc_paths import NamedPath, exists, named_paths, pages

ROOT = Path(__file__).resolve().parents[2]
TOPS = frozenset(path.name for path in ROOT.iterdir() if not path.name.startswith(".")) | {".ci"}


def all_named() -> Iterator[NamedPath]:
    """Return the paths on all pages."""
    for page in pages(ROOT):
        yield from named_paths(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"), TOPS)


def test_every_path_in_the_docs_exists() -> None:
    named = [one for one in all_named() if not one.planned]
    assert len(named) > 60
    assert [f"{one.page}: {one.path}" for one in named if not exists(ROOT, one)] == []


def test_files_of_changes_to_come_do_not_exist_yet() -> None:
    planned = [one for one in all_named() if one.planned]
    assert len(planned) >= 5
    assert [f"{one.page}: {one.path}: move it out of 'Adds'" for one in planned if (ROOT / one.path).exists()] == []


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("See `alerts/book.py` and `Makefile`.", [("alerts/book.py", False), ("Makefile", False)]),
        ("`lost/file.py` is named relative to nothing.", [("lost/file.py", False)]),
        ("`tests/unit/test_x.py:test_y` is one test.", [("tests/unit/test_x.py", False)]),
        ("`addr/second`, `capture:DIR`, `rules[].id`, `/16` and `a b` are no paths.", []),
        ("```sh\ncat `docs/gone.md`\n```", []),
        (
            "Adds `rules/a.py` and `alerts/b.py`. Touches `rules/c.py`.",
            [("rules/a.py", True), ("alerts/b.py", True), ("rules/c.py", False)],
        ),
    ],
)
def test_paths_are_read_from_back_quotes(text: str, paths: list[tuple[str, bool]]) -> None:
    tops = frozenset({"alerts", "docs", "rules", "tests", "Makefile"})
    assert list(named_paths("p", text, tops)) == [NamedPath("p", *one) for one in paths]
