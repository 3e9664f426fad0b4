"""The page's files: nothing foreign, nothing that makes markup of text, small, and in step with the code's lists."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.support.web_view import StoredView, serving
from watchdog.core.finding import ATTACKS, SEVERITIES
from watchdog.web.page import FOLDER, TYPES

SCRIPTS = sorted(FOLDER.glob("*.js"))
FILES = sorted(FOLDER.iterdir())
INDEX = (FOLDER / "index.html").read_text(encoding="utf-8")
MARKUP = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function|srcdoc|"
    r"createContextualFragment"
)
LONGEST_SCRIPT, LONGEST_FUNCTION = 200, 40


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_markup_or_code_from_text(path: Path) -> None:
    assert not re.search(MARKUP, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[\w.]+\.\w|@import|url\(", text)
    assert path.suffix in TYPES


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_and_their_functions_are_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_SCRIPT
    assert max(len(line) for line in lines) <= 130
    for start, line in enumerate(lines):
        indent = re.match(r"( *)(?:export )?(?:async )?(?:function\*? )?[\w$]+\(.*\) \{$", line)
        if indent and not line.lstrip().startswith(("if", "for", "while", "switch")):
            length = lines[start:].index(f"{indent[1]}}}") + 1
            assert length <= LONGEST_FUNCTION, f"{path.name}:{start + 1}: {length} lines"


def test_the_document_holds_no_inline_script_style_or_handler() -> None:
    assert not re.search(r"<style|\son\w+=|style=|javascript:", INDEX)
    assert re.findall(r"<script[^>]*>", INDEX) == ['<script type="module" src="/static/app.js">']


def test_the_choices_of_the_filters_are_the_words_of_the_api() -> None:
    selects = {
        name: re.findall(r'<option(?: value="([^"]*)")?>([^<]*)', body)
        for name, body in re.findall(r'<select name="(\w+)">(.*?)</select>', INDEX, re.DOTALL)
    }
    values = {name: {value or text for value, text in found} - {"all"} for name, found in selects.items()}
    assert values["attack"] == set(ATTACKS)
    assert values["severity"] == set(SEVERITIES[1:]), "the least severity is all of them"
    assert {one for value in values["state"] for one in value.split(",")} == {"open", "acknowledged", "resolved"}


def test_imports_and_links_name_files_that_are_there() -> None:
    names = {path.name for path in FILES}
    for path in FILES:
        assert set(re.findall(r"/static/([\w.]+)", path.read_text(encoding="utf-8"))) <= names


def test_files_are_served_with_their_type_and_a_tag_that_spares_a_second_copy(tmp_path: Path) -> None:
    async def conversation() -> None:
        async with serving(StoredView(tmp_path)) as client:
            for path, kind in (
                ("/", "text/html"),
                ("/static/app.js", "text/javascript"),
                ("/static/style.css", "text/css"),
            ):
                answer = await client.get(path)
                assert (answer.status, answer.content_type) == (200, kind)
                again = await client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
                assert (again.status, await again.read()) == (304, b"")
            assert await (await client.get("/incidents/anything")).text() == INDEX

    asyncio.run(conversation())
