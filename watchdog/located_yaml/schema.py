"""JSON Schema (draft 2020-12) of a YAML language, for editors; built from the key table that its reader uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from watchdog.core.durations import DURATION_PATTERN
from watchdog.located_yaml.keys import Key

Schema = dict[str, Any]  # JSON, of any depth
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def described(key: Key[str], own: Mapping[str, Schema], default: str) -> Schema:
    """Return the schema of a key's values, with the description that editors show.

    own: schemas of the language's own shapes, by name. default: the text of the default; empty to leave it out.
    KeyError for a shape that is neither common nor in `own`.
    """
    about = f"{key.about} Default: {default}." if default else key.about
    return {**_shape(key, own), "description": about}


def closed(keys: Sequence[Key[str]], properties: Schema) -> Schema:
    """Return the parts of a table's schema that refuse unknown and missing keys."""
    return {
        "additionalProperties": False,
        "required": [key.name for key in keys if key.required],
        "properties": properties,
    }


def one_or_more(item: Schema) -> Schema:
    """Return the schema of one value or a list of them."""
    return {"anyOf": [item, {"type": "array", "items": item}]}


def all_of(pattern: str) -> str:
    """Return a pattern that must match the whole text; JSON Schema searches."""
    return f"^{pattern}$"


def _shape(key: Key[str], own: Mapping[str, Schema]) -> Schema:
    common: dict[str, Schema] = {
        "choice": {"enum": list(key.choices)},
        "choices": one_or_more({"enum": list(key.choices)}),
        "duration": {"type": "string", "pattern": DURATION_PATTERN},
        "whole": {"type": "integer", "minimum": key.low, "maximum": key.high},
        "flag": {"type": "boolean"},
    }
    return common[key.shape] if key.shape in common else own[key.shape]
