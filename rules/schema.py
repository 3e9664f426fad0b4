"""JSON Schema (draft 2020-12) of rule files, for editors; built from the reader's own key table."""

from __future__ import annotations

from collections.abc import Mapping

from rules.catalogue import kind_names
from rules.evasion import QUESTIONS
from rules.keys import LONGEST_ID, NAME, RULE_ID, RULE_KEYS, RuleShape
from rules.tokens import LONGEST
from watchdog.core.finding import ATTACKS, SEVERITIES
from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.schema import DRAFT, Schema, all_of, closed, described, one_or_more
from watchdog.located_yaml.tracepoints import tracepoints_schema
from watchdog.located_yaml.values import LONGEST_TEXT

_TEXT: Schema = {"type": ["string", "number"], "maxLength": LONGEST_TEXT}
_EXPRESSION: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST}


def json_schema() -> Schema:
    """Return the schema as JSON-able data."""
    shapes = _shapes()
    keys = {key.name: described(key, shapes, _default(key)) for key in RULE_KEYS}
    override = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "enabled": {"type": "boolean", "description": "false switches the rule off."},
            "expects": {"type": ["string", "number"], "description": "Hash of the rule that this override is for."},
            **keys,
        },
    }
    rule = {"type": "object", **closed(RULE_KEYS, keys)}
    values = {"type": "array", "items": {"type": ["string", "number"]}}
    return {
        "$schema": DRAFT,
        "title": "bitcoin-watchdog rules",
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "budget": {"type": "string", "description": "False findings of the file's detectors, as in 1 per 30d."},
            "lists": _by_name(NAME.pattern, values, "Named lists of text, numbers or address ranges."),
            "rules": _by_name(RULE_ID.pattern, rule, "Rules by id."),
            "overrides": _by_name(RULE_ID.pattern, override, "Changes of rules loaded earlier, by id."),
            "tracepoints": tracepoints_schema(),
            "except": exceptions_schema(),
        },
    }


def exceptions_schema() -> Schema:
    """Return the schema of `except`, in rule files and in the configuration."""
    some = one_or_more({"type": "string", "pattern": all_of(RULE_ID.pattern)})
    attack = {"type": "object", "additionalProperties": False, "properties": {"attack": {"enum": list(ATTACKS)}}}
    return {
        "type": ["array", "null"],
        "description": "Events that do not count for some rules.",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["rules", "when", "reason"],
            "properties": {
                "rules": {"anyOf": [some, {**attack, "required": ["attack"]}]},
                "when": _EXPRESSION,
                "reason": {**_TEXT, "minLength": 1},
                "until": {"type": "string", "minLength": 10},
            },
        },
    }


def _default(key: Key[RuleShape]) -> str:
    return "" if key.required else key.default


def _by_name(pattern: str, values: Schema, about: str) -> Schema:
    """Return the schema of a table with free keys, all of one form."""
    return {
        "type": ["object", "null"],
        "description": about,
        "propertyNames": {"pattern": all_of(pattern), "maxLength": LONGEST_ID},
        "additionalProperties": values,
    }


def _shapes() -> Mapping[str, Schema]:
    """Return the schemas of the shapes that only rules have."""
    text: Schema = {**_TEXT, "minLength": 1}
    return {
        "text": text,
        "texts": one_or_more(_TEXT),
        "names": one_or_more({"type": "string", "pattern": all_of(NAME.pattern)}),
        "kinds": one_or_more({"enum": kind_names()}),
        "expression": _EXPRESSION,
        "measures": {
            "type": "object",
            "propertyNames": {"pattern": all_of(NAME.pattern), "maxLength": LONGEST_ID},
            "additionalProperties": _EXPRESSION,
        },
        "escalations": {
            "type": "object",
            "propertyNames": {"enum": list(SEVERITIES)},
            "additionalProperties": _EXPRESSION,
        },
        "numbers": {
            "type": "object",
            "propertyNames": {"maxLength": LONGEST_ID},
            "additionalProperties": {"type": ["number", "string"]},
        },
        "answers": {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: {**text, "description": question} for name, question in QUESTIONS.items()},
        },
    }
