"""The tables of keys in docs/CONFIG.md. `make docs` runs this module."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from watchdog.located_yaml.keys import key_rows
from watchdog.service.config.keys import SECTIONS, TOP, Section
from watchdog.service.config.sources import source_section
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
}
PLACE = Path(__file__).resolve().parents[2] / "docs" / "CONFIG.md"
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
    for row in SCHEMES.values():
        if row.settings:
            yield f"`sources`: `{row.name}`", source_section(row)
    for section in SECTIONS:
        yield f"`{section.name}.NAME`" if section.by_name else f"`{section.name}`", section


def documented(text: str) -> str:
    """Return a page with its tables between the marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{config_tables()}\n{END}{after}"


if __name__ == "__main__":
    PLACE.write_text(documented(PLACE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PLACE.name}\n")
