"""The tables of keys in docs/CONFIG.md and docs/RULES.md. `make docs` runs this module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rules.keys import RULE_KEYS
from watchdog.located_yaml.keys import Key, key_rows
from watchdog.service.config.attention import ENTRY
from watchdog.service.config.holds import SILENCE, WINDOW
from watchdog.service.config.keys import API, SECTIONS, TOKEN, TOP
from watchdog.service.config.shapes import Section
from watchdog.service.config.sources import parts_section, source_section
from watchdog.sources.registry import SCHEMES

_WORDS: Mapping[str, str] = {
    "text": "text",
    "start": "`now`, `beginning` or a duration, {bounds}",
    "path": "path",
    "paths": "path or list of paths",
    "sources": "source or list of sources",
    "flag": "`true` or `false`",
    "listen": "address:port",
    "url": "URL",
    "secret": "`{{file: PATH}}` or `{{env: NAME}}`",
    "secrets": "list of `{{file: PATH}}` or `{{env: NAME}}`",
    "sealed": "URL, or `{{file: PATH}}` or `{{env: NAME}}`",
    "headers": "names with text, `{{file: PATH}}` or `{{env: NAME}}`",
    "receiver": "name of a receiver",
    "sizes": "`{{keep: SIZE}}`, such as `{{keep: 1GiB}}`",
    "intervals": "names of calls with a duration, {bounds}, or `off`",
    "nodes": "name or list of names",
    "tracepoints": "names with lists of `FIELD: TYPE`",
    "packs": "`true`, `false` or list of packs",
    "size": "size, such as `2GiB`",
    "kinds": "kind or list of kinds",
    "payloads": "message types with a size, or 0",
    "expression": "expression",
    "recorder": "keys of `recorder`",
    "escalation": "list of `{{severity, after, unless, to}}`",
    "reminders": "severities with a duration, {bounds}",
    "tokens": "list of `{{name, role, token}}`",
    "template": "text, or `{{file: PATH}}`",
    "targets": "URL or list of URLs, each in the open or as `{{file: PATH}}` or `{{env: NAME}}`",
    "line": "text",
    "lines": "text or list of text",
    "smtp": "`{{host: NAME, ...}}`",
    "files": "`{{ca: PATH, cert: PATH, key: PATH}}`",
    "labels": "names with text",
    "silences": "list of entries",
    "windows": "list of entries",
    "exceptions": "list of `{{rules, when, reason, until}}`",
    "words": "text",
    "date": "date or time",
    "clock": 'time of day, such as `"02:00"`',
}
_RULE_WORDS: Mapping[str, str] = {
    "text": "text",
    "texts": "text or list of text",
    "names": "list of fields",
    "kinds": "kind or list of kinds",
    "expression": "expression",
    "measures": "names with expressions",
    "escalations": "severities with expressions",
    "answers": "answers by question",
    "numbers": "names with numbers",
}
DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- keys: generated, see `make docs` -->\n", "<!-- end of keys -->\n"


def config_tables() -> str:
    """Return Markdown: a table of keys for each section."""
    parts = []
    for title, section in _sections():
        rows = key_rows(section.keys, _WORDS, lambda key: key.default_text)
        parts.append("\n".join([f"### {title}", "", section.about, "", *rows]))
    return "\n\n".join(parts) + "\n"


def _sections() -> Iterator[tuple[str, Section]]:
    """Yield each section with its title; sources without further keys have none."""
    yield "Top", TOP
    yield "`silences`: an entry", SILENCE
    yield "`maintenance`: an entry", WINDOW
    yield f"`{ENTRY.name}`: an entry", ENTRY
    for row in SCHEMES.values():
        if row.parts:
            yield f"`sources`: the place of `{row.name}`", parts_section(row)
        if row.settings:
            yield f"`sources`: `{row.name}`", source_section(row)
    for section in SECTIONS:
        yield f"`{section.name}.NAME`" if section.by_name else f"`{section.name}`", section
        if section is API:
            yield f"`{TOKEN.name}`", TOKEN


def rule_table() -> str:
    """Return Markdown: a table of the keys of a rule."""
    return "\n".join(key_rows(RULE_KEYS, _RULE_WORDS, _rule_default)) + "\n"


def _rule_default(key: Key[str]) -> str:
    return "required" if key.required else key.default


TABLES: Mapping[Path, Callable[[], str]] = {DOCS / "CONFIG.md": config_tables, DOCS / "RULES.md": rule_table}


def documented(text: str, tables: str) -> str:
    """Return a page with the tables between its marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


if __name__ == "__main__":
    for page, tables in TABLES.items():
        page.write_text(documented(page.read_text(encoding="utf-8"), tables()), encoding="utf-8")
        sys.stdout.write(f"{page.name}\n")
