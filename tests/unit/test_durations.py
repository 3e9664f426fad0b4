"""Durations: their spelling in rules, configuration and command line, and their output."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.load import load
from rules.syntax import Span, parse
from watchdog.cli.moments import duration_ns, moment
from watchdog.core.durations import (
    DAY_NS,
    DURATION_PATTERN,
    HOUR_NS,
    LONGEST_NS,
    MINUTE_NS,
    SECOND_NS,
    UNITS_NS,
    exact_duration,
    parse_duration,
    rough_duration,
)
from watchdog.service.config.read import load_config

WRITTEN = {
    "500ms": SECOND_NS // 2,
    "10s": 10 * SECOND_NS,
    "5m": 5 * MINUTE_NS,
    "2h": 2 * HOUR_NS,
    "7d": 7 * DAY_NS,
    "2w": 14 * DAY_NS,
    "1_000s": 1_000 * SECOND_NS,
    "0s": 0,
}


@pytest.mark.parametrize(("text", "span_ns"), WRITTEN.items())
def test_one_grammar_for_all_who_read_durations(text: str, span_ns: int) -> None:
    assert parse_duration(text) == duration_ns(text) == span_ns
    assert moment(text) == (span_ns, True)
    expression = parse(text)
    assert isinstance(expression, Span)
    assert expression.nanoseconds == span_ns
    assert re.fullmatch(DURATION_PATTERN, text)


def test_weeks_work_in_rules_and_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "rules:\n  my-pings:\n    title: Pings\n    attack: message-anomaly\n    severity: warning\n    on: p2p:ping\n"
        "    measure: {pings: count()}\n    over: 1w\n    fire: pings > 60\n"
    )
    (plan,) = load([tmp_path / "rules.yaml"], packs=False).plans
    assert plan.over_ns == 7 * DAY_NS
    config = tmp_path / "watchdog.yaml"
    config.write_text("node: alice\nsources: [events:here]\nretention: {resolved: 2w}\n")
    assert load_config(config).retention.resolved_ns == 14 * DAY_NS


@pytest.mark.parametrize("text", ["", "10", "w", "10 min", "1.5h", "-5m", "1y", "5M", "_5m", "3661d", "9" * 19 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert parse_duration(text) is None
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration such as '90d', '12h' or '30m', of at most"):
        duration_ns(text)


@given(st.integers(0, LONGEST_NS // UNITS_NS["ms"]).map(lambda count: count * UNITS_NS["ms"]))
def test_what_is_told_exactly_is_read_back(span_ns: int) -> None:
    assert parse_duration(exact_duration(span_ns)) == span_ns


@pytest.mark.parametrize(
    ("span_ns", "exact", "rough"),
    [
        (0, "0s", "0s"),
        (SECOND_NS // 2, "500ms", "0s"),
        (1_500_000_000, "1500ms", "1s"),
        (90 * SECOND_NS, "90s", "1m 30s"),
        (600 * SECOND_NS, "10m", "10m"),
        (90 * MINUTE_NS, "90m", "1h 30m"),
        (14 * DAY_NS, "14d", "14d"),
        (3 * DAY_NS + 4 * HOUR_NS + 5 * MINUTE_NS, "4565m", "3d 4h"),
    ],
)
def test_the_two_ways_to_tell_a_duration(span_ns: int, exact: str, rough: str) -> None:
    assert (exact_duration(span_ns), rough_duration(span_ns)) == (exact, rough)
