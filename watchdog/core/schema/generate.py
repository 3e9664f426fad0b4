"""Make `watchdog/core/kinds_table.py` from `events.capnp`.

Run as `python -m watchdog.core.schema.generate`; `--check` only says whether the table is
current. A tool for development: the service reads the table, never the schema.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import capnp

SCHEMA = Path(__file__).with_name("events.capnp")
TABLE = Path(__file__).parent.parent / "kinds_table.py"
TYPES = {
    "bool": "bool",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "int32": "i32",
    "int64": "i64",
    "float64": "f64",
    "text": "str",
    "data": "bytes",
}
HEADER = '''"""The event catalogue as plain data, made from schema/events.capnp by schema/generate.py; do not edit."""
# fmt: off
# ruff: noqa: E501

from __future__ import annotations

FieldRow = tuple[str, str, str, str, bool, str]  # name, type, unit, description, identity, possible values
KindRow = tuple[str, str, str, str, tuple[FieldRow, ...]]  # name, description, sources, same fact, fields

'''


class Catalogue:
    """The parsed schema: shared structs first, then kinds, each in the order of the file.

    capnp's reader objects have no static types, hence `Any` for them.
    """

    def __init__(self, path: Path = SCHEMA) -> None:
        module = capnp.load(str(path))
        nested = list(module.schema.node.nestedNodes)
        self._marks = {node.id: node.name for node in nested if not node.name[0].isupper()}
        self._structs = {node.id: node.name for node in nested if node.name[0].isupper()}
        self._nodes = {node.id: getattr(module, node.name).schema.node for node in nested if node.name[0].isupper()}

    def _notes(self, annotated: Any) -> dict[str, str]:
        notes = {}
        for note in annotated.annotations:
            value = note.value
            notes[self._marks[note.id]] = value.text if value.which() == "text" else ""
        return notes

    def _field(self, field: Any) -> tuple[str, str, str, str, bool, str] | int:
        """Return a row of the table, or the id of the struct that is spliced in."""
        kind = field.slot.type.which()
        if kind == "struct":
            return int(field.slot.type.struct.typeId)
        notes = self._notes(field)
        name = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", field.name).lower()
        typ = "prefix" if "prefix" in notes else TYPES[kind]
        return name, typ, notes.get("unit", ""), notes["doc"], "identity" in notes, notes.get("oneOf", "")

    def _fields_text(self, node: Any) -> Iterator[str]:
        for field in sorted(node.struct.fields, key=lambda field: field.codeOrder):
            row = self._field(field)
            if isinstance(row, int):
                yield f"    *{self._structs[row].upper()},"
            else:
                yield from _tuple_lines(row)

    def text(self) -> str:
        """Return the text of `kinds_table.py`."""
        shared, kinds = [], []
        for number, node in self._nodes.items():
            notes = self._notes(node)
            fields = list(self._fields_text(node))
            if "kind" not in notes:
                name = self._structs[number].upper()
                shared.append("\n".join((f"{name}: tuple[FieldRow, ...] = (", *fields, ")\n")))
                continue
            head = (notes["kind"], notes["doc"], notes["sources"], notes.get("sameFact", ""))
            lines = [f"        {_quoted(text)}," for text in head]
            lines += ["        (", *(f"        {line}" for line in fields), "        ),"]
            kinds.append("\n".join(("    (", *lines, "    ),")))
        table = "\n".join(("TABLE: tuple[KindRow, ...] = (", *kinds, ")\n"))
        return HEADER + "\n".join(shared) + "\n" + table


def _quoted(text: str) -> str:
    if '"' in text or "\\" in text:
        raise ValueError(f"a description must hold neither quotes nor backslashes: {text!r}")
    return f'"{text}"'


def _tuple_lines(row: tuple[str, str, str, str, bool, str]) -> Iterator[str]:
    """Return one field as source text, on one line."""
    name, typ, unit, description, identity, values = row
    texts = ", ".join(map(_quoted, (name, typ, unit, description)))
    yield f"    ({texts}, {identity}, {_quoted(values)}),"


def main(arguments: list[str]) -> int:
    """Write the table, or with `--check` compare it; 1 when it is not current."""
    text = Catalogue().text()
    if "--check" in arguments:
        return 0 if TABLE.exists() and TABLE.read_text() == text else 1
    TABLE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
