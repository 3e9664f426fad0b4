"""JSON Schema and documentation of `watchdog.yaml`, from the reader's own table of keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from watchdog.core.durations import DURATION_PATTERN, exact_duration
from watchdog.service.config.keys import NODE, RECEIVER, SECTIONS, TOP, ConfigKey, Section, Shape
from watchdog.service.config.sources import source_section
from watchdog.sources.registry import SCHEMES

Schema = dict[str, Any]  # JSON, of any depth

_TEXT: Schema = {"type": ["string", "number"]}
_SECRET: Schema = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {"file": {"type": "string"}, "env": {"type": "string"}},
}
_WORDS: Mapping[Shape, str] = {
    "text": "text",
    "path": "path",
    "paths": "path or list of paths",
    "sources": "source or list of sources",
    "flag": "`true` or `false`",
    "listen": "address:port",
    "url": "URL",
    "secret": "`{file: PATH}` or `{env: NAME}`",
    "secrets": "list of `{file: PATH}` or `{env: NAME}`",
    "sealed": "URL, or `{file: PATH}` or `{env: NAME}`",
    "headers": "names with text, `{file: PATH}` or `{env: NAME}`",
    "receiver": "name of a receiver",
}
PLACE = Path(__file__).resolve().parents[3] / "docs" / "CONFIG.md"
BEGIN, END = "<!-- keys: generated, see `make docs` -->\n", "<!-- end of keys -->\n"


def config_schema() -> Schema:
    """The schema (draft 2020-12) as JSON-able data."""
    properties = _properties(TOP)
    for section in SECTIONS:
        table: Schema = {"type": ["object", "null"], "description": section.about}
        inside = {"additionalProperties": False, "required": _required(section), "properties": _properties(section)}
        if section.by_name:
            names = {"pattern": f"^{RECEIVER.pattern}$", "maxLength": 64}
            table |= {"propertyNames": names, "additionalProperties": {"type": "object", **inside}}
        else:
            table |= inside
        properties[section.name] = table
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bitcoin-watchdog configuration",
        "type": "object",
        "additionalProperties": False,
        "required": _required(TOP),
        "properties": properties,
    }


def config_tables() -> str:
    """Markdown: a table of keys for each section."""
    parts = []
    for title, section in _sections():
        rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
        rows += [f"| `{key.name}` | {_value(key)} | {key.default_text} | {key.about} |" for key in section.keys]
        parts.append("\n".join([f"### {title}", "", section.about, "", *rows]))
    return "\n\n".join(parts) + "\n"


def _sections() -> Iterator[tuple[str, Section]]:
    """Yield each section with its title; sources without further keys have none."""
    yield "Top", TOP
    for row in SCHEMES.values():
        if row.settings:
            yield f"`sources`: `{row.name}`", source_section(row)
    for section in SECTIONS:
        yield f"`{section.name}.NAME`" if section.by_name else f"`{section.name}`", section


def documented(text: str) -> str:
    """A page with its tables made anew between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{config_tables()}\n{END}{after}"


def _properties(section: Section) -> Schema:
    return {key.name: {**_shape(key), "description": f"{key.about} Default: {_plain(key)}."} for key in section.keys}


def _required(section: Section) -> list[str]:
    return [key.name for key in section.keys if key.required]


def _plain(key: ConfigKey) -> str:
    return key.default_text.replace("`", "")


def _shape(key: ConfigKey) -> Schema:
    """Return the schema of a key's value."""
    if key.shape == "sources":
        return _one_or_more(_source())
    shapes: dict[str, Schema] = {
        "text": {**_TEXT, "pattern": f"^{NODE.pattern}$"},
        "path": _TEXT,
        "paths": _one_or_more(_TEXT),
        "start": {"anyOf": [{"enum": ["now", "beginning"]}, {"type": "string", "pattern": DURATION_PATTERN}]},
        "choice": {"enum": list(key.choices)},
        "choices": _one_or_more({"enum": list(key.choices)}),
        "duration": {"type": "string", "pattern": DURATION_PATTERN},
        "whole": {"type": "integer", "minimum": key.low, "maximum": key.high},
        "flag": {"type": "boolean"},
        "listen": {"type": "string", "pattern": ":[0-9]{1,5}$"},
        "url": {"type": "string", "pattern": "^https?://"},
        "secret": _SECRET,
        "secrets": {"anyOf": [_SECRET, {"type": "array", "items": _SECRET}]},
        "sealed": {"anyOf": [{"type": "string"}, _SECRET]},
        "headers": {"type": "object", "additionalProperties": {"anyOf": [_TEXT, _SECRET]}},
        "receiver": {"type": "string", "pattern": f"^{RECEIVER.pattern}$"},
    }
    return shapes[key.shape]


def _source() -> Schema:
    """Return the schema of one source: a text, or a mapping of its scheme and further keys."""
    text = {"type": "string", "pattern": f"^({'|'.join(SCHEMES)}):."}
    tables = [
        {
            "type": "object",
            "additionalProperties": False,
            "required": _required(section),
            "properties": {**_properties(section), section.name: {"type": "string", "minLength": 1}},
        }
        for section in map(source_section, SCHEMES.values())
    ]
    return {"anyOf": [text, *tables]}


def _one_or_more(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item}]}


def _value(key: ConfigKey) -> str:
    """What may stand behind a key, with unit and bounds."""
    if key.shape in ("choice", "choices"):
        names = ", ".join(f"`{choice}`" for choice in key.choices)
        return names if key.shape == "choice" else f"list of {names}"
    if key.shape == "start":
        return f"`now`, `beginning` or a duration, {exact_duration(key.low)} to {exact_duration(key.high)}"
    if key.shape == "duration":
        return f"duration, {exact_duration(key.low)} to {exact_duration(key.high)}"
    if key.shape == "whole":
        return f"{key.low} to {key.high} {key.unit}"
    return _WORDS[key.shape]


if __name__ == "__main__":
    PLACE.write_text(documented(PLACE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PLACE.name}\n")
