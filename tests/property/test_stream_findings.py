"""A capture read through a stream gives the findings of the capture, whether server or reader decodes payloads."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.capture_files import SECOND_US, START_US, addr_payload, append, record
from watchdog.core.kinds import ALL_KINDS
from watchdog.offline.replay import ReplayOptions, replay
from watchdog.offline.serve_stream import ServeOptions, serve_stream

FOLDERS = ("8.8.8.8_8333", "9.9.9.9_50000", "[2a01__1]_50001", "abc.onion_8333")
PAYLOADS = {
    "version": bytes(85),
    "getaddr": b"",
    "addr": addr_payload(300),
    "ping": bytes(8),
    "pong": bytes(8),
    "headers": b"\0",
    "getheaders": (70016).to_bytes(4, "little") + b"\0" + bytes(32),
    "inv": b"\x05" + bytes(36),
    "block": bytes(80) + b"\x01" + bytes(500),
    "odd type": b"abc",
}
# folder, received, type, time since the last message in quarter seconds (silences of more than 20 minutes among them)
STEPS = st.lists(
    st.tuples(
        st.integers(0, len(FOLDERS) - 1),
        st.booleans(),
        st.sampled_from(sorted(PAYLOADS)),
        st.sampled_from([0, 0, 1, 2, 40, 4_000, 6_000]),
    ),
    min_size=1,
    max_size=80,
)
MEASURES = {
    "p2p:addr": "sum(processed) + 3 * sum(beyond_limit)",
    "p2p:pong": "sum(rtt_us)",
    "p2p:headers": "sum(if(solicited, 3, 1))",
    "p2p:getaddr": "max(repeat)",
    "p2p:malformed": "count()",
    "p2p:unknown": "distinct(digest)",
    "p2p:block": "sum(txs)",
    "p2p:version": "sum(age_s)",
    "net:inbound_message": "sum(size)",
    "net:outbound_message": "sum(age_s)",
    "net:closed_connection": "sum(lived_s)",
    "net:inbound_connection": "sum(connections)",
}


def rules_in(folder: Path) -> Path:
    """One rule for each kind, whose peak is a number that a single wrong event would change."""
    rules = {
        f"of-{kind.replace(':', '-').replace('_', '-')}": {
            "title": kind,
            "attack": "message-anomaly",
            "severity": "info",
            "on": kind,
            "by": ["conn", "peer_addr"],
            "measure": {"n": f"{measure} + count()"},
            "over": "1m",
            "pane": "5s",
            "fire": "n > 0",
        }
        for kind, measure in MEASURES.items()
    }
    path = folder / "rules.yaml"
    path.write_text(json.dumps({"rules": rules}))
    return path


def incidents(source: str, rules: Path) -> str:
    """What a replay gives, without the name of the source."""
    result = replay([source], ReplayOptions(rules=[rules]))
    assert not result.faults
    assert not result.late
    return json.dumps(result.objects(), sort_keys=True).replace(source, "SOURCE")


def served(source: str, folder: Path, kinds: frozenset[str], rules: Path) -> str:
    """The same, of a server of the source that offers these kinds."""
    socket, ready = folder / "s", threading.Event()
    failed: list[BaseException] = []

    def serve() -> None:
        try:
            serve_stream([source], ServeOptions(socket), ready=lambda _: ready.set(), kinds=kinds)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(60)
    assert not failed
    found = incidents(f"stream:{socket}", rules)
    thread.join(60)
    assert not thread.is_alive()
    assert not failed
    return found


NET_ONLY = frozenset(kind for kind in ALL_KINDS if kind.startswith("net:"))


@settings(max_examples=8)
@given(STEPS)
def test_a_served_capture_gives_the_findings_of_the_capture(steps: list[tuple[int, bool, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, now = Path(name), START_US
        for place, received, type_, gap in steps:
            now += gap * SECOND_US // 4
            append(folder / "capture", FOLDERS[place], received, record(now, type_, PAYLOADS[type_]))
        rules, source = rules_in(folder), f"capture:{folder / 'capture'}"
        direct = incidents(source, rules)
        assert json.loads(direct)
        assert served(source, folder, ALL_KINDS, rules) == direct
        assert served(source, folder, NET_ONLY, rules) == direct


@pytest.mark.slow
def test_a_recording_of_a_real_node_gives_the_same(recordings: Path, tmp_path: Path) -> None:
    source, rules = f"capture:{recordings / 'open-5' / 'capture.tar.xz'}", rules_in(tmp_path)
    direct = incidents(source, rules)
    assert served(source, tmp_path, NET_ONLY, rules) == direct
