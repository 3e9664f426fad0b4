"""The table of keys in docs/RULES.md."""

from __future__ import annotations

from collections.abc import Mapping

from rules.keys import RULE_KEYS
from watchdog.located_yaml.keys import Key, key_rows

_WORDS: Mapping[str, str] = {
    "text": "text",
    "texts": "text or list of text",
    "names": "list of fields",
    "kinds": "kind or list of kinds",
    "expression": "expression",
    "measures": "names with expressions",
    "escalations": "severities with expressions",
    "answers": "answers by question",
}


def key_table() -> str:
    """Return a Markdown table: key, value with unit and bounds, default, meaning."""
    return "\n".join(key_rows(RULE_KEYS, _WORDS, _default))


def _default(key: Key[str]) -> str:
    return "required" if key.required else key.default
