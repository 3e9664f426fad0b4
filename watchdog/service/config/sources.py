"""The key `sources`: texts, or mappings whose first key is a scheme of the registry."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import partial

from watchdog.core.errors import SourceError
from watchdog.located_yaml import values
from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.nodes import Node, Scalar, Series, Table
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.service.config.section import ReadValue, read_section
from watchdog.service.config.settings import SourceEntry
from watchdog.service.config.shapes import Section, Shape
from watchdog.service.config.values import ConfigValue, Reading, read_value
from watchdog.sources.registry import SCHEMES, split_source
from watchdog.sources.scheme import Scheme

WANTED = "a source or a list of sources"


def source_section(row: Scheme) -> Section:
    """Return the table of a source that is written as a mapping: the scheme, then its further keys."""
    place: Key[Shape] = Key(row.name, "text", f"The {row.place} of {row.syntax}.", required=True)
    keys: tuple[Key[Shape], ...] = tuple(
        Key(
            one.name,
            one.type,
            one.about,
            one.default,
            one.unit,
            one.shown,
            required=one.required,
            choices=one.choices,
            low=one.low,
            high=one.high,
        )
        for one in row.settings
    )
    return Section(row.name, f"Keys of a source `{row.syntax}` that is written as a mapping.", (place, *keys))


def parts_section(row: Scheme) -> Section:
    """Return the table that the place of a source may be: `zmq: {hashblock: ...}`."""
    keys: tuple[Key[Shape], ...] = tuple(Key(one.name, one.type, one.about) for one in row.parts)
    return Section(row.name, f"Keys of the place of `{row.syntax}`, at least one of them.", keys)


def read_sources(node: Node, key: Key[Shape], reading: Reading) -> tuple[SourceEntry, ...]:
    """Return the sources in their order; every mistake becomes a problem in the report.

    A source that is named again, also by another path to the same place, is a mistake: its events would count twice.
    """
    entries: dict[tuple[str, str], SourceEntry] = {}
    for item in _items(node, key, reading):
        entry = _mapping(item, reading) if isinstance(item, Table) else _named(item.text, item, reading)
        if entry is None:
            continue
        same = same_source(entry.text)
        if same in entries:
            given = item.text if isinstance(item, Scalar) else entry.text
            reading.report.error(item.place, f"source '{given[:80]}' is given twice", "leave one of them out")
        entries.setdefault(same, entry)
    return tuple(entries.values())


def split_several(text: str) -> list[str]:
    """Return the sources of `SOURCE[,SOURCE]` on a command line; a path may have commas. SourceError."""
    sources = re.split(rf",(?=(?:{'|'.join(SCHEMES)}):)", text)
    for source in sources:
        split_source(source)
    return sources


def same_source(text: str) -> tuple[str, str]:
    """Return what is equal for two texts that name one source, also by another path to the same place."""
    scheme, place = split_source(text)
    return scheme, _real(place) if SCHEMES[scheme].place_is_path else place.partition("?")[0].rstrip("/")


def _items(node: Node, key: Key[Shape], reading: Reading) -> Iterator[Scalar | Table]:
    if isinstance(node, Series) and not node.items:
        reading.report.error(node.place, f"'{key.name}' is empty", "name at least one source")
    for item in node.items if isinstance(node, Series) else (node,):
        if isinstance(item, Table):
            yield item
        elif (text := values.scalar(item, key.name, WANTED, reading.report)) is not None:
            yield text


def _named(text: str, node: Scalar | Table, reading: Reading) -> SourceEntry | None:
    """Return a source without settings; its path is relative to the folder of the file."""
    try:
        scheme, place = split_source(text)
    except SourceError as error:
        _mistake(error, node, reading)
        return None
    row = SCHEMES[scheme]
    settings = {} if isinstance(node, Table) else _defaults(row, node, reading)
    if settings is None or (isinstance(node, Scalar) and not _checked(row, place, settings, node, reading)):
        return None
    return SourceEntry(f"{scheme}:{_absolute(row, place, reading)}", settings)


def _mistake(error: SourceError, node: Scalar | Table, reading: Reading) -> None:
    """Report a source that is none; its line is not shown where it may hold a password."""
    message, _, hint = str(error).partition("; ")
    if "@" in node.place.source.lines[node.place.line - 1]:
        reading.hidden.add(node.place.line)
    reading.report.error(node.place, message, hint)


def _checked(row: Scheme, place: str, settings: Mapping[str, object], node: Scalar | Table, reading: Reading) -> bool:
    """Let a scheme check its text and settings together; return whether they can be used."""
    if row.check is None:
        return True
    try:
        warning = row.check(place, settings)
    except SourceError as error:
        _mistake(error, node, reading)
        return False
    if warning:
        reading.report.warn(node.place, warning)
    return True


def _defaults(row: Scheme, node: Scalar, reading: Reading) -> dict[str, object] | None:
    """Return the settings of a source that is written as a text; None when a key is required."""
    lacking = [one.name for one in row.settings if one.required]
    if lacking:
        hint = f"write a mapping: '{row.name}: ...', then '{lacking[0]}: ...'"
        reading.report.error(node.place, f"source '{node.text[:80]}' lacks '{lacking[0]}'", hint)
        return None
    section = source_section(row)
    table = Table((), node.place)
    own = Section(section.name, section.about, section.keys[1:])
    return dict(read_section(own, table, reading).values)


def _mapping(table: Table, reading: Reading) -> SourceEntry | None:
    """Return the source of a mapping; its first key is the scheme."""
    if not table.entries:
        reading.report.error(table.place, "a source is empty", "begin with its scheme, such as 'log: PATH'")
        return None
    first = table.entries[0]
    row = SCHEMES.get(first.key.text)
    if row is None:
        message = f"unknown kind of source '{first.key.text[:80]}'; a source begins with its scheme"
        if any(entry.key.text in SCHEMES for entry in table.entries):
            message = f"a source begins with its scheme, not with '{first.key.text[:80]}'"
        reading.report.error(first.key.place, message, partial(did_you_mean, first.key.text, SCHEMES, "schemes"))
        return None
    before = len(reading.report.problems)
    settings = dict(read_section(source_section(row), table, reading, _value_or_parts(row)).values)
    place = settings.pop(row.name, "")
    if len(reading.report.problems) > before or not isinstance(place, str):
        return None
    entry = _named(f"{row.name}:{place}", table, reading)
    if entry is not None and not _checked(row, place, settings, table, reading):
        return None
    return None if entry is None else SourceEntry(entry.text, settings)


def _value_or_parts(row: Scheme) -> ReadValue:
    """Return how the keys of a source are read: its place may be a mapping, which becomes the text of it."""

    def read(key: Key[Shape], node: Node, reading: Reading) -> ConfigValue | None:
        if key.name != row.name or not row.parts or not isinstance(node, Table):
            return read_value(key, node, reading)
        parts = read_section(parts_section(row), node, reading).values
        if not parts and not node.entries:
            names = " or ".join(f"'{one.name}'" for one in row.parts)
            reading.report.error(node.place, f"'{row.name}' is empty", f"give it {names}")
        return ",".join(f"{name}={value}" for name, value in parts.items()) or None

    return read


def _absolute(row: Scheme, place: str, reading: Reading) -> str:
    return str(reading.folder / place) if row.place_is_path else place


def _real(path: str) -> str:
    """Return a path without symbolic links, unchanged where no file can have this name."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return path
