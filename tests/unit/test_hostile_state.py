"""Forged checkpoints: one clear error, whatever they contain; and keys whose slots are used again."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import w30
from detectors.distinct import DistinctWindow, Touches
from tests.support.capture_files import OTHER, PEER, START_US, column, drained, follower, handshake
from tests.support.events import batch, one_slice
from tests.support.group_state import with_group_state
from tests.support.rulesets import plans
from watchdog.core.errors import SourceError, StateError
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import SourceOptions
from watchdog.engine.engine import Engine
from watchdog.engine.key_tables import VALUES
from watchdog.sources.capture.source import CaptureSource

PLANS = w30.plans(w30.rules(20))


@pytest.fixture(scope="module")
def saved() -> bytes:
    engine = Engine(PLANS, {w30.SOURCE: ALL_KINDS})
    for part in w30.workload(3_000, 20, peers=30, groups=6).slices(0, 3_000, 500):
        engine.process(part)
    return engine.snapshot()


def spoil(state: Any, path: str, value: Any) -> None:
    """Put a value at a place such as `lanes/0/touches/0/cell`, into its first item if that is an array."""
    *way, last = [int(step) if step.isdigit() and not isinstance(state, dict) else step for step in path.split("/")]
    for step in way:
        state = state[int(step)] if isinstance(state, list) else state[step]
    if isinstance(state[last], np.ndarray) and not isinstance(value, np.ndarray):
        state[last] = state[last].copy()
        state[last].reshape(-1)[0] = value
    else:
        state[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("lanes/0/touches/0/cell", 2**63 - 1),
        ("lanes/0/pending/cell", -1),
        ("lanes/0/lane/slot", 2**31 - 1),
        ("lanes/0/lane/member", 999),
        ("lanes/0/lane/free", np.array([0, 0], np.int32)),
        ("lanes/0/lane/live", np.zeros(1, np.int32)),
        ("lanes/0/distinct/0/owner", 2**31 - 1),
        ("lanes/0/distinct/0/width", 7),
        ("lanes/0/distinct/0/table/used", np.ones(3, np.bool_)),
        ("groupings/0/table/keys", np.zeros(2, np.uint64)),
        ("windows/0/verdicts", [{"held": [[2**40, 1, 1, 0]], "baselines": {}}]),
    ],
)
def test_a_forged_checkpoint_is_refused(saved: bytes, path: str, value: Any) -> None:
    forged = with_group_state(saved, lambda state: spoil(state, path, value))
    with pytest.raises(StateError, match="does not fit"):
        Engine(PLANS, {w30.SOURCE: ALL_KINDS}).restore(forged)


RULE = plans("""
rules:
  many: {title: many, attack: message-anomaly, severity: info, on: net:inbound_message, by: [peer_addr], over: 60s,
         pane: 1s, measure: {n: count()}, fire: n > 0, resolve_after: 60s, summary: "{n}", max_keys: 40,
         entities: [peer_addr], evidence: 3}
""")


def test_a_key_does_not_inherit_what_was_read_for_the_one_before() -> None:
    engine, told = Engine(RULE, {"s": ALL_KINDS}), []
    for second in range(120):
        rows = [{"t": second, "peer_addr": f"1.2.{second}.{at}"} for at in range(3)]
        told += engine.process(one_slice([batch("net:inbound_message", rows, source="s")], second, "s"))
    assert engine.usage.key_counts()["peer_addr"]["evicted"] > 0, "slots were used again"
    assert told
    for finding in told:
        assert {one for one in finding.entities if one.startswith("1.2.")} == {finding.key["peer_addr"]}
        assert all(seen.fields["peer_addr"] == finding.key["peer_addr"] for seen in finding.evidence)


def test_values_beyond_the_room_are_counted_for_everybody_to_see() -> None:
    window = DistinctWindow(5, max_pairs=10)
    window.reserve(1)
    slots = np.zeros(30, np.int64)
    window.close(Touches(slots, slots, np.arange(30, dtype=np.uint64), slots + 5), 0, 1)
    assert (len(window), window.refused) == (10, 20)
    engine = Engine(w30.plans(w30.rules(20)), {w30.SOURCE: ALL_KINDS})
    for part in w30.workload(2_000, 20).slices(0, 2_000, 500):
        engine.process(part)
    assert engine.usage.key_counts()[VALUES]["live"] > 100
    assert engine.usage.key_counts()[VALUES]["refused"] == 0


def test_an_archive_that_leads_in_a_circle_is_one_clear_error(tmp_path: Path) -> None:
    member = tarfile.TarInfo("capture/8.8.8.8_1/msgs_recv.dat")
    raw = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = b"\xff" * 10 + (2**16 - 512).to_bytes(2, "big")  # a size of -512 in base 256
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    with tarfile.open(tmp_path / "capture.tar.xz", "w:xz") as tar:
        tar.fileobj.write(bytes(raw) * 4)
    with pytest.raises(SourceError):
        CaptureSource(str(tmp_path / "capture.tar.xz"), SourceOptions())


def test_a_link_to_itself_hides_no_other_folder(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    (tmp_path / OTHER).symlink_to(OTHER)
    assert column(drained(follower(tmp_path)), "net:inbound_connection", "peer") == ["8.8.8.8:50000"]


def test_what_is_no_file_hides_no_other_one(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    (tmp_path / OTHER / "msgs_recv.dat").mkdir(parents=True)
    (tmp_path / OTHER / "msgs_sent.dat").symlink_to("msgs_sent.dat")
    assert column(drained(follower(tmp_path)), "net:inbound_connection", "peer") == ["8.8.8.8:50000"]
