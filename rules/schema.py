"""JSON Schema (draft 2020-12) of rule files, for editors; made from the reader's own key table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rules.catalogue import kind_names
from rules.evasion import QUESTIONS
from rules.keys import LONGEST_ID, NAME, RULE_ID, RULE_KEYS, Key
from rules.tokens import LONGEST
from watchdog.core.durations import DURATION_PATTERN
from watchdog.core.finding import SEVERITIES
from watchdog.located_yaml.values import LONGEST_TEXT

Schema = dict[str, Any]  # JSON, of any depth

_TEXT: Schema = {"type": ["string", "number"], "maxLength": LONGEST_TEXT}
_EXPRESSION: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST}


def json_schema() -> Schema:
    """The schema as JSON-able data."""
    rule = {
        "type": "object",
        "additionalProperties": False,
        "required": [key.name for key in RULE_KEYS if key.required],
        "properties": {key.name: _described(key) for key in RULE_KEYS},
    }
    override = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "enabled": {"type": "boolean", "description": "false switches the rule off."},
            "expects": {"type": ["string", "number"], "description": "Hash of the rule that this override is for."},
            **{key.name: _described(key) for key in RULE_KEYS},
        },
    }
    values = {"type": "array", "items": {"type": ["string", "number"]}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bitcoin-watchdog rules",
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "lists": _by_name(_whole(NAME.pattern), values, "Named lists of text, numbers or address ranges."),
            "rules": _by_name(_whole(RULE_ID.pattern), rule, "Rules by id."),
            "overrides": _by_name(_whole(RULE_ID.pattern), override, "Changes of rules loaded earlier, by id."),
        },
    }


def _whole(pattern: str) -> str:
    """A pattern that must match all of a name; JSON Schema searches."""
    return f"^{pattern}$"


def _by_name(pattern: str, values: Mapping[str, Any], about: str) -> Schema:
    """A table with free keys of one form."""
    return {
        "type": ["object", "null"],
        "description": about,
        "propertyNames": {"pattern": pattern, "maxLength": LONGEST_ID},
        "additionalProperties": values,
    }


def _described(key: Key) -> Schema:
    """The schema of one key with what editors show beside it."""
    about = key.about if key.required else f"{key.about} Default: {key.default}."
    return {**_shape(key), "description": about}


def _shape(key: Key) -> Schema:
    """What a key's value looks like."""
    kinds: Schema = {"enum": kind_names()}
    name: Schema = {"type": "string", "pattern": _whole(NAME.pattern)}
    shapes: dict[str, Schema] = {
        "text": {**_TEXT, "minLength": 1},
        "choice": {"enum": list(key.choices)},
        "texts": _one_or_more(_TEXT),
        "names": _one_or_more(name),
        "kinds": _one_or_more(kinds),
        "expression": _EXPRESSION,
        "measures": {
            "type": "object",
            "propertyNames": {"pattern": _whole(NAME.pattern), "maxLength": LONGEST_ID},
            "additionalProperties": _EXPRESSION,
        },
        "escalations": {
            "type": "object",
            "propertyNames": {"enum": list(SEVERITIES)},
            "additionalProperties": _EXPRESSION,
        },
        "answers": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                name: {**_TEXT, "minLength": 1, "description": question} for name, question in QUESTIONS.items()
            },
        },
        "duration": {"type": "string", "pattern": DURATION_PATTERN},
        "whole": {"type": "integer", "minimum": key.low, "maximum": key.high},
    }
    return shapes[key.shape]


def _one_or_more(item: Schema) -> Schema:
    """One value or a list of such."""
    return {"anyOf": [item, {"type": "array", "items": item}]}
