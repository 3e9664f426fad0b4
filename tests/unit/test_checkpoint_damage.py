"""Checkpoints with a right checksum and wrong insides: said in one line, never a crash."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from detectors.state import State
from tests.support.group_state import with_group_state
from tests.support.rulesets import plans
from watchdog.core.errors import StateError
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.checkpoint import MAGIC, unpack
from watchdog.engine.engine import Engine

RULE = """rules:
  one: {title: t, attack: message-anomaly, severity: info, resolve_after: 1m, on: net:inbound_message,
    by: [conn], measure: {n: count()}, over: 100s, pane: 1s, fire: n >= 3, summary: "{n}"}
"""


def _engine() -> Engine:
    return Engine(plans(RULE), {"hand": ALL_KINDS})


def _framed(header: bytes) -> bytes:
    header += b" " * (-len(header) % 8)
    return MAGIC + zlib.crc32(header).to_bytes(4, "little") + len(header).to_bytes(4, "little") + header


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"{not json", "cannot be read"),
        (b"[]", "holds no state"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cannot be read"),
        (b'{"x": {"@": "<i8", "shape": [4611686018427387904, 4], "at": 0}}', "cut short"),
        (b'{"x": {"@": "<i8", "shape": [-1], "at": 0}}', "negative size"),
        (b'{"x": {"@": "<i8", "shape": [0], "at": -8}}', "negative size"),
        (b'{"x": {"@": "<i8"}}', "cannot be read"),
        (b'{"x": {"@": [], "shape": [0], "at": 0}}', "cannot be read"),
    ],
)
def test_a_header_that_lies_is_refused(header: bytes, reason: str) -> None:
    with pytest.raises(StateError, match=reason):
        unpack(_framed(header))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.pop("groupings"),
        lambda state: state["groupings"].pop(),
        lambda state: state.update(marks={"hand": "x"}),
        lambda state: state.update(marks=None),
        lambda state: state.update(lookback=[{}]),
    ],
)
def test_a_state_of_other_shape_is_refused(spoil: Callable[[State], object]) -> None:
    forged = with_group_state(_engine().snapshot(), spoil)
    with pytest.raises(StateError, match="checkpoint does not fit"):
        _engine().restore(forged)
