"""Which tracepoint each slot of the BPF program serves, and how its arguments are copied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from watchdog.extract.program import MOST_SLOTS
from watchdog.extract.reader import ARGUMENTS, HASH, ProbePlan
from watchdog.extract.releases import Tracepoint

NUMBER, TEXT, HASH32, BYTES = 1, 2, 3, 4  # as in bpf/record.h
TEXT_ROOM: Final = 264
TEXTS_MOST: Final = 4  # texts and byte strings of a tracepoint: the area of a record has no room for more
HASHES_MOST: Final = 2
MESSAGES: Final = frozenset({"net:inbound_message", "net:outbound_message"})
_WHAT: Final[Mapping[str, int]] = {"str": TEXT, "bytes32": HASH32, "bytes": BYTES}


def plan_of(tracepoint: Tracepoint) -> ProbePlan | str:
    """Return how the program copies the arguments of a tracepoint, or why it cannot."""
    whats = [_WHAT.get(one.form, NUMBER) for one in tracepoint.inputs]
    if len(whats) > ARGUMENTS:
        return f"more than {ARGUMENTS} arguments"
    texts, hashes = sum(what in {TEXT, BYTES} for what in whats), whats.count(HASH32)
    lengths = {one.length for one in tracepoint.inputs if one.form == "bytes"}
    if texts > TEXTS_MOST or hashes > HASHES_MOST or len(lengths) > 1:
        return f"more than {TEXTS_MOST} texts, {HASHES_MOST} hashes or one byte string"
    plan = ProbePlan(count=len(whats), length=max(lengths, default=0), large=texts > 0)
    place = 0
    for number, what in enumerate(whats):
        plan.what[number], plan.place[number] = what, place // 8
        place += {NUMBER: 0, HASH32: HASH}.get(what, TEXT_ROOM)
    return plan


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot in use. plan: None for the tracepoints of messages, which the program copies by itself."""

    number: int
    tracepoint: Tracepoint
    plan: ProbePlan | None

    @property
    def kind(self) -> str:
        """The kind that its records become."""
        return self.tracepoint.kind


class ProbeSlots:
    """The slots of one program. A tracepoint keeps its slot while it is the same, also while it is not attached.

    One whose arguments mean something else now gets another slot: records of the old one may still wait to be read.
    """

    def __init__(self) -> None:
        self._by_kind: dict[str, Slot] = {}
        self._unused = list(range(MOST_SLOTS))

    def offer(self, tracepoints: Mapping[str, Tracepoint]) -> tuple[list[Slot], dict[str, str]]:
        """Serve these tracepoints as well, or as they are now. Returns the new or changed slots, and what is refused.

        Refused: kind -> why: too many of them, or more arguments than a record has room for.
        """
        changed, refused = [], {}
        for kind, tracepoint in tracepoints.items():
            known = self._by_kind.get(kind)
            if known is not None and known.tracepoint == tracepoint:
                continue
            plan = None if kind in MESSAGES else plan_of(tracepoint)
            if isinstance(plan, str) or not (self._unused or known):
                refused[kind] = plan if isinstance(plan, str) else f"more than {MOST_SLOTS} tracepoints"
                continue
            number = self._unused.pop(0) if self._unused or known is None else known.number
            if known is not None and number != known.number:
                self._unused.append(known.number)
            self._by_kind[kind] = Slot(number, tracepoint, plan)
            changed.append(self._by_kind[kind])
        return changed, refused

    def get(self, kind: str) -> Slot | None:
        """Return the slot of a kind."""
        return self._by_kind.get(kind)

    def numbered(self) -> dict[int, Slot]:
        """Return all slots by number."""
        return {slot.number: slot for slot in self._by_kind.values()}
