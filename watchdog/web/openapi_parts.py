"""The parts that the JSON Schemas of the OpenAPI document share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alerts.store.actions import WHO_LIMIT

Json = dict[str, object]

TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
TRUTH: Json = {"type": "boolean"}
TIME: Json = {"type": "number", "description": "Unix seconds"}
MAYBE_TIME: Json = {"type": ["number", "null"], "description": "Unix seconds, null until it occurs"}
MAYBE_TEXT: Json = {"type": ["string", "null"]}
ANYTHING: Json = {"type": "object"}
TEXTS: Json = {"type": "object", "additionalProperties": TEXT}
MEASURES: Json = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
CURSOR: Json = {"type": ["string", "null"], "description": "Where the next page starts, null at the end"}
SHARE: Json = {"type": "number", "minimum": 0, "maximum": 1}
MAYBE_SHARE: Json = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
WHO: Json = {
    "type": "string",
    "maxLength": WHO_LIMIT,
    "default": "api",
    "description": "The operator; with a token that has a name, that name whatever is given here",
}


def listed(items: Json) -> Json:
    """Return an array."""
    return {"type": "array", "items": items}


def closed(fields: Mapping[str, Json], optional: Sequence[str] = ()) -> Json:
    """Return an object with exactly these fields."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": dict(fields), "required": required, "additionalProperties": False}


def named(schema: str) -> Json:
    """Return a schema of this document."""
    return {"$ref": f"#/components/schemas/{schema}"}
