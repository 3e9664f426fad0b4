"""When a condition begins, lasts, worsens and ends, step by step: the smallest rule, a value for each pane."""

from __future__ import annotations

import pytest

from rules.load import load_text
from tests.support.events import batch, one_slice
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine

PANE_S = 10
RULE = """
rules:
  full: {title: a, attack: resource, severity: warning, on: rpc:mempool, by: [], over: 10s, pane: 10s, evidence: 0,
    measure: {most: max(txs)}, fire: most > 100, MORE}
"""
LEVELS = "escalate: {high: most > 1000, critical: most > 5000}"
CLEAR, FOR = "clear: most < 50", "for: 20s"
Step = tuple[int, str, str]


def findings(values: list[int], *more: str, restart_at: int = 0) -> list[Step]:
    """Pane, change and severity of what the rule says of these values."""
    plans = load_text(RULE.replace(", MORE", "".join(f", {one}" for one in more))).plans
    engine, found = Engine(plans, {"hand": ALL_KINDS}), []
    for pane, value in enumerate([*values, 1]):
        if pane == restart_at > 0:
            saved, engine = engine.snapshot(), Engine(plans, {"hand": ALL_KINDS})
            engine.restore(saved)
        polled = batch("rpc:mempool", [{"t": 1_700_000_000 + pane * PANE_S, "txs": value}])
        found += engine.process(one_slice([polled], 1_700_000_000 + pane * PANE_S))
    start_ns = 1_700_000_000 * 10**9
    return [((one.time_ns - start_ns) // (PANE_S * 10**9) - 1, one.change, one.severity) for one in found]


@pytest.mark.parametrize(
    ("values", "more", "said"),
    [
        ([1, 200, 200, 1], (), [(1, "fire", "warning"), (3, "clear", "warning")]),
        ([100, 101, 100], (), [(1, "fire", "warning"), (2, "clear", "warning")]),
        ([200, 70, 70, 200, 49], (CLEAR,), [(0, "fire", "warning"), (4, "clear", "warning")]),
        ([70, 70, 49], (CLEAR,), []),
        ([200, 200, 1, 200, 200, 200, 1], (FOR,), [(5, "fire", "warning"), (6, "clear", "warning")]),
        ([200, 70, 70, 1], (FOR, CLEAR), []),
        ([200, 70, 70, 200, 200, 1], (FOR, CLEAR), [(4, "fire", "warning"), (5, "clear", "warning")]),
        (
            [200, 2_000, 2_000, 9_000, 200, 2_000, 1],
            (LEVELS,),
            [(0, "fire", "warning"), (1, "escalate", "high"), (3, "escalate", "critical"), (6, "clear", "critical")],
        ),
        ([9_000, 200, 1], (LEVELS,), [(0, "fire", "critical"), (2, "clear", "critical")]),
        ([2_000, 200, 200, 1], (FOR, LEVELS), [(2, "fire", "warning"), (3, "clear", "warning")]),
        ([200, 200, 2_000, 1], (FOR, LEVELS), [(2, "fire", "high"), (3, "clear", "high")]),
        (
            [200] * 14 + [1],
            (),
            [(0, "fire", "warning"), (6, "update", "warning"), (12, "update", "warning"), (14, "clear", "warning")],
        ),
        (
            [200] + [70] * 7 + [200, 200, 1],
            (CLEAR,),
            [(0, "fire", "warning"), (8, "update", "warning"), (10, "clear", "warning")],
        ),
    ],
)
def test_what_is_said_of_a_condition(values: list[int], more: tuple[str, ...], said: list[Step]) -> None:
    assert findings(values, *more) == said
    for restart_at in range(1, len(values)):
        assert findings(values, *more, restart_at=restart_at) == said, f"after a restart at {restart_at}"
