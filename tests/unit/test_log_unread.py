"""Lines that look like Core's and are not understood: counted, reported by the name of their form, never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_log_shapes import read_text
from watchdog.cli.main import main
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.sources.log.peers import ATTEMPT_NS, OpenPeers
from watchdog.sources.log.source import TIMELESS, DebugLogSource

STAMP = "2026-01-21T12:53:55Z"
GOOD = f"{STAMP} [net] Misbehaving: peer=5: spam\n"
UNREAD = f"{STAMP} [net] Misbehaving: somebody secret\n"


@pytest.mark.parametrize("command", ["replay", "record"])
def test_a_command_names_the_form_and_never_the_line(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "debug.log"
    log.write_text(GOOD * 3 + UNREAD * 2 + "UpdateTip: new best=secret\n")
    assert main([command, f"log:{log}", "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().err
    assert "2 of 5 lines of the form 'misbehaving' were not understood" in told
    assert "secret" not in told
    if command == "record":  # all kinds are read
        assert "1 lines have no time" in told


def test_a_log_without_times_is_a_fault_that_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="without a time; start it without logtimestamps=0"):
        read_text(tmp_path, "[net] Misbehaving: peer=5: spam\n" * 3)


def test_a_followed_log_whose_lines_lose_their_time_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    path.write_text(GOOD + "[net] Misbehaving: peer=5: spam\n" * (TIMELESS - 1))
    source = DebugLogSource(str(path), SourceOptions(follow=True))
    assert source.poll() is not None
    with path.open("a") as file:
        file.write("[net] Misbehaving: peer=5: spam\n" * TIMELESS)
    with pytest.raises(SourceError, match="logtimestamps=0"):
        source.poll()
    source.close()


@pytest.mark.parametrize(
    ("between", "seconds", "direction"),
    [
        ("", 5, "out"),
        ("", 600, "in"),
        ("[i2p] Error connecting to abcd.b32.i2p:0: Connection timed out", 30, "in"),
        ("[net] trying v2 connection (block-relay-only) to efgh.b32.i2p:0, lastseen=1.0hrs", 30, "in"),
        ("[net] trying v2 connection (manual) to efgh.b32.i2p:0, lastseen=1.0hrs", 30, "out"),
    ],
)
def test_only_an_attempt_that_can_still_succeed_makes_a_peer_outbound(
    tmp_path: Path, between: str, seconds: int, direction: str
) -> None:
    at = "2026-01-21T13:55:00Z" if seconds > 60 else "2026-01-21T12:54:00Z"
    tried = f"{STAMP} [net] trying v1 connection (outbound-full-relay) to abcd.b32.i2p:0, lastseen=1.2hrs"
    added = f"{at} [net] Added connection to abcd.b32.i2p:0 peer=9"
    lines = [tried, *([f"{STAMP} {between}"] if between else []), added]
    (row,) = read_text(tmp_path, "".join(f"{line}\n" for line in lines))
    assert (row["kind"], row["direction"]) == ("log:connection_added", direction)


def test_positions_of_before_keep_their_peers_and_attempts() -> None:
    peers = OpenPeers()
    old = {"peers": [[1, "1.2.3.4:5", "in", "inbound", 7, ""]], "closed": [], "attempts": [["6.7.8.9:1", "feeler"]]}
    peers.restore({**old, "latest_ns": 100})
    assert peers.get(1, "").height == -1
    assert peers.opened(2, "6.7.8.9:1", 100 + ATTEMPT_NS).direction == "out"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Timeout downloading headers from noban peer=9, not disconnecting", "unknown"),
        ("Timeout downloading headers from noban peer, not disconnecting peer=9, peeraddr=1.2.3.4:5", "unknown"),
        ("Timeout downloading headers, disconnecting peer=9", "download timeout"),
    ],
)
def test_a_peer_that_may_time_out_is_not_said_to_end_by_it(tmp_path: Path, line: str, reason: str) -> None:
    rows = read_text(tmp_path, f"{STAMP} {line}\n{STAMP} [net] disconnecting peer=9\n")
    said = {row["kind"]: row["reason"] for row in rows}
    assert said == {"log:block_stalling": "headers timeout", "log:disconnected": reason}


def test_a_log_of_v22_gives_what_moved_to_the_tried_table(tmp_path: Path) -> None:
    text = f"{STAMP} [addrman] Moving 136.43.7.9:8333 to tried\n"
    (row,) = read_text(tmp_path, text)
    assert (row["kind"], row["address"], row["bucket"]) == ("log:addrman_tried", "136.43.7.9", 0xFFFF_FFFF)
