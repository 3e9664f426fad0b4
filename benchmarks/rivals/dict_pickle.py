"""The rival of checkpoint: the same state as one dict for each key, pickled.

The state of a program that uses Python objects: for each key its rules, for each of them the running value,
whether it fires, and what the window still has to forget. The dicts are made from the plain Python rival's state after
the same events, so both sides save the same content; making them is not measured.

Why this is the best form that we know: plain ints, tuples and lists, no classes, the newest pickle protocol, the C
implementation, dumped to memory. (Such a file must never be loaded from disk: a pickle can run code.)

Alone: python -m benchmarks.rivals.dict_pickle
"""

from __future__ import annotations

import pickle
import time
from typing import Any

from benchmarks.rivals.pure_python import Distinct, PlainKey, PurePython
from benchmarks.w30 import rules, workload

KeyState = dict[str, dict[str, Any]]  # by rule


def key_states(rival: PurePython) -> dict[PlainKey, KeyState]:
    """Return the state of each key, by rule."""
    states: dict[PlainKey, KeyState] = {}
    for window in rival.windows:
        name = window.rule.name
        for key, value in window.values.items():
            own: dict[str, Any] = {"value": value, "firing": key in window.firing, "panes": []}
            states.setdefault(key, {})[name] = own
        for pane, came in window.panes:
            for key, amount in came:
                states[key][name]["panes"].append((pane, amount))
        if isinstance(window, Distinct):
            for (key, value), latest in window.latest.items():
                states[key][name].setdefault("latest", {})[value] = latest
    return states


def dump(states: dict[PlainKey, KeyState]) -> bytes:
    """Return the states as bytes."""
    return pickle.dumps(states, protocol=pickle.HIGHEST_PROTOCOL)


def main() -> None:
    """Print how long 20,000 keys take."""
    rival = PurePython(rules(500))
    rival.take(workload(100_000, 500, peers=20_000, groups=2_000).events(0, 100_000))
    states = key_states(rival)
    start = time.process_time()
    blob = dump(states)
    print(f"{len(states):,} keys, {len(blob):,} bytes, {1_000 * (time.process_time() - start):.0f} ms")


if __name__ == "__main__":
    main()
