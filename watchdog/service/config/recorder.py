"""`recorder` of `watchdog.yaml`: at the top for all nodes, under a node for that one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rules.row_filter import row_filter
from watchdog.core.core_constants import MAX_PROTOCOL_MESSAGE_LENGTH
from watchdog.core.errors import RuleError, WatchdogError
from watchdog.core.kinds import FINDING_KINDS, any_kinds, chosen_kinds
from watchdog.core.recorded import LEFT_OUT, MESSAGE_TYPE
from watchdog.core.sizes import UNITS_TEXT, exact_size, parse_size
from watchdog.located_yaml import values
from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.nodes import Node, Scalar
from watchdog.located_yaml.problem import Report
from watchdog.service.config.found import Found
from watchdog.service.config.keys import RECORDER
from watchdog.service.config.section import read_section
from watchdog.service.config.settings import RecorderSettings
from watchdog.service.config.shapes import Shape
from watchdog.service.config.values import ConfigValue, Reading, read_value

MOST_TYPES = 100  # entries of `payload`


def read_recorder(node: Node, name: str, reading: Reading) -> RecorderSettings | None:
    """Read the table of a node; None with a problem in the report."""
    table = values.table(node, name, reading.report)
    if table is None:
        return None
    found = read_section(RECORDER, table, reading, read_recorder_value)
    return recorder_settings(found, reading.report)


def read_recorder_value(key: Key[Shape], node: Node, reading: Reading) -> ConfigValue | None:
    """Read the value of one key of `recorder`; None with a problem in the report."""
    report = reading.report
    if key.shape == "size":
        return read_size(node, key.name, key.low, key.high, report)
    if key.shape == "kinds":
        return _kinds(node, key.name, report)
    if key.shape == "payloads":
        return _payloads(node, key.name, report)
    if key.shape == "expression":
        return values.text(node, key.name, report) or None
    return read_value(key, node, reading)


def recorder_settings(found: Found, report: Report) -> RecorderSettings | None:
    """Build the settings of a recorder; None with a problem in the report."""
    if "folder" not in found.values or "keep" not in found.values:
        return None
    chosen = found.maybe("kinds", tuple)
    kinds = frozenset(chosen) if chosen else any_kinds() - LEFT_OUT
    where = found.maybe("peers", str) or ""
    if where:
        try:
            row_filter(where, kinds, others=True)
        except RuleError as error:
            report.error(found.where("peers"), f"'peers': {error}")
            return None
    spans = ("before", "after", "keep_incidents")
    if any(name not in found.values for name in spans):
        return None
    before_ns, after_ns, kept_ns = (found.get(name, int) for name in spans)
    return RecorderSettings(
        found.get("folder", Path),
        found.get("keep", int),
        kinds,
        found.maybe("payload", dict) or {},
        where,
        before_ns,
        after_ns,
        kept_ns,
    )


def read_size(node: Node, name: str, low: int, high: int, report: Report) -> int | None:
    """Return the bytes of a size within bounds; None with a problem for anything else."""
    found = values.scalar(node, name, "a size such as 1GiB", report)
    if found is None:
        return None
    size = parse_size(found.text)
    if size is None:
        hint = f"a number with {UNITS_TEXT}, such as 500MiB"
        report.error(node.place, f"'{name}' is not a size: '{found.text[:60]}'", hint)
        return None
    if not low <= size <= high:
        report.error(node.place, f"'{name}' must be {exact_size(low)} to {exact_size(high)}")
        return None
    return size


def _kinds(node: Node, name: str, report: Report) -> tuple[str, ...] | None:
    chosen: set[str] = set()
    for one in values.scalars(node, name, "a kind or a list of kinds", report):
        try:
            kinds = chosen_kinds([one.text]) or frozenset()
        except WatchdogError as error:
            report.error(one.place, str(error))
            return None
        if kinds & FINDING_KINDS:
            report.error(one.place, "findings are not recorded: a replay of the recording reports them again")
            return None
        chosen |= kinds
    return tuple(sorted(chosen)) or None


def _payloads(node: Node, name: str, report: Report) -> Mapping[str, int] | None:
    table = values.table(node, name, report)
    if table is None:
        return None
    if len(table.entries) > MOST_TYPES:
        report.error(table.place, f"'{name}' has more than {MOST_TYPES} types")
        return None
    found: dict[str, int] = {}
    for entry in table.entries:
        if not MESSAGE_TYPE.fullmatch(entry.key.text):
            report.error(entry.key.place, f"not a message type: '{entry.key.text[:60]}'", 'such as addr, or "*"')
            continue
        size = _payload_size(entry.value, entry.key.text, report)
        if size is not None:
            found[entry.key.text] = size
    return found


def _payload_size(node: Node, type_: str, report: Report) -> int | None:
    """Return the bytes of one type; a plain 0 needs no unit."""
    if isinstance(node, Scalar) and node.text == "0":
        return 0
    return read_size(node, type_, 0, MAX_PROTOCOL_MESSAGE_LENGTH, report)
