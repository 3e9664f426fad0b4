"""The report for people: one screen for a healthy node, the lines that open a door below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from watchdog.core.text import counted, printable
from watchdog.doctor.report import DoctorNode, DoctorReport, RuleReport
from watchdog.doctor.rights import user_name
from watchdog.service.capabilities import LACKS

LONGEST: Final = 4_096  # characters of a line: a path on Linux has as many bytes at most
NAMED: Final = 6  # rules of one line
LABEL: Final = 12  # width of the first column


class ScreenLine(NamedTuple):
    """One line. whole: it is to be copied, so that a terminal must not fold it."""

    text: str
    whole: bool = False


def screen(report: DoctorReport, user: str) -> list[ScreenLine]:
    """Return the whole text. user: whose rights were tried."""
    return [ScreenLine(printable(line.text, LONGEST), line.whole) for line in _lines(report, user)]


def no_node_lines(report: DoctorReport) -> list[str]:
    """Return the lines for a machine without a node that this user can see."""
    return [
        "no node found; looked at:",
        *(f"  {place}" for place in report.looked_at),
        "name its folder with --datadir DIR, or its RPC in watchdog.yaml",
    ]


def _lines(report: DoctorReport, user: str) -> Iterator[ScreenLine]:
    yield from map(ScreenLine, () if report.nodes else no_node_lines(report))
    for node in report.nodes:
        yield from _node(node)
    if report.left_out:
        yield ScreenLine(
            f"{counted(report.left_out, 'further node')} left out: name the one that is meant with --datadir"
        )
    yield from map(ScreenLine, _rules(report.rules))
    for one in report.receivers:
        yield ScreenLine(f"  {one.level:<9} receiver {one.name}: {one.text}")
    if not report.receivers:
        yield ScreenLine("  optional  receivers: none is configured, so no alert leaves this machine")
    yield ScreenLine(f"  {report.clock.level:<9} clock: {report.clock.text}")
    problems = counted(report.problems, "problem") if report.problems else "no problem"
    yield ScreenLine(f"{counted(len(report.nodes), 'node')}, {problems}, seen by user {user}")


def _node(node: DoctorNode) -> Iterator[ScreenLine]:
    words = [node.name]
    words += [f"chain {node.chain}"] if node.chain and node.name != node.chain else []
    words += [node.user_agent] if node.user_agent else []
    words += [f"pid {node.pid}" if node.pid else "no process seen"]
    words += [f"user {user_name(node.owner)}"] if node.owner is not None else []
    words += [node.datadir] if node.datadir else []
    yield ScreenLine("  ".join(words))
    for door in node.doors:
        yield ScreenLine(f"  {door.level:<9} {door.door}: {door.text}")
        yield from (ScreenLine(f"{'':{LABEL}}{line}", whole=True) for line in door.fix)
    for line in node.settings:
        yield ScreenLine(f"  {'note':<9} {line}")


def _rules(rules: Sequence[RuleReport]) -> Iterator[str]:
    """Yield a line on all rules, and one for the severe ones that cannot fire."""
    able = sum(one.can_fire is True for one in rules)
    perhaps = sum(one.can_fire == "unknown" for one in rules)
    words = [f"{able} of {counted(len(rules), 'rule')} can fire"]
    words += [f"{perhaps} perhaps"] if perhaps else []
    severe = [one for one in rules if one.problem]
    yield f"  {'problem' if severe else 'ok':<9} rules: {', '.join(words)}"
    if severe:
        names = ", ".join(one.id for one in severe[:NAMED])
        more = f" and {len(severe) - NAMED} more" if len(severe) > NAMED else ""
        lacks = " or ".join(LACKS[lack] for lack in dict.fromkeys(lack for one in severe for lack in one.lacks))
        yield f"{'':{LABEL}}high or critical and unable to fire: {names}{more}; they lack {lacks}"
