"""The key `template` of a receiver: compiled, and tried on a sample of every change of a case."""

from __future__ import annotations

from alerts.delivery.message import variables_of
from alerts.delivery.samples import sample_body
from alerts.delivery.template import CompiledTemplate, compile_template
from alerts.delivery.template_terms import LARGEST, TemplateError
from alerts.notice import CASE_EVENT_TYPES
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Node, Scalar, Table
from watchdog.located_yaml.problem import Location, SourceText
from watchdog.service.config.values import Reading

HINT = "docs/TEMPLATES.md lists what a template may hold"
SAMPLE_URL = "http://127.0.0.1:8380"
BLOCK_STARTS = ("|", ">")  # how YAML begins a text over several lines, which are below it


def read_template(node: Node, name: str, reading: Reading) -> CompiledTemplate | None:
    """Read `{file: PATH}`, or the text of a template; None with each mistake at its line in the report."""
    found = _source(node, name, reading)
    if found is None:
        return None
    source, place, first_line = found
    try:
        compiled = compile_template(source)
    except TemplateError as error:
        mistakes = [error]
    else:
        mistakes = _tried(compiled)
        if not mistakes:
            return compiled
    for mistake in mistakes:
        at = place if mistake.line == 0 else _line_of(place, first_line + mistake.line - 1)
        reading.report.error(at, f"template: {mistake.message}", HINT)
    return None


def _tried(template: CompiledTemplate) -> list[TemplateError]:
    """Return what goes wrong with a sample of every change, each mistake once."""
    mistakes: dict[str, TemplateError] = {}
    for type_ in CASE_EVENT_TYPES:
        try:
            template.render(variables_of(sample_body(type_, SAMPLE_URL)), str)
        except TemplateError as error:
            mistakes.setdefault(str(error), TemplateError(f"{error.message} (in a message of {type_})", error.line))
    return list(mistakes.values())


def _line_of(place: Location, line: int) -> Location:
    """Return a whole line of the file."""
    lines = place.source.lines
    text = lines[line - 1] if 1 <= line <= len(lines) else ""
    before = len(text) - len(text.lstrip())
    return Location(place.source, line, before + 1, max(len(text.strip()), 1))


def _source(node: Node, name: str, reading: Reading) -> tuple[str, Location, int] | None:
    """Return the text of a template, its place, and the number of its first line there."""
    if isinstance(node, Table):
        return _from_file(node, name, reading)
    found = values.scalar(node, name, "the text of a template, or {file: PATH}", reading.report)
    if found is None:
        return None
    below = _begins_below(found)
    return found.text, found.place, found.place.line + int(below)


def _begins_below(found: Scalar) -> bool:
    return not found.plain and found.place.source.text[found.start : found.start + 1] in BLOCK_STARTS


def _from_file(node: Table, name: str, reading: Reading) -> tuple[str, Location, int] | None:
    report = reading.report
    if len(node.entries) != 1 or node.entries[0].key.text != "file":
        report.error(node.place, f"'{name}' must have one key, file")
        return None
    value = node.entries[0].value
    text = values.text(value, "file", report)
    if not text:
        return None
    path = reading.folder / text
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        report.error(value.place, f"template '{text}' cannot be read: {(error.strerror or 'failed').lower()}")
        return None
    try:
        source = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        report.error(value.place, f"template '{text}' is not UTF-8")
        return None
    return source, Location(SourceText(str(path), source, tuple(source.splitlines()))), 1
