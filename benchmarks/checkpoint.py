"""checkpoint: the engine's snapshot with 100,000 live keys under W30, against pickled dicts of the same state."""

from __future__ import annotations

from benchmarks import w30
from benchmarks.rivals import dict_pickle
from benchmarks.rivals.pure_python import PurePython
from benchmarks.rounds import Row, Settings, by_cost, cpu_seconds, in_turns
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine

GATE = 5.0
PEERS, GROUPS = 90_000, 10_000  # with the node 100,001 keys
ROWS, DENSITY = 800_000, 2_000
QUICK_ROWS = 40_000
BATCH_ROWS = 10_000


def measure(settings: Settings) -> list[Row]:
    """Milliseconds of CPU time for all state as bytes."""
    rows = QUICK_ROWS if settings.quick else ROWS
    engine, rival = loaded(rows)
    states = dict_pickle.key_states(rival)
    blob, pickled = engine.snapshot(), dict_pickle.dump(states)
    again = Engine(w30.plans(w30.rules(DENSITY)), {w30.SOURCE: ALL_KINDS})
    again.restore(blob)
    if again.usage.key_counts() != engine.usage.key_counts():
        raise AssertionError("a restored engine has other keys")

    def ours(_: int) -> float:
        return 1_000 * cpu_seconds(engine.snapshot)

    def theirs(_: int) -> float:
        return 1_000 * cpu_seconds(lambda: dict_pickle.dump(states))

    live = sum(counts["live"] for counts in engine.usage.key_counts().values())
    note = f"{live:,} keys; {len(blob) / 1e6:.0f} MB and {len(pickled) / 1e6:.0f} MB"
    return [by_cost("checkpoint", in_turns(settings.rounds, ours, theirs), "ms", "pickled dicts", gate=GATE, note=note)]


def loaded(rows: int) -> tuple[Engine, PurePython]:
    """Engine and plain Python after the same events of many keys."""
    chosen = w30.rules(DENSITY)
    engine, rival = Engine(w30.plans(chosen), {w30.SOURCE: ALL_KINDS}), PurePython(chosen)
    stream = w30.workload(rows, DENSITY, peers=PEERS, groups=GROUPS)
    for part in stream.slices(0, rows, BATCH_ROWS):
        engine.process(part)
    for start in range(0, rows, BATCH_ROWS):
        rival.take(stream.events(start, min(start + BATCH_ROWS, rows)))
    return engine, rival
