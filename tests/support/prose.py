"""Sentences that people read, with their places: docstrings, comments and texts of tracked files.

Recorded data does not count (`RECORDED`): recordings and captured logs, fixtures of older versions, and expected
outputs, which repeat texts that are counted where they are written. Neither do code blocks in Markdown, nor sentences
of fewer than `LEAST_WORDS` words.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LEAST_WORDS: Final = 8
SUFFIXES: Final = frozenset({".py", ".md", ".yaml", ".js", ".c"})
RECORDED: Final = (
    "demo/recording/",  # a node's files, and the page about them
    "tests/data/",  # files written by older versions, lines of Core's log
    "tests/golden/",  # expected outputs
)
IDIOMS: Final = Path(__file__).with_name("idioms.txt")
_WORD = re.compile(r"[A-Za-z][A-Za-z'\u2019-]*")
_END = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z`'\"(\d])|\n\s*\n|\n\s*[-*|]\s")
_C_LIKE = re.compile(
    r"/\*(?P<block>.*?)\*/|(?P<run>(?:^[ \t]*//[^\n]*\n)+)|//(?P<line>[^\n]*)"
    r"|\"(?P<double>(?:[^\"\\\n]|\\.)*)\"|'(?P<single>(?:[^'\\\n]|\\.)*)'|`(?P<template>(?:[^`\\]|\\.)*)`",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of at least `LEAST_WORDS` words. line: the first line of its paragraph, comment or text."""

    path: str
    line: int
    text: str


def idioms(path: Path = IDIOMS) -> re.Pattern[str]:
    """Return one pattern for all idioms of a list: an expression a line, `#` begins a comment."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return re.compile(
        rf"\b(?:{'|'.join(line for line in lines if line and not line.startswith('#'))})\b", re.IGNORECASE
    )


def stilted(written: Sequence[Sentence], pattern: re.Pattern[str]) -> list[Sentence]:
    """Return the sentences in which an idiom occurs."""
    return [sentence for sentence in written if pattern.search(sentence.text)]


def sentences(root: Path) -> Iterator[Sentence]:
    """Yield the sentences of every tracked file below `root` that is not recorded data, by path and line."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    for name in sorted(listed.split("\0")):
        path = root / name
        if path.suffix in SUFFIXES and not name.startswith(RECORDED) and path.is_file():
            yield from file_sentences(name, path.read_text(encoding="utf-8"))


def file_sentences(name: str, text: str) -> Iterator[Sentence]:
    """Yield the sentences of one file; the suffix of its name decides how it is read."""
    blocks = {".py": _python, ".md": _markdown, ".yaml": _yaml, ".js": _c_like, ".c": _c_like}[Path(name).suffix]
    for line, block in sorted(blocks(text)):
        yield from (Sentence(name, line, sentence) for sentence in _split(block))


def _split(block: str) -> Iterator[str]:
    for piece in _END.split(block):
        text = " ".join(piece.split())
        if len(_WORD.findall(text)) >= LEAST_WORDS:
            yield text


def _python(text: str) -> Iterator[tuple[int, str]]:
    """Docstrings and other texts, f-strings with a word for each value, and runs of comments."""
    tree = ast.parse(text)
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and id(node) not in inside:
            inside |= {id(part) for part in ast.walk(node)}
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values),
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value
    yield from _comments(text)


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Comments of a Python file; those on consecutive lines are one block."""
    run: list[str] = []
    begun = last = -1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        if run and token.start[0] != last + 1:
            yield begun, " ".join(run)
            run = []
        begun = begun if run else token.start[0]
        last = token.start[0]
        run.append(token.string.lstrip("#: "))
    if run:
        yield begun, " ".join(run)


def _markdown(text: str) -> Iterator[tuple[int, str]]:
    """Paragraphs, headings, list items and cells of tables, without code blocks."""
    block: list[str] = []
    begun, fenced = 1, False
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        bare = line.strip()
        fence = bare.startswith("```")
        fenced ^= fence
        code = fence or fenced or line.startswith("    ")
        if block and (code or not bare or bare.startswith(("|", "- ", "* ", "#"))):
            yield begun, " ".join(block)
            block = []
        if code or not bare:
            continue
        if bare.startswith("|"):
            yield from ((number, cell) for cell in bare.split("|"))
            continue
        begun = begun if block else number
        block.append(bare.lstrip("#-* "))
    if block:
        yield begun, " ".join(block)


def _yaml(text: str) -> Iterator[tuple[int, str]]:
    """Comments, and values that have words; lines that continue a comment or a value belong to it."""
    block: list[str] = []
    begun, comment = 1, False
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        bare = line.strip()
        is_comment = bare.startswith("#")
        begins = bool(re.match(r"(- )?[A-Za-z_][\w-]*:(\s|$)", bare)) or bare.startswith("- ")
        if block and (not bare or begins or is_comment != comment):
            yield begun, " ".join(block)
            block = []
        if bare:
            begun = begun if block else number
            block.append(re.sub(r"^(- )?[A-Za-z_][\w-]*:\s", "", bare).lstrip("# -").strip("\"'"))
        comment = is_comment


def _c_like(text: str) -> Iterator[tuple[int, str]]:
    """Comments and texts of a C or JavaScript file; `//` comments on consecutive lines are one block."""
    for match in _C_LIKE.finditer(text):
        words = next(group for group in match.groups() if group is not None)
        yield text.count("\n", 0, match.start()) + 1, re.sub(r"(^|\n)[ \t]*(?:\*|//)? ?", " ", words)
