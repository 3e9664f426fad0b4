"""JSON Schema (draft 2020-12) of `watchdog.yaml`, for editors; built from the reader's own key table."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.delivery.mail import TLS
from alerts.escalation import MOST_ESCALATIONS
from rules.load import pack_names
from rules.schema import exceptions_schema
from watchdog.core.durations import DURATION_PATTERN
from watchdog.core.sizes import SIZE_PATTERN
from watchdog.located_yaml.schema import DRAFT, Schema, all_of, closed, described, one_or_more
from watchdog.located_yaml.tracepoints import tracepoints_schema
from watchdog.service.config.attention import CASE_SEVERITIES, ENTRY
from watchdog.service.config.channel_keys import TLS_KEYS
from watchdog.service.config.holds import CLOCK, SILENCE, WINDOW
from watchdog.service.config.keys import (
    API,
    NODE,
    NODES,
    NODES_NODE,
    RECEIVER,
    RECORDER,
    SECTIONS,
    TOKEN,
    TOKENS_MOST,
    TOP,
)
from watchdog.service.config.shapes import Section
from watchdog.service.config.sources import parts_section, source_section
from watchdog.sources.registry import SCHEMES

_TEXT: Schema = {"type": ["string", "number"]}
_SECRET: Schema = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {"file": {"type": "string"}, "env": {"type": "string"}},
}
_TEMPLATE_FILE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["file"],
    "properties": {"file": {"type": "string"}},
}
_ENDPOINTS: Mapping[str, Schema] = {"text": {"type": "string", "pattern": "^(tcp|ipc)://."}}
_SIZE: Schema = {"type": "string", "pattern": SIZE_PATTERN}
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
    "sizes": {"type": "object", "additionalProperties": _SIZE},
    "intervals": {
        "type": "object",
        "additionalProperties": {"anyOf": [{"const": "off"}, {"type": "string", "pattern": DURATION_PATTERN}]},
    },
    "nodes": one_or_more(_TEXT),
    "tracepoints": tracepoints_schema(),
    "packs": {"anyOf": [{"type": "boolean"}, one_or_more({"enum": list(pack_names())})]},
    "size": _SIZE,
    "kinds": one_or_more(_TEXT),
    "payloads": {"type": "object", "additionalProperties": {"anyOf": [_SIZE, {"const": 0}]}},
    "expression": {"type": "string", "minLength": 1},
    "template": {"anyOf": [{"type": "string", "minLength": 1}, _TEMPLATE_FILE]},
    "targets": one_or_more({"anyOf": [{"type": "string"}, _SECRET]}),
    "line": _TEXT,
    "lines": one_or_more(_TEXT),
    "labels": {"type": "object", "additionalProperties": _TEXT},
    "files": {"type": "object", "additionalProperties": False, "properties": dict.fromkeys(TLS_KEYS, _TEXT)},
    "smtp": {
        "type": "object",
        "additionalProperties": False,
        "required": ["host"],
        "properties": {
            "host": _TEXT,
            "port": {"type": "integer"},
            "tls": {"enum": list(TLS)},
            "user": {"anyOf": [_TEXT, _SECRET]},
            "password": _SECRET,
        },
    },
    "exceptions": exceptions_schema(),
    "words": {"type": ["string", "number"], "minLength": 1},
    "date": {"type": "string", "minLength": 10},
    "clock": {"type": "string", "pattern": all_of(CLOCK.pattern)},
}


def config_schema() -> Schema:
    """Return the schema as JSON-able data."""
    top = closed(TOP.keys, _properties(TOP))
    for section in SECTIONS:
        table: Schema = {"type": ["object", "null"], "description": section.about}
        inside = closed(section.keys, _properties(section))
        if section.by_name:
            pattern = NODES_NODE if section is NODES else RECEIVER
            names = {"pattern": all_of(pattern.pattern), "maxLength": 64}
            table |= {"propertyNames": names, "additionalProperties": {"type": "object", **inside}}
        else:
            table |= inside
        top["properties"][section.name] = table
    top["oneOf"] = [
        {"required": ["sources"], "not": {"required": ["nodes"]}},
        {"required": ["nodes"], "not": {"anyOf": [{"required": [key]} for key in ("sources", "node", "order")]}},
    ]
    return {"$schema": DRAFT, "title": "bitcoin-watchdog configuration", "type": "object", **top}


def _properties(section: Section) -> Schema:
    shapes = {**_SHAPES, "sources": one_or_more(_source())} if section in (TOP, NODES) else _SHAPES
    if section is API:
        token = {"type": "object", **closed(TOKEN.keys, _properties(TOKEN))}
        shapes = {**shapes, "tokens": {"type": "array", "minItems": 1, "maxItems": TOKENS_MOST, "items": token}}
    if section is TOP:
        shapes = {**shapes, "silences": _entries(SILENCE), "windows": _entries(WINDOW)}
    if section is TOP:
        entry = {"type": "object", **closed(ENTRY.keys, _properties(ENTRY))}
        shapes = {
            **shapes,
            "escalation": {"type": "array", "minItems": 1, "maxItems": MOST_ESCALATIONS, "items": entry},
            "reminders": _reminders(),
        }
    if section is NODES:
        shapes = {**shapes, "recorder": {"type": "object", **closed(RECORDER.keys, _properties(RECORDER))}}
    return {key.name: described(key, shapes, key.default_text.replace("`", "")) for key in section.keys}


def _entries(section: Section) -> Schema:
    """Return the schema of a list of tables."""
    return {"type": "array", "items": {"type": "object", **closed(section.keys, _properties(section))}}


def _reminders() -> Schema:
    every = {"type": "string", "pattern": DURATION_PATTERN}
    names = dict.fromkeys(CASE_SEVERITIES, every)
    return {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": names}


def _source() -> Schema:
    """Return the schema of one source: a text, or a mapping of its scheme and further keys."""
    text = {"type": "string", "pattern": f"^({'|'.join(SCHEMES)}):."}
    tables = []
    for section in map(source_section, SCHEMES.values()):
        place: Schema = {"type": "string", "minLength": 1}
        if (parts := parts_section(SCHEMES[section.name])).keys:
            table = closed(parts.keys, {key.name: described(key, _ENDPOINTS, "") for key in parts.keys})
            place = {"anyOf": [place, {"type": "object", "minProperties": 1, **table}]}
        properties = {**_properties(section), section.name: place}
        tables.append({"type": "object", **closed(section.keys, properties)})
    return {"anyOf": [text, *tables]}
