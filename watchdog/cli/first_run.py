"""`watchdog run` without a configuration: the nodes of this machine, no receiver, state in the user's folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rules.load import load
from watchdog.cli.state import state_folder
from watchdog.core.errors import WatchdogError
from watchdog.core.plan import RulePlan
from watchdog.core.text import printable
from watchdog.doctor.configuration import run_text, watched_together, writable_sources
from watchdog.doctor.examine import examine
from watchdog.doctor.nodes import usual_folders
from watchdog.doctor.report import DoctorNode, DoctorReport
from watchdog.doctor.screen import screen
from watchdog.service.config.read import DEFAULT_PATH, load_config
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.source_paths import user


class NoNodeError(WatchdogError):
    """No node of this machine can be watched without a configuration."""


def first_config() -> tuple[ServiceConfig, list[str]]:
    """Return the configuration of a first run, and the lines to log, the most important first.

    Raise NoNodeError, after doctor's lines on standard error, without a node whose RPC answers.
    """
    report = examine(shipped_plans)
    nodes = watched_together([node for node in report.nodes if _answers(node)])
    if not nodes:
        print_report(report)
        raise NoNodeError("no node whose RPC answers; 'watchdog doctor' looks again, or write a watchdog.yaml")
    state = state_folder()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = load_config(DEFAULT_PATH, text=run_text(nodes, state.absolute()))
    return config, [_first_line(config, nodes), *_left_out(report, nodes), f"state and history are in {state}"]


def shipped_plans() -> Sequence[RulePlan]:
    """Load the shipped rules."""
    return load([], packs=True).plans


def print_report(report: DoctorReport) -> None:
    """Print doctor's lines to standard error."""
    for line in screen(report, user()):
        sys.stderr.write(f"{line.text}\n")


def may_be_watched(node: DoctorNode) -> bool:
    """Return whether a node is one that this user would name: not one that a stranger runs anywhere.

    A stranger's node might make us read a cookie for it, again and again, that is not its own.
    """
    folders = {str(folder) for folder in usual_folders()}
    return node.owner in {os.geteuid(), 0} or (node.datadir is not None and node.datadir in folders)


def _answers(node: DoctorNode) -> bool:
    sources = {door.door for door in writable_sources(node)}
    return "rpc" in sources and may_be_watched(node)


def _first_line(config: ServiceConfig, nodes: Sequence[DoctorNode]) -> str:
    names = ", ".join(f"{node.name} ({node.datadir})" for node in nodes)
    return printable(
        f"no {DEFAULT_PATH} here: watching {names}, with no receiver, so incidents show on {config.api.url} only; "
        "'watchdog init' writes a configuration",
        4_096,
    )


def _left_out(report: DoctorReport, nodes: Sequence[DoctorNode]) -> list[str]:
    """Return a line for each node that is not watched."""
    lines = []
    for node in report.nodes:
        if node in nodes:
            continue
        why = next(door.text for door in node.doors if door.door == "rpc")
        if not may_be_watched(node):
            why = "another user runs it in a folder of their own; name it in a watchdog.yaml"
        elif _answers(node):
            why = "it has a source of another node"
        where = f" in {node.datadir}" if node.datadir else f" (pid {node.pid})" if node.pid else ""
        lines.append(printable(f"node {node.name}{where} is not watched: {why}", 4_096))
    return lines
