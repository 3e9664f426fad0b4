"""`tracepoints` of a configuration or a rule file: probes beyond Core's, with the names and types of their arguments.

One entry is `udp:block_race_time: [hash: bytes32, height: i32, udp_ns: i64, udp_peer: str]`, all arguments in order.
"""

from __future__ import annotations

import re

from watchdog.core.declared import (
    COLUMN_OF,
    FIELD_BYTES,
    FIELD_NAME,
    MOST_FIELDS,
    MOST_KINDS,
    PROBE_NAME,
    Declaration,
    declaration_of,
    declare,
)
from watchdog.core.errors import WatchdogError
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Entry, Node, Scalar, Series, Table
from watchdog.located_yaml.problem import Report
from watchdog.located_yaml.schema import Schema, all_of


def read_tracepoints(node: Node, report: Report) -> tuple[Declaration, ...]:
    """Return the declarations of a table and make their kinds known to this process; mistakes go to the report."""
    table = values.table(node, "tracepoints", report)
    found = [_declared(entry, report) for entry in table.entries] if table else []
    return tuple(one for one in found if one is not None)


def _declared(entry: Entry, report: Report) -> Declaration | None:
    fields = _fields(entry, report)
    if fields is None:
        return None
    try:
        one = declaration_of(entry.key.text, fields)
        declare([one])
    except WatchdogError as error:
        message, _, hint = str(error).partition("; ")
        report.error(entry.key.place, message, hint)
        return None
    return one


def _fields(entry: Entry, report: Report) -> list[tuple[str, str]] | None:
    """Return name and type of each argument; None with a problem for anything but a list of `name: type`."""
    name, node = entry.key.text[:80], entry.value
    if not isinstance(node, Series):
        message = f"'{name}' must be a list of fields, not {values.describe(node)}"
        report.error(node.place, message, "write [first: i64, second: str], in the order of the probe's arguments")
        return None
    found: list[tuple[str, str]] = []
    for item in node.items:
        if not isinstance(item, Table) or len(item.entries) != 1 or not isinstance(item.entries[0].value, Scalar):
            report.error(item.place, f"a field of '{name}' must be 'name: type', not {values.describe(item)}")
            return None
        found.append((item.entries[0].key.text, item.entries[0].value.text.strip()))
    return found


def tracepoints_schema() -> Schema:
    """Return the JSON Schema of the table."""
    types = "|".join(re.escape(one) for one in COLUMN_OF)
    field = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {"pattern": all_of(FIELD_NAME.pattern)},
        "additionalProperties": {"type": "string", "pattern": f"^({types}|{FIELD_BYTES.pattern})$"},
    }
    return {
        "type": ["object", "null"],
        "description": "Tracepoints beyond Core's: by provider and name, the name and type of each argument, in order.",
        "propertyNames": {"pattern": all_of(PROBE_NAME.pattern)},
        "maxProperties": MOST_KINDS,
        "additionalProperties": {"type": "array", "maxItems": MOST_FIELDS, "items": field},
    }
