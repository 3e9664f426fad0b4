"""One table of `watchdog.yaml`: its keys read by their rows, with defaults filled in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.nodes import Node, Scalar, Table
from watchdog.located_yaml.problem import Location, SourceText
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.service.config.found import Found
from watchdog.service.config.shapes import Section, Shape
from watchdog.service.config.values import ConfigValue, Reading, read_value

ReadValue = Callable[[Key[Shape], Node, Reading], ConfigValue | None]


def read_section(section: Section, table: Table, reading: Reading, read: ReadValue = read_value) -> Found:
    """Return the values of one table; unknown and missing keys become problems in the report.

    read: reads one value, None with a problem in the report.
    """
    known = {key.name: key for key in section.keys}
    values: dict[str, ConfigValue] = {}
    places: dict[str, Location] = {}
    for entry in table.entries:
        name, key = entry.key.text, known.get(entry.key.text)
        if key is None:
            where = f" in '{section.name}'" if section.name else ""
            hint = partial(did_you_mean, name, known, "keys")
            reading.report.error(entry.key.place, f"unknown key '{name[:80]}'{where}", hint)
            continue
        places[name] = entry.value.place
        value = read(key, entry.value, reading)
        if value is not None:
            values[name] = value
    for key in section.keys:
        if key.required and key.name not in places:
            where = f"'{section.name}' " if section.name else ""
            reading.report.error(table.place, f"{where}lacks '{key.name}'", key.about)
        elif key.default and key.name not in places:
            value = read(key, _default(key), reading)
            assert value is not None
            values[key.name] = value
    return Found(values, places, table.place)


def _default(key: Key[Shape]) -> Scalar:
    """Return a default as a node, so that it is read like a written value."""
    place = Location(SourceText(f"default of {key.name}"))
    return Scalar(key.default, place, plain=True, start=0, end=len(key.default))
