"""Examines the nodes of this machine door by door, all at once, and judges rules and clock. Ends in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from watchdog.core.plan import RulePlan
from watchdog.core.text import counted
from watchdog.doctor.chains import MAIN
from watchdog.doctor.clock import clock_words, kernel_clock
from watchdog.doctor.far_doors import zmq_door
from watchdog.doctor.file_doors import asmap_door, capture_door, log_door
from watchdog.doctor.hang_guard import Answer, Background, Deadline, ask_all, program_age_s
from watchdog.doctor.ipc_door import ipc_door
from watchdog.doctor.judge import judged
from watchdog.doctor.nodes import DetectedNode, DetectedNodes, find_nodes
from watchdog.doctor.report import DOORS, DoctorNode, DoctorReport, NodeDoor, ReceiverReport, RuleReport, clock_report
from watchdog.doctor.rpc_door import Heard, rpc_door
from watchdog.doctor.settings import Settings
from watchdog.doctor.tracepoint_door import tracepoints_door
from watchdog.service.source_paths import user

TOTAL_S: Final = 9.5  # from the start of the program: 15 s are promised, and a loaded machine needs some of them
LATEST_START_S: Final = 5.0  # at most counted for the start: tests call this from an older process
FIND_S: Final = 2.5  # of it to find nodes: stat calls and small files
SKEW_S: Final = 120.0  # the service's default of `clock_skew`

DoorAnswer = NodeDoor | tuple[NodeDoor, Heard]


def whole_deadline() -> Deadline:
    """Return when a command of this process has to have its answers."""
    return Deadline(TOTAL_S - min(program_age_s(), LATEST_START_S))


def examine(
    load_plans: Callable[[], Sequence[RulePlan]], named: Path | None = None, skew_s: float = SKEW_S
) -> DoctorReport:
    """Look for nodes and examine them. load_plans: loads the rules to judge. named: look into this datadir only.

    It writes nothing, asks each RPC once, and ends within `TOTAL_S` of the start of the program, whatever hangs.
    """
    deadline, plans = whole_deadline(), Background(load_plans)
    found = find_nodes(named, find_deadline(deadline))
    doors = doors_of(found.nodes, deadline)
    rules, nodes = judged(plans.get(), doors)
    return report_of(found, nodes, rules, (), skew_s)


def find_deadline(whole: Deadline) -> Deadline:
    """Return the part of a deadline that looking for nodes may take."""
    return Deadline(min(FIND_S, whole.left_s))


def doors_of(nodes: Sequence[DetectedNode], deadline: Deadline) -> list[DoctorNode]:
    """Examine all doors of all nodes at once; a door that does not answer in time is a problem."""
    who = user()
    calls: dict[tuple[int, str], Callable[[], DoorAnswer]] = {}
    for number, node in enumerate(nodes):
        for name, call in door_calls(node, who, deadline).items():
            calls[number, name] = call
    answers = ask_all(calls, deadline)
    return [
        node_report(node, {name: answers.get((number, name)) for name in DOORS}) for number, node in enumerate(nodes)
    ]


def report_of(
    found: DetectedNodes,
    nodes: Sequence[DoctorNode],
    rules: Sequence[RuleReport],
    receivers: Sequence[ReceiverReport],
    skew_s: float,
) -> DoctorReport:
    """Put a report together, with the clock of this machine."""
    kernel = kernel_clock()
    clock = clock_report(kernel, clock_words(kernel), nodes, skew_s)
    return DoctorReport(tuple(nodes), tuple(rules), tuple(receivers), clock, found.looked_at, found.left_out)


def door_calls(node: DetectedNode, who: str, deadline: Deadline) -> Mapping[str, Callable[[], DoorAnswer]]:
    """Return a call for each door of a node that was found."""
    return {
        "rpc": lambda: rpc_door(node, who, deadline),
        "zmq": lambda: zmq_door(node, deadline),
        "log": lambda: log_door(node, who),
        "capture": lambda: capture_door(node, who),
        "tracepoints": lambda: tracepoints_door(node, who, deadline),
        "ipc": lambda: ipc_door(node, who, deadline),
        "asmap": lambda: asmap_door(node),
    }


def node_report(
    node: DetectedNode | None, answers: Mapping[str, Answer[DoorAnswer] | None], name: str | None = None
) -> DoctorNode:
    """Return the report of a node. node: None for one that is not on this machine. name: in place of the node's own.

    answers: by door; None for a door that did not answer, missing for one that was not tried.
    """
    doors: list[NodeDoor] = []
    heard = Heard()
    for door_name in DOORS:
        answer = answers.get(door_name)
        if door_name not in answers:
            doors.append(NodeDoor(door_name, "optional", "not on this machine, or not in the configuration"))
            continue
        if answer is None:
            doors.append(NodeDoor(door_name, "problem", "does not answer in time: a dead disk or node?"))
            continue
        result = answer.get()
        door, heard = result if isinstance(result, tuple) else (result, heard)
        doors.append(door)
    offset = heard.whole("getnetworkinfo", "timeoffset")
    known = node or DetectedNode(name or "", None, MAIN, Settings(MAIN))
    chain = known.chain.name if node is not None else heard.text("getblockchaininfo", "chain") or ""
    return DoctorNode(
        name=name or known.name,
        datadir=None if known.datadir is None else str(known.datadir),
        chain=chain,
        pid=known.pid,
        version=heard.whole("getnetworkinfo", "version"),
        user_agent=heard.text("getnetworkinfo", "subversion"),
        ibd=heard.flag("getblockchaininfo", "initialblockdownload"),
        doors=tuple(_with_notes(door, known.notes) for door in doors),
        settings=tuple(settings_lines(known.settings, heard)),
        offset_s=None if offset is None else float(offset),
        owner=known.owner,
    )


def _with_notes(door: NodeDoor, notes: Sequence[str]) -> NodeDoor:
    """Add to the RPC's text what could not be read, as it may be wrong about ports then."""
    if door.door != "rpc" or not notes or all(note in door.text for note in notes):
        return door
    return replace(door, text="; ".join([door.text, *notes]))


def settings_lines(settings: Settings, heard: Heard) -> list[str]:
    """Return a line for each setting that decides which rules make sense."""
    lines = []
    if not settings.flag("listen", default=not (settings.values("connect") or settings.values("proxy"))):
        lines.append("listen=0: no inbound peers, so rules on these stay silent")
    if chosen := settings.values("connect"):
        peers = counted(len(chosen), "chosen peer")
        lines.append(f"connect: the node talks to {peers} only; losing them is what matters")
    if only := settings.values("onlynet"):
        lines.append(f"onlynet={','.join(sorted(set(only)))[:60]}: no peers of other networks")
    if settings.flag("blocksonly", default=False):
        lines.append("blocksonly=1: no transactions are relayed, so rules on these stay silent")
    if not settings.flag("networkactive", default=True) or heard.flag("getnetworkinfo", "networkactive") is False:
        lines.append("networkactive=0: the node talks to no peer")
    if heard.flag("getblockchaininfo", "initialblockdownload"):
        lines.append("initial block download: rules on the tip wait until it ends")
    return lines
