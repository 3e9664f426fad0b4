"""The connection tracker alone: stretches of rows, counts, caps."""

from __future__ import annotations

import json

import pytest

from watchdog.sources.capture import connections
from watchdog.sources.capture.connections import SILENCE_US, ConnectionTracker, FolderRows, peer_of

SECOND = 1_000_000
PORT = "8.8.8.8_8333"


@pytest.mark.parametrize(
    ("folder", "peer"),
    [
        ("1.2.3.4_8333", "1.2.3.4:8333"),
        ("[2a01_4f8__2]_8333", "[2a01:4f8::2]:8333"),
        ("abcd.onion_8333", "abcd.onion:8333"),
    ],
)
def test_a_folder_is_named_after_its_peer(folder: str, peer: str) -> None:
    assert peer_of(folder) == peer


def test_rows_around_a_reconnect_are_split_on_both_sides() -> None:
    tracker = ConnectionTracker()
    rows = FolderRows(
        sent_us=[1, 10, 100 * SECOND, 101 * SECOND],
        received_us=[5, 20, 30, 100 * SECOND + 7, 102 * SECOND],
        sent_versions=[0, 2],
        received_versions=[0, 3],
    )
    first, second = tracker.assign(PORT, rows)
    assert (second.sent, second.received) == (2, 3)
    assert (first.connection.direction, second.connection.direction) == ("out", "out")
    assert first.connection.last_us == 30
    changes = tracker.finish(103 * SECOND)
    assert [(one.time_us, one.opened, one.open_count) for one in changes] == [
        (1, True, 1),
        (100 * SECOND, False, 0),
        (100 * SECOND, True, 1),
    ]


def test_a_reconnect_in_a_later_cut_is_found_too() -> None:
    tracker = ConnectionTracker()
    tracker.assign(PORT, FolderRows([1], [5], [0], [0]))
    tracker.finish(10)
    old, new = tracker.assign(PORT, FolderRows([90 * SECOND], [90 * SECOND + 5], [0], [0]))
    assert (old.connection.number, new.sent, new.received) == (0, 0, 0)
    tracker.finish(91 * SECOND)
    assert new.connection.number == 1
    assert list(tracker.open.values()) == [new.connection]


def test_an_attempt_that_nobody_answered_does_not_take_the_answer_of_the_next() -> None:
    tracker = ConnectionTracker()
    rows = FolderRows([1, 90 * SECOND], [90 * SECOND], [0, 1], [0])
    _, second = tracker.assign(PORT, rows)
    assert (second.sent, second.received) == (1, 0)


def test_connections_are_numbered_by_their_first_message_not_by_folder() -> None:
    tracker = ConnectionTracker()
    late = tracker.assign("1.1.1.1_8333", FolderRows([50], [60], [0], [0]))[0].connection
    early = tracker.assign("2.2.2.2_8333", FolderRows([10], [20], [0], [0]))[0].connection
    tracker.finish(100)
    assert (early.number, late.number) == (0, 1)


def test_beyond_the_cap_the_longest_silent_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OPEN_LIMIT", 10)
    tracker = ConnectionTracker()
    for at in range(100):
        tracker.assign(f"8.8.{at}.8_50000", FolderRows([], [at], [], [0]))
        tracker.finish(at + 1)
    assert len(tracker.open) == 10
    assert tracker.given_up == 90
    assert tracker.counts == {"in": 10, "out": 0, "unknown": 0}
    assert "8.8.99.8_50000" in tracker.open


def test_closed_connections_leave_nothing_in_the_position() -> None:
    tracker = ConnectionTracker()
    sizes = []
    for at in range(50):
        now = at * 2 * SILENCE_US
        tracker.assign(f"8.8.{at}.8_50000", FolderRows([], [now], [], [0]))
        tracker.finish(now + 1)
        sizes.append(len(json.dumps(tracker.position())))
    assert max(sizes[2:]) - min(sizes[2:]) < 20


def test_a_restored_tracker_says_the_same_position() -> None:
    tracker = ConnectionTracker()
    tracker.assign(PORT, FolderRows([1, 2], [5], [0], [0], [2]))
    tracker.open[PORT].exchange.pings[0][7] = 5
    tracker.finish(10)
    saved = json.loads(json.dumps(tracker.position()))
    assert json.loads(json.dumps(ConnectionTracker.resumed(saved).position())) == saved
