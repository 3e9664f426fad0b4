"""The table of keys as docs/RULES.md shows it."""

from __future__ import annotations

from collections.abc import Mapping

from rules.keys import RULE_KEYS, Key, Shape
from watchdog.core.durations import exact_duration

_WORDS: Mapping[Shape, str] = {
    "text": "text",
    "choice": "one of",
    "texts": "text or list of text",
    "names": "list of fields",
    "kinds": "kind or list of kinds",
    "expression": "expression",
    "measures": "names with expressions",
    "escalations": "severities with expressions",
    "duration": "duration",
    "whole": "whole number",
    "answers": "answers by question",
}


def key_table() -> str:
    """Return a Markdown table: key, value with unit and bounds, default, meaning."""
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key in RULE_KEYS:
        default = "required" if key.required else key.default
        rows.append(f"| `{key.name}` | {_value(key)} | {default} | {key.about} |")
    return "\n".join(rows)


def _value(key: Key) -> str:
    """Describe the values of a key."""
    if key.shape == "choice":
        return ", ".join(f"`{choice}`" for choice in key.choices)
    if key.shape == "duration":
        return f"duration, {exact_duration(key.low)} to {exact_duration(key.high)}"
    if key.shape == "whole":
        return f"{key.low} to {key.high} {key.unit}"
    return _WORDS[key.shape]
