"""YAML as located nodes: every value knows its file, line and column.

Made from parser events, not from Python objects, so that duplicate keys are seen, positions
stay exact, and nothing is ever constructed from a tag. Bounds: file size, nesting, number of
nodes; anchors, aliases, merge keys and tags are refused (a few lines of them can stand for
gigabytes). The reader knows nothing of rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import yaml

from watchdog.core.text import is_encodable
from watchdog.located_yaml.nodes import Entry, Node, Scalar, Series, Table
from watchdog.located_yaml.problem import Location, Report, SourceText

LARGEST_FILE = 1 << 20  # bytes
DEEPEST = 16  # nested tables and lists; rules need 5
MOST_NODES = 100_000  # a list of 50,000 addresses still fits

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # as YAML 1.1 counts lines


class _Stop(Exception):
    """Raised to end the reading of a file; the problem is in the report."""


@dataclass(slots=True)
class _Open:
    """A collection that is being read: its place and the nodes seen so far."""

    event: yaml.Event
    nodes: list[Node] = field(default_factory=list)


def read_file(path: Path, report: Report, name: str) -> SourceText | None:
    """Read the text of a file; None with a problem when it is missing, too large or not UTF-8.

    name: what problems call the file.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        report.unreadable(name, f"cannot read: {(error.strerror or 'failed').lower()}")
        return None
    if len(raw) > LARGEST_FILE:
        report.error(Location(SourceText(name)), f"file is larger than {LARGEST_FILE >> 20} MiB")
        return None
    try:
        return source_text(name, raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        lines = _LINE_END.split(before)
        place = Location(SourceText(name), len(lines), len(lines[-1]) + 1)
        report.error(place, f"not UTF-8: byte 0x{raw[error.start]:02x}", "save the file as UTF-8")
        return None


def source_text(name: str, text: str) -> SourceText:
    """Return a text with its lines, split where YAML splits them."""
    return SourceText(name, text, tuple(_LINE_END.split(text)))


def read_yaml(source: SourceText, report: Report) -> Node | None:
    """Parse the one document of a text into nodes; None when it is empty or cannot be parsed.

    Problems go to the report; nothing is raised, whatever the text.
    """
    try:
        return _build(source, report)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if error.context_mark and "end of stream" in (error.problem or ""):
            mark = error.context_mark  # where the open quote is helps, where the file ends does not
        place = Location(source, mark.line + 1, mark.column + 1) if mark else Location(source)
        message = (error.problem or error.context or "not valid YAML").lower()
        line = source.lines[place.line - 1] if place.line <= len(source.lines) else ""
        report.error(place, f"not valid YAML: {message}", _yaml_hint(message, line[: place.column - 1]))
    except yaml.reader.ReaderError as error:
        lines = _LINE_END.split(source.text[: error.position])
        report.error(Location(source, len(lines), len(lines[-1]) + 1), "not valid YAML: control character")
    except ValueError:
        report.error(Location(source), "not valid YAML: bad number in a directive or escape")
    except _Stop:
        return None
    return None


def _yaml_hint(message: str, before: str) -> str:
    """Return what usually helps against a parser's complaint. before: the line up to the place."""
    opening = re.search(r":\s+([{\[])", before)
    if opening and "end of stream" not in message:
        return f"put the whole value in quotes when it starts with '{opening[1]}'"
    if "\\t" in message:
        return "indent with spaces, not tabs"
    if "mapping values are not allowed" in message:
        return "put text that contains ': ' in quotes"
    if "end of stream" in message:
        return "a quote or bracket is not closed"
    if "expected <block end>, but found '<scalar>'" in message:
        return "put the whole value in quotes when it starts with a quote"
    if "expected <block end>" in message:
        return "check the indentation of this line against the lines above"
    return ""


def _build(source: SourceText, report: Report) -> Node | None:
    """Assemble nodes from parser events with an explicit stack (no recursion to exhaust)."""
    stack: list[_Open] = []
    root: Node | None = None
    for number, event in enumerate(_events(source)):
        place = _place(source, event)
        if number > MOST_NODES:
            _stop(report, place, f"more than {MOST_NODES} values in one file")
        _refuse(event, place, report)
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            stack.append(_Open(event))
            if len(stack) > DEEPEST:
                _stop(report, place, f"nested deeper than {DEEPEST} levels")
            continue
        if isinstance(event, yaml.DocumentStartEvent) and root is not None:
            _stop(report, place, "a second document in one file", "remove the line '---'")
        node = _node(source, event, stack, report)
        if node is None:
            continue
        if stack:
            stack[-1].nodes.append(node)
        else:
            root = node
    return None if isinstance(root, Scalar) and root.empty else root


def _events(source: SourceText) -> Iterator[yaml.Event]:
    """Yield parser events of the safe loader."""
    loader = yaml.SafeLoader(source.text)
    try:
        while loader.check_event():
            event: yaml.Event = loader.get_event()  # type: ignore[no-untyped-call]  # the stubs lack it
            yield event
    finally:
        loader.dispose()


def _node(source: SourceText, event: yaml.Event, stack: list[_Open], report: Report) -> Node | None:
    """Return the node that this event completes, if any."""
    if isinstance(event, yaml.ScalarEvent):
        if not is_encodable(event.value):
            hint = "write it without \\u; for a file whose name is not UTF-8, make a link with another name"
            _stop(report, _place(source, event), "half of a character, which UTF-8 cannot hold", hint)
        start, end = _marks(event)[0].index, _marks(event)[1].index
        return Scalar(event.value, _place(source, event), event.style is None, start, end)
    if isinstance(event, yaml.SequenceEndEvent):
        opened = stack.pop()
        return Series(tuple(opened.nodes), _place(source, opened.event))
    if isinstance(event, yaml.MappingEndEvent):
        opened = stack.pop()
        return Table(_entries(opened.nodes, report), _place(source, opened.event))
    return None


def _entries(nodes: list[Node], report: Report) -> tuple[Entry, ...]:
    """Return keys with their values; a key that is not text, or a duplicate, is a problem."""
    found: dict[str, Entry] = {}
    for key, value in zip(nodes[::2], nodes[1::2], strict=True):
        if not isinstance(key, Scalar):
            report.error(key.place, "a key must be plain text")
        elif key.text == "<<" and key.plain:
            report.error(key.place, "merge keys are not allowed", "write the keys out")
        elif key.text in found:
            first = found[key.text].key.place.line
            report.error(key.place, f"duplicate key '{key.text}'", f"first given in line {first}")
        else:
            found[key.text] = Entry(key, value)
    return tuple(found.values())


def _refuse(event: yaml.Event, place: Location, report: Report) -> None:
    """Stop at what the reader does not take: aliases, anchors, tags."""
    if isinstance(event, yaml.AliasEvent):
        _stop(report, place, f"aliases are not allowed: '*{event.anchor}'", "write the value out")
    anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
    if anchor:
        _stop(report, place, f"anchors are not allowed: '&{anchor}'", "remove it")
    if tag:
        _stop(report, place, f"tags are not allowed: '{tag}'", "quote the value if it is text")


def _stop(report: Report, place: Location, message: str, hint: str = "") -> NoReturn:
    """Note the problem and end the reading of this file."""
    report.error(place, message, hint)
    raise _Stop


def _place(source: SourceText, event: yaml.Event) -> Location:
    """Return where an event starts, and its width on that line."""
    start, end = _marks(event)
    width = end.column - start.column if end.line == start.line else 1
    return Location(source, start.line + 1, start.column + 1, max(1, width))


def _marks(event: yaml.Event) -> tuple[yaml.Mark, yaml.Mark]:
    """Return start and end of an event; the parser written in Python always sets them."""
    start, end = event.start_mark, event.end_mark
    assert isinstance(start, yaml.Mark)
    assert isinstance(end, yaml.Mark)
    return start, end
