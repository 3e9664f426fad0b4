"""What doctor has found, as records; `as_object` is the JSON of `watchdog doctor --json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from watchdog.doctor.clock import KernelClock

Level = Literal["ok", "optional", "problem"]
DoorName = Literal["rpc", "zmq", "log", "capture", "ipc", "tracepoints", "asmap"]
DOORS: Final[tuple[DoorName, ...]] = ("rpc", "zmq", "log", "capture", "ipc", "tracepoints", "asmap")
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class NodeDoor:
    """One way to hear a node. fix: lines for a shell or for bitcoin.conf that open it; each says which by itself.

    source: the text of the source that reads it and its further keys for watchdog.yaml; empty while it is closed.
    """

    door: DoorName
    level: Level
    text: str
    fix: tuple[str, ...] = ()
    source: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DoctorNode:
    """One node. version: the number that getnetworkinfo gives, such as 300000. ibd: whether it is in initial block
    download; None while the node does not say. settings: lines on settings that keep rules silent.
    """

    name: str
    datadir: str | None
    chain: str
    pid: int | None
    version: int | None
    user_agent: str | None
    ibd: bool | None
    doors: tuple[NodeDoor, ...]
    settings: tuple[str, ...] = ()
    offset_s: float | None = None
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class RuleReport:
    """Whether a rule can fire; see `watchdog.service.capabilities`. problem: whether that counts as one."""

    id: str
    can_fire: bool | str
    lacks: tuple[str, ...]
    problem: bool


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """One receiver of the configuration."""

    name: str
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class ClockReport:
    """offset_s: the largest time offset that a node reports against its peers; None without an answer."""

    level: Level
    offset_s: float | None
    synchronised: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """The whole report. looked_at: the places that were searched for nodes. left_out: nodes beyond the limit."""

    nodes: tuple[DoctorNode, ...]
    rules: tuple[RuleReport, ...]
    receivers: tuple[ReceiverReport, ...]
    clock: ClockReport
    looked_at: tuple[str, ...]
    left_out: int = 0

    @property
    def problems(self) -> int:
        """How many things are at the level `problem`; the rules that should be able to fire count as one."""
        levels = [door.level for node in self.nodes for door in node.doors]
        levels += [one.level for one in self.receivers]
        return [*levels, self.clock.level].count("problem") + any(one.problem for one in self.rules)


def clock_report(kernel: KernelClock, words: str, nodes: Sequence[DoctorNode], skew_s: float) -> ClockReport:
    """Judge this machine's clock. skew_s: the difference that the service accepts (`clock_skew`)."""
    offsets = [node.offset_s for node in nodes if node.offset_s is not None]
    largest = max(offsets, key=abs, default=None)
    if largest is not None and abs(largest) > skew_s:
        text = f"{words}; peers of a node are {largest:+g} s away from its clock, more than {skew_s:g} s"
        return ClockReport("problem", largest, kernel.synchronised, text)
    if largest is not None:
        words += f"; a node's peers are up to {largest:+g} s away from its clock"
    return ClockReport("ok" if kernel.synchronised else "optional", largest, kernel.synchronised, words)


def as_object(report: DoctorReport) -> dict[str, object]:
    """Return the JSON document."""
    return {
        "version": VERSION,
        "nodes": [_node(node) for node in report.nodes],
        "rules": [{"id": one.id, "can_fire": one.can_fire, "lacks": list(one.lacks)} for one in report.rules],
        "receivers": [{"name": one.name, "level": one.level, "text": one.text} for one in report.receivers],
        "clock": {
            "level": report.clock.level,
            "offset_s": report.clock.offset_s,
            "synchronised": report.clock.synchronised,
        },
        "problems": report.problems,
    }


def _node(node: DoctorNode) -> dict[str, object]:
    return {
        "name": node.name,
        "datadir": node.datadir,
        "chain": node.chain,
        "pid": node.pid,
        "version": node.version,
        "user_agent": node.user_agent,
        "ibd": node.ibd,
        "doors": [_door(one, node.settings if one.door == "rpc" else ()) for one in node.doors],
    }


def _door(door: NodeDoor, notes: Sequence[str]) -> dict[str, object]:
    """Return one door; the notes on settings have no field of their own, and follow the text of the RPC."""
    return {"door": door.door, "level": door.level, "text": "; ".join([door.text, *notes]), "fix": list(door.fix)}
