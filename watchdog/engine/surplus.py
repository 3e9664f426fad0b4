"""Keys of a rule that fire beyond a pane's limit: which of them get a finding each, and what is said of the others.

Kept are the most severe, then those whose measure is largest relative to its constant in `fire`, then those with the
lowest lots: hashes with a secret, so that no peer can choose its place. The others are reported by one finding, which
clears once none of them holds. It counts all that fired at such panes, also those that were kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detectors.state import State
from watchdog.engine.emission import Emission

PER_PANE = 500  # findings of one rule at one pane, without clears
REPLAY_SECRET = b"watchdog replay"  # a replay draws the same lots each time; a service has a secret of its own


@dataclass(slots=True)
class Lots:
    """Draws lots among keys that are equally bad. The secret lasts as long as the engine's state."""

    secret: bytes = REPLAY_SECRET

    def draw(self, rule: str, pane: int, key: Sequence[str]) -> bytes:
        """Draw the lot of a key at a pane; the keys with the lowest lots are kept."""
        text = "\0".join((rule, str(pane), *key)).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16, key=self.secret).digest()


class Surplus:
    """The keys of one rule whose condition holds, and that have no finding of their own.

    cut: findings that were left out, since the beginning. since: the pane at which the first of the keys came, None
    without any. level: the worst of them.
    """

    def __init__(self) -> None:
        self.cut = 0
        self.since: int | None = None
        self.level = 0
        self._slots: set[int] = set()
        self._counted: set[int] = set()  # all keys since then; each counts once
        self._fired: set[int] = set()  # these, and those that fired beside them with a finding of their own

    def __len__(self) -> int:
        """How many keys."""
        return len(self._slots)

    @property
    def counted(self) -> int:
        """How many keys there were since the first."""
        return len(self._counted)

    @property
    def fired(self) -> int:
        """How many keys fired since the first, at panes at which some were left out."""
        return len(self._fired)

    def has_counted(self, slot: int) -> bool:
        """Whether a key is among those."""
        return slot in self._fired

    def add(self, left_out: Sequence[Emission], emissions: Sequence[Emission], pane: int) -> int:
        """Add keys that are left out at this pane, of all its emissions; return how many fire that did not before."""
        slots = {emission.slot for emission in left_out}
        self.cut += len(slots)
        if self.since is None:
            self.since = pane
        before = len(self._fired)
        self._slots |= slots
        self._counted |= slots
        self.level = max(self.level, *(emission.level for emission in left_out))
        self._fired |= slots
        self._fired.update(emission.slot for emission in emissions if emission.change == "fire")
        return len(self._fired) - before

    def drop(self, slot: int) -> bool:
        """Drop a key that has a finding of its own now, or whose condition ended; return whether it was here."""
        if slot not in self._slots:
            return False
        self._slots.discard(slot)
        return True

    def purge(self, slots: Iterable[int]) -> None:
        """Forget slots that other keys will use."""
        self._slots.difference_update(slots)
        self._counted.difference_update(slots)
        self._fired.difference_update(slots)

    def end(self) -> None:
        """Start over with the next key, as none is left."""
        self.since, self.level = None, 0
        self._counted.clear()
        self._fired.clear()

    def state(self) -> State:
        """All of it."""
        return {
            "cut": self.cut,
            "since": self.since,
            "level": self.level,
            "slots": sorted(self._slots),
            "counted": sorted(self._counted),
            "fired": sorted(self._fired),
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.cut, self.level = int(state["cut"]), int(state["level"])
        self.since = None if state["since"] is None else int(state["since"])
        self._slots, self._counted = set(map(int, state["slots"])), set(map(int, state["counted"]))
        self._fired = set(map(int, state["fired"] if "fired" in state else state["counted"]))
