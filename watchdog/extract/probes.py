"""The tracepoints of one node: attached and detached by kind, drained as columns, with all that was lost counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from watchdog.extract.elf import TracedBinary
from watchdog.extract.libbpf import ExtractError
from watchdog.extract.places import Site, sites_of
from watchdog.extract.program import RING_NAMES, UNREADABLE_STRIDE, Program
from watchdog.extract.reader import DrainedRecords, RingReader
from watchdog.extract.releases import Tracepoint
from watchdog.extract.slots import MESSAGES, ProbeSlots

ANY_TYPE: Final = "*"  # in sizes of payloads: all types that have no entry of their own
_WITHOUT_PAYLOAD: Final = 3  # the first rings


@dataclass(frozen=True, slots=True)
class RingCounts:
    """What was counted since the program was loaded.

    received: records by ring. lost: records that found no room, by ring; in the rings of payloads only the payload is
    lost. lost_by: events that are nowhere, by kind. unreadable: (kind, field) -> values. foreign: hits of other
    processes.
    """

    received: Mapping[str, int]
    lost: Mapping[str, int]
    lost_by: Mapping[str, int]
    unreadable: Mapping[tuple[str, str], int]
    foreign: int

    @property
    def records(self) -> int:
        """All records taken."""
        return sum(self.received.values())

    @property
    def lost_records(self) -> int:
        """Events that are nowhere."""
        return sum(self.lost_by.values())

    @property
    def lost_payloads(self) -> int:
        """Payloads that found no room, of messages that are there."""
        return sum(self.lost[name] for name in RING_NAMES[_WITHOUT_PAYLOAD:])


@dataclass(slots=True, eq=False)
class Probes:
    """The program, its reader, and which tracepoints are attached. ExtractError where they cannot be had here."""

    may_sleep: bool | None = None
    multi: bool | None = None
    slots: ProbeSlots = field(default_factory=ProbeSlots)
    _program: Program = field(init=False)
    _reader: RingReader = field(init=False)
    _attached: set[str] = field(default_factory=set)
    _sites: dict[str, tuple[Site, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._program = Program(may_sleep=self.may_sleep, multi=self.multi)
        self.may_sleep, self.multi = self._program.may_sleep, self._program.multi
        try:
            self._reader = RingReader(self._program.rings())
        except ExtractError:
            self._program.close()
            raise

    @property
    def attached(self) -> frozenset[str]:
        """The kinds whose tracepoints are attached."""
        return frozenset(self._attached)

    @property
    def watched(self) -> int:
        """The process that is watched, 0 for none yet."""
        return int(self._program.shared.process)

    def end_of(self, process: int) -> tuple[int, int] | None:
        """Return how a watched process ended, as wait(2) says it, and when, CLOCK_BOOTTIME in ns; None: not seen."""
        shared = self._program.shared
        return (shared.exit_code, shared.exited_at) if shared.exited == process else None

    def watch(self, process: int, *, claim: bool = False) -> None:
        """Count the hits of one process only; 0: of none or, with `claim`, of the first that comes."""
        self._program.watch(process, claim=claim)

    def offer(self, binary: TracedBinary, tracepoints: Mapping[str, Tracepoint]) -> dict[str, str]:
        """Know these tracepoints of a binary. Returns kind -> why it cannot be served."""
        self._sites = {}
        places = binary.sites()
        refused = {}
        for kind, one in tracepoints.items():
            sites = sites_of(binary, places[one.full_name])
            if isinstance(sites, str):
                refused[kind] = sites
            else:
                self._sites[kind] = sites
        for kind, one in tracepoints.items():
            known = self.slots.get(kind)
            if known is not None and known.tracepoint != one:
                self.detach(kind)
        changed, more = self.slots.offer({kind: one for kind, one in tracepoints.items() if kind in self._sites})
        refused.update(more)
        for slot in changed:
            if slot.plan is not None:
                self._program.set_plan(slot.number, slot.plan)
                self._reader.set_plan(slot.number, slot.plan)
        return refused

    def attach(self, kind: str, *, binary: str, process: int) -> None:
        """Attach to a tracepoint that was offered; process: -1 for all that run the binary. A second call does nothing.

        ExtractError with the reason of libbpf or the kernel.
        """
        slot = self.slots.get(kind)
        if slot is None or kind not in self._sites:
            raise ExtractError(f"{kind}: not offered")
        if kind in self._attached:
            return
        self._program.attach(slot.number, self._sites[kind], binary=binary, process=process, message=kind in MESSAGES)
        self._attached.add(kind)

    def detach(self, kind: str) -> None:
        """Detach from a tracepoint, if it is attached."""
        slot = self.slots.get(kind)
        if slot is not None and kind in self._attached:
            self._program.detach(slot.number)
            self._attached.discard(kind)

    def set_payloads(self, sizes: Mapping[str, int]) -> list[str]:
        """Copy payloads up to these sizes, by message type or ANY_TYPE. Returns types that get the general size."""
        own = {type_: size for type_, size in sizes.items() if type_ != ANY_TYPE}
        return self._program.set_payloads(own, sizes.get(ANY_TYPE, 0))

    def drain(self, budget_s: float, *, pause_s: float = 0.005, rows: int = 1 << 30) -> DrainedRecords:
        """Take records; see `RingReader.drain`. In any thread, one at a time."""
        return self._reader.drain(budget_s, pause_s=pause_s, rows=rows)

    def counts(self) -> RingCounts:
        """Return all counters. From any thread."""
        shared = self._program.shared
        lost_by, unreadable = {}, {}
        for number, slot in self.slots.numbered().items():
            if lost := shared.lost_by[number]:
                lost_by[slot.kind] = lost
            for at, one in enumerate(slot.tracepoint.inputs):
                if many := shared.unreadable[number * UNREADABLE_STRIDE + at]:
                    unreadable[slot.kind, one.field or f"argument {at + 1}"] = many
        return RingCounts(
            dict(zip(RING_NAMES, self._reader.received(), strict=True)),
            dict(zip(RING_NAMES, shared.lost, strict=True)),
            lost_by,
            unreadable,
            shared.foreign,
        )

    def stop(self) -> None:
        """End a drain that runs in another thread, and let later ones return at once."""
        self._reader.stop()

    def close(self) -> None:
        """Detach from everything and unload."""
        self._reader.close()
        self._program.close()
        self._attached.clear()
