"""The message and node packs on recordings of a real node: each label by its own rule, in time, with a true name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from rules.load import PACKS
from watchdog.offline.evaluate import RecordingScore, evaluate
from watchdog.offline.replay import ReplayOptions

pytestmark = [pytest.mark.slow, pytest.mark.golden]

PACK_FILES = (PACKS / "message-anomaly.yaml", PACKS / "node.yaml")
# label, the place among those of its name, and the rule that must speak of it within so many seconds of its start
WANTED = (
    ("open-4", "ping_flood", 0, "ping-flood", 10),
    ("open-4", "getaddr_scrape", 0, "getaddr-scraping", 60),
    ("open-4", "inv_flood", 0, "inv-flood", 60),
    ("open-4", "inv_flood", 0, "announced-not-delivered", 60),
    ("open-4", "malformed_messages", 0, "malformed-messages", 120),
    ("open-4", "malformed_messages", 0, "misbehaving-peer", 120),
    ("open-4", "malformed_messages", 0, "oversized-messages", 300),
    ("open-4", "unknown_messages", 0, "unknown-messages", 30),
    ("open-4", "headers_spam", 0, "headers-spam", 60),
    ("open-4", "headers_spam", 1, "headers-spam", 120),
    ("open-4", "spy_peers", 0, "silent-listeners", 300),
    ("open-4", "connection_churn", 0, "connection-churn", 30),
    ("open-4", "stalled_blocks", 0, "block-gap", 64 * 60),
    ("open-4", "stalled_blocks", 0, "blocks-stalled", 94 * 60),
    ("open-5", "ping_flood", 0, "ping-flood", 10),
    ("open-5", "spy_peers", 0, "silent-listeners", 30),
    ("open-5", "connection_churn", 0, "connection-churn", 30),
    ("open-3", "eclipse_takeover", 0, "mass-disconnect", 300),
)


@lru_cache(maxsize=8)
def scored(folder: Path) -> RecordingScore:
    """The packs' score on one recording."""
    return evaluate([str(folder)], ReplayOptions(rules=PACK_FILES, packs=False))[0]


@pytest.mark.parametrize(("recording", "attack", "place", "rule", "seconds"), WANTED)
def test_each_label_is_found_in_time_with_a_true_name(
    recordings: Path, recording: str, attack: str, place: int, rule: str, seconds: float
) -> None:
    labels = [one for one in scored(recordings / recording).labels if one.label.attack == attack]
    spoken = [match for match in labels[place].matches if match.incident.rule == rule]
    delays = [match.incident.opened_ns / 1e9 - labels[place].label.start for match in spoken if match.named]
    assert delays, f"{rule} says nothing of {attack}"
    assert min(delays) <= seconds


@pytest.mark.parametrize("recording", ["open-1", "open-2", "open-3", "open-4", "open-5"])
def test_nothing_is_cried_outside_of_labels(recordings: Path, recording: str) -> None:
    score = scored(recordings / recording)
    assert [one.summary for one in (*score.unlabelled, *score.benign)] == []


def test_a_quiet_recording_tells_of_its_start_only(recordings: Path) -> None:
    assert scored(recordings / "open-1").incidents == 1
