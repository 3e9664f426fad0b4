"""replay and replay-quiet: a whole recording through all shipped rules, against the time that it took to happen.

As `watchdog replay` runs it, from the packed files to incidents; real time, since that is what a person waits for.
"""

from __future__ import annotations

from benchmarks.recordings import recording
from benchmarks.rounds import Row, Settings, by_rate, in_turns, wall_seconds
from watchdog.offline.replay import ReplayOptions, replay

RECORDINGS = {"replay": ("open-2", 2_000.0), "replay-quiet": ("open-1", 3_000.0)}
SECOND = 1e9


def measure(settings: Settings, name: str) -> list[Row]:
    """Seconds of event time in a second."""
    folder, gate = RECORDINGS[name]
    sources = [f"recording:{recording(folder)}"]
    first = replay(sources, ReplayOptions())
    if first.first_event_ns is None or first.last_event_ns is None:
        raise AssertionError(f"no events in {folder}")
    span_s = (first.last_event_ns - first.first_event_ns) / SECOND

    def ours(_: int) -> float:
        return span_s / wall_seconds(lambda: replay(sources, ReplayOptions()))

    measured = in_turns(settings.rounds, ours, lambda _: 1.0)
    note = f"{folder}, {first.events:,} events, {len(first.incidents)} incidents"
    return [by_rate(name, measured, "s/s", "real time", gate=gate, note=note)]
