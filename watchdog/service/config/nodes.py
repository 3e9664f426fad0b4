"""The nodes of `watchdog.yaml`: `node` with `sources` for one, `nodes` for several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Table
from watchdog.located_yaml.problem import Report
from watchdog.service.config.found import Found
from watchdog.service.config.keys import NODE, NODES, NODES_NODE
from watchdog.service.config.section import ReadValue, read_section
from watchdog.service.config.settings import NodeSettings, RecorderSettings, SourceEntry
from watchdog.service.config.sources import same_source
from watchdog.service.config.values import Reading

MOST_NODES = 256  # each has an engine and a thread
NAME_HINT = "letters, digits, '.', '-' and '_', at most 63"


def read_nodes(table: Table | None, reading: Reading, read: ReadValue) -> dict[str, Found]:
    """Return the tables of `nodes`, by name; every mistake becomes a problem in the report.

    The reader of the configuration calls this once. A name that is given twice is a mistake of the YAML reader's.
    """
    found: dict[str, Found] = {}
    if table is not None and len(table.entries) > MOST_NODES:
        reading.report.error(table.place, f"'nodes' has more than {MOST_NODES} nodes", "run a second service")
        return found
    for entry in table.entries if table else ():
        name = entry.key.text
        if not NODES_NODE.fullmatch(name):
            reading.report.error(entry.key.place, f"bad name of a node '{name[:80]}'", NAME_HINT)
            continue
        inside = values.table(entry.value, name, reading.report)
        if inside is not None:
            found[name] = read_section(replace(NODES, name=f"nodes.{name}"), inside, reading, read)
    return found


def check_nodes(top: Found, nodes: Mapping[str, Found], section: Table | None, reading: Reading) -> None:
    """Report what is wrong between the nodes: both forms, no form, and a source that two nodes have."""
    report = reading.report
    node = top.maybe("node", str)
    if node is not None and not NODE.fullmatch(node):
        report.error(top.where("node"), f"bad name of a node '{node[:80]}'", "letters, digits, '.', '-' and '_'")
    if section is None:
        if "sources" not in top.places:
            report.error(top.place, "lacks 'sources'", "name the sources of a node, or several nodes under 'nodes'")
        return
    for key in ("node", "sources", "order"):
        if key in top.places:
            report.error(top.where(key), f"'{key}' beside 'nodes'", f"move it into 'nodes: {{NAME: {{{key}: ...}}}}'")
    if not section.entries:
        report.error(section.place, "'nodes' is empty", "name at least one node with its sources")
    _check_recorders(nodes, report)
    owners: dict[tuple[str, str], str] = {}
    for name, found in nodes.items():
        for one in _entries(found):
            owner = owners.setdefault(same_source(one.text), name)
            if owner != name:
                what = f"source '{one.text[:80]}' of node '{name}' is also one of node '{owner}'"
                report.error(found.where("sources"), what, "each node has sources of its own")


def _check_recorders(nodes: Mapping[str, Found], report: Report) -> None:
    """Report a folder that two nodes record into."""
    owners: dict[Path, str] = {}
    for name, found in nodes.items():
        recorder = found.maybe("recorder", RecorderSettings)
        owner = name if recorder is None else owners.setdefault(recorder.folder.absolute(), name)
        if owner != name:
            what = f"node '{name}' records into the folder of node '{owner}'"
            report.error(found.where("recorder"), what, "each recorder has a folder of its own")


def node_settings(
    top: Found, nodes: Mapping[str, Found], recorder: RecorderSettings | None
) -> tuple[NodeSettings, ...]:
    """Build the nodes of a configuration without problems. recorder: of all nodes that have none of their own."""
    if not nodes:
        return (_node(top.get("node", str), top, recorder),)
    each = {name: None if recorder is None else replace(recorder, folder=recorder.folder / name) for name in nodes}
    return tuple(
        _node(name, found, found.maybe("recorder", RecorderSettings) or each[name]) for name, found in nodes.items()
    )


def _node(name: str, found: Found, recorder: RecorderSettings | None) -> NodeSettings:
    entries = _entries(found)
    return NodeSettings(
        name,
        tuple(one.text for one in entries),
        {one.text: one.settings for one in entries if one.settings},
        found.maybe("order", tuple) or (),
        recorder,
    )


def _entries(found: Found) -> tuple[SourceEntry, ...]:
    return found.maybe("sources", tuple) or ()
