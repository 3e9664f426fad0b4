"""rules-river and rules-python: W30 through the engine and through a rival, over one and the same stream.

Both sides first see a warm-up (600 s of event time, at most 1,000,000 events), so that windows are full and events also
leave them; then each round gives the next piece of the stream to both. Measured is CPU time from ready input to
alerts: batches of 10,000 rows for the engine, tuples for the rivals. After the last round the alerts of the whole
stream must be the same, or the benchmark fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import w30
from benchmarks.rivals.pure_python import PurePython
from benchmarks.rounds import Row, Settings, by_rate, cpu_seconds, in_turns
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine

BATCH_ROWS = 10_000
WARM_UP_S, WARM_UP_ROWS = 600, 1_000_000
ROUND_ROWS, QUICK_ROWS = 100_000, 10_000
CHUNK_ROWS = 100_000  # tuples made at a time for the warm-up, so that memory stays small
GATES = {"river": {500: 15.0, 5_000: 30.0}, "python": {500: 2.0, 5_000: 4.0}}

Take = Callable[[Sequence[w30.Event]], float]


def python(settings: Settings, density: int) -> list[Row]:
    """All 30 rules against plain Python."""
    chosen = w30.rules(density)
    rival = PurePython(chosen)

    def take(events: Sequence[w30.Event]) -> float:
        return cpu_seconds(lambda: rival.take(events))

    measured, found = _contest(settings, density, chosen, take)
    rival.finish()
    _assert_same(found, rival.alerts())
    gate = GATES["python"][density]
    return [by_rate(f"rules-python-{density}", measured, "events/s", "pure Python", gate=gate, note="same incidents")]


def river(settings: Settings, density: int) -> list[Row]:
    """Compare the rules without distinct counts with river."""
    from benchmarks.rivals.river_rolling import RiverRolling, first_alerts, pane_moments  # noqa: PLC0415 - a second

    chosen = w30.rules(density, distinct=False)
    rival = RiverRolling(chosen)

    def take(events: Sequence[w30.Event]) -> float:
        moments = pane_moments(events)
        return cpu_seconds(lambda: rival.take(events, moments))

    measured, found = _contest(settings, density, chosen, take)
    rival.finish()
    _assert_same(first_alerts(found), rival.first_alerts())
    gate = GATES["river"][density]
    return [
        by_rate(
            f"rules-river-{density}", measured, "events/s", "river TimeRolling", gate=gate, note="same first alerts"
        )
    ]


def _contest(
    settings: Settings, density: int, chosen: tuple[w30.Rule, ...], take: Take
) -> tuple[tuple[float, float], set[w30.Alert]]:
    """Rates of both, and the engine's alerts over the whole stream."""
    rows = QUICK_ROWS if settings.quick else ROUND_ROWS
    warm_up = 3 * QUICK_ROWS if settings.quick else min(WARM_UP_S * density, WARM_UP_ROWS)
    stream = w30.workload(warm_up + settings.rounds * rows, density)
    engine = Engine(w30.plans(chosen), {w30.SOURCE: ALL_KINDS})
    findings: list[Finding] = []

    def process(slices: Sequence[Slice]) -> None:
        for part in slices:
            findings.extend(engine.process(part))

    process(list(stream.slices(0, warm_up, BATCH_ROWS)))
    for start in range(0, warm_up, CHUNK_ROWS):
        take(stream.events(start, min(start + CHUNK_ROWS, warm_up)))

    def ours(number: int) -> float:
        start = warm_up + number * rows
        slices = list(stream.slices(start, start + rows, BATCH_ROWS))
        return rows / cpu_seconds(lambda: process(slices))

    def rival(number: int) -> float:
        start = warm_up + number * rows
        return rows / take(stream.events(start, start + rows))

    measured = in_turns(settings.rounds, ours, rival)
    findings.extend(engine.finish())
    return measured, w30.alerts(findings)


def _assert_same(found: set[w30.Alert], expected: set[w30.Alert]) -> None:
    if found != expected:
        odd = sorted(found ^ expected)[:3]
        raise AssertionError(f"engine and rival disagree in {len(found ^ expected)} of {len(expected)} alerts: {odd}")
    if not expected:
        raise AssertionError("nothing fired: the workload is too short to compare incidents")
