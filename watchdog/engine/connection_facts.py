"""Facts that only one event of a connection has, added to its other events as hidden columns.

A fact is the first that a source gives of a connection, and holds for its events from that time on. Facts of a slice
are noted before its events are looked at, so that a slice gives the same as the same events in several.

A node numbers connections from 0 again when it restarts, and not every source knows of that. So a fact holds for events
of the address that it came with only: a stranger who gets the number of a trusted peer inherits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from watchdog.core.batch import Batch, Strings
from watchdog.core.resolved import TELLING, UNKNOWN, hidden

CONNECTIONS: Final = 50_000  # of one engine, for each field; the one that was noted first goes
ADDRESS: Final = "peer_addr"
_Key = tuple[str, int, int]  # source, boot_ns, conn
_Fact = tuple[int, str, str]  # time_ns, text, address; the latter empty where the source names none


class ConnectionFacts:
    """Belongs to one engine. fields: those to resolve; without any, nothing is noted."""

    def __init__(self, fields: Iterable[str]) -> None:
        self.fields = tuple(sorted(fields))
        self._known: dict[str, dict[_Key, _Fact]] = {name: {} for name in self.fields}

    def resolved(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return the batches of a slice of one source, with what is known of the connections of each row."""
        if not self.fields:
            return batches
        for batch in batches:
            for name in self.fields:
                if batch.kind in TELLING[name]:
                    self._note(batch, name)
        return [self._with_facts(batch) for batch in batches]

    def _note(self, batch: Batch, name: str) -> None:
        known, told = self._known[name], batch.strings(name)
        conns, times = batch.numbers("conn").astype(np.int64), batch.time_ns
        whose = batch.strings(ADDRESS) if ADDRESS in batch.columns else None
        order = np.lexsort((times, conns))
        begins = np.ones(len(order), np.bool_)
        begins[1:] = conns[order][1:] != conns[order][:-1]
        for row in order[begins].tolist():
            key = (batch.source, batch.boot_ns, int(conns[row]))
            time_ns, address = int(times[row]), "" if whose is None else whose.values[whose.codes[row]]
            before = known.get(key)
            if before is None or time_ns < before[0] or before[2] != address:
                known.pop(key, None)
                known[key] = time_ns, told.values[told.codes[row]], address
        while len(known) > CONNECTIONS:
            del known[next(iter(known))]

    def _with_facts(self, batch: Batch) -> Batch:
        names = [name for name in self.fields if batch.kind not in TELLING[name] and "conn" in batch.columns]
        if not names or not batch.rows:
            return batch
        conns, place = np.unique(batch.numbers("conn").astype(np.int64), return_inverse=True)
        columns = dict(batch.columns)
        for name in names:
            found = [self._known[name].get((batch.source, batch.boot_ns, conn)) for conn in conns.tolist()]
            columns[hidden(name)] = _column(found, place.reshape(-1), batch)
        return Batch(batch.kind, batch.node, batch.source, columns, batch.boot_ns)

    def state(self) -> State:
        """Return what is known, for a checkpoint."""
        return {name: [[*key, *fact] for key, fact in known.items()] for name, known in self._known.items()}

    def restore(self, state: State) -> None:
        """Continue from `state`; fields that are no longer asked for are dropped."""
        for name in self.fields:
            self._known[name] = {
                (str(source), int(boot_ns), int(conn)): (int(time_ns), str(text), str(rest[0]) if rest else "")
                for source, boot_ns, conn, time_ns, text, *rest in state.get(name, [])[-CONNECTIONS:]
            }


def _column(found: Sequence[_Fact | None], place: NDArray[np.int64], batch: Batch) -> Strings:
    """Return the text of each row; `place` says which of `found` it has."""
    texts = {UNKNOWN: 0}
    codes = np.array([0 if one is None else texts.setdefault(one[1], len(texts)) for one in found], np.int32)
    since = np.array([0 if one is None else one[0] for one in found], np.int64)
    holds = (batch.time_ns >= since[place]) & _same_address(found, place, batch)
    return Strings(np.where(holds, codes[place], 0).astype(np.int32), tuple(texts))


def _same_address(found: Sequence[_Fact | None], place: NDArray[np.int64], batch: Batch) -> NDArray[np.bool_]:
    """Return by row whether the fact is of its address; where one of both names none, it is taken to be."""
    if ADDRESS not in batch.columns:
        return np.ones(batch.rows, np.bool_)
    named = batch.strings(ADDRESS)
    numbers = {value: number for number, value in enumerate(named.values)}
    anyone, no_one = -1, -2
    wanted = [anyone if one is None or not one[2] else numbers.get(one[2], no_one) for one in found]
    own = np.array(wanted, np.int64)[place]
    same: NDArray[np.bool_] = (own == anyone) | (own == named.codes) | (named.codes == numbers.get("", no_one))
    return same
