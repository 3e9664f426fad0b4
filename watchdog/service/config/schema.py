"""JSON Schema (draft 2020-12) of `watchdog.yaml`, for editors; built from the reader's own key table."""

from __future__ import annotations

from collections.abc import Mapping

from watchdog.core.durations import DURATION_PATTERN
from watchdog.located_yaml.schema import DRAFT, Schema, all_of, closed, described, one_or_more
from watchdog.service.config.keys import NODE, RECEIVER, SECTIONS, TOP, Section
from watchdog.service.config.sources import source_section
from watchdog.sources.registry import SCHEMES

_TEXT: Schema = {"type": ["string", "number"]}
_SECRET: Schema = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {"file": {"type": "string"}, "env": {"type": "string"}},
}
_SHAPES: Mapping[str, Schema] = {
    "text": {**_TEXT, "pattern": all_of(NODE.pattern)},
    "path": _TEXT,
    "paths": one_or_more(_TEXT),
    "start": {"anyOf": [{"enum": ["now", "beginning"]}, {"type": "string", "pattern": DURATION_PATTERN}]},
    "listen": {"type": "string", "pattern": ":[0-9]{1,5}$"},
    "url": {"type": "string", "pattern": "^https?://"},
    "secret": _SECRET,
    "secrets": {"anyOf": [_SECRET, {"type": "array", "items": _SECRET}]},
    "sealed": {"anyOf": [{"type": "string"}, _SECRET]},
    "headers": {"type": "object", "additionalProperties": {"anyOf": [_TEXT, _SECRET]}},
    "receiver": {"type": "string", "pattern": all_of(RECEIVER.pattern)},
}


def config_schema() -> Schema:
    """Return the schema as JSON-able data."""
    top = closed(TOP.keys, _properties(TOP))
    for section in SECTIONS:
        table: Schema = {"type": ["object", "null"], "description": section.about}
        inside = closed(section.keys, _properties(section))
        if section.by_name:
            names = {"pattern": all_of(RECEIVER.pattern), "maxLength": 64}
            table |= {"propertyNames": names, "additionalProperties": {"type": "object", **inside}}
        else:
            table |= inside
        top["properties"][section.name] = table
    return {"$schema": DRAFT, "title": "bitcoin-watchdog configuration", "type": "object", **top}


def _properties(section: Section) -> Schema:
    shapes = {**_SHAPES, "sources": one_or_more(_source())} if section is TOP else _SHAPES
    return {key.name: described(key, shapes, key.default_text.replace("`", "")) for key in section.keys}


def _source() -> Schema:
    """Return the schema of one source: a text, or a mapping of its scheme and further keys."""
    text = {"type": "string", "pattern": f"^({'|'.join(SCHEMES)}):."}
    tables = []
    for section in map(source_section, SCHEMES.values()):
        properties = {**_properties(section), section.name: {"type": "string", "minLength": 1}}
        tables.append({"type": "object", **closed(section.keys, properties)})
    return {"anyOf": [text, *tables]}
