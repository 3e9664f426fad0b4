"""The addr-flooding and eclipse packs on recordings of a real node: every label found, nothing cried without need."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from rules.load import PACKS
from watchdog.offline.evaluate import RecordingScore, evaluate
from watchdog.offline.replay import ReplayOptions

pytestmark = [pytest.mark.slow, pytest.mark.golden]

PACK_FILES = (PACKS / "addr-flooding.yaml", PACKS / "eclipse.yaml")
# label, the place among those of its name, and the rule that must speak of it within so many minutes of its start
WANTED = (
    ("open-2", "addr_flood_2021", 0, "addr-pattern-2021", 1),
    ("open-2", "addr_flood_single_peer", 0, "addr-unsolicited-large", 1),
    ("open-2", "addr_flood_slow_distributed", 0, "addr-slow-swarm", 30),
    ("open-2", "addr_flood_2021", 1, "addr-pattern-2021", 1),
    ("open-5", "addr_flood_2021", 0, "addr-pattern-2021", 1),
    ("open-5", "addr_flood_single_peer", 0, "addr-unsolicited-large", 1),
    ("open-3", "eclipse_buildup_inbound", 0, "eclipse-inbound-group", 15),
    ("open-3", "eclipse_buildup_inbound", 0, "eclipse-inbound-concentrated", 15),
    ("open-3", "eclipse_buildup_inbound", 0, "eclipse-new-table-group", 15),
    ("open-3", "eclipse_buildup_tried", 0, "eclipse-tried-growth", 60),
    ("open-3", "eclipse_full", 0, "eclipse-inbound-group", 15),
    ("open-3", "eclipse_full", 0, "eclipse-tried-group", 45),
    ("open-3", "eclipse_takeover", 0, "eclipse-outbound-replaced", 5),
    ("open-3", "block_withholding", 0, "eclipse-cut-off", 35),
)


@lru_cache(maxsize=8)
def scored(folder: Path) -> RecordingScore:
    """The packs' score on one recording."""
    return evaluate([str(folder)], ReplayOptions(rules=PACK_FILES, packs=False))[0]


@pytest.mark.parametrize(("recording", "attack", "place", "rule", "minutes"), WANTED)
def test_each_label_is_found_in_time_with_a_true_name(
    recordings: Path, recording: str, attack: str, place: int, rule: str, minutes: float
) -> None:
    labels = [one for one in scored(recordings / recording).labels if one.label.attack == attack]
    spoken = [match for match in labels[place].matches if match.incident.rule == rule]
    start = labels[place].label.start
    delays = [match.incident.opened_ns / 1e9 - start for match in spoken if match.named]
    assert delays, f"{rule} says nothing of {attack}"
    assert min(delays) <= minutes * 60


@pytest.mark.parametrize("recording", ["open-1", "open-2", "open-3", "open-4", "open-5"])
def test_nothing_is_cried_outside_of_labels(recordings: Path, recording: str) -> None:
    score = scored(recordings / recording)
    assert [one.summary for one in (*score.unlabelled, *score.benign)] == []


def test_a_quiet_recording_has_no_incident_at_all(recordings: Path) -> None:
    assert scored(recordings / "open-1").incidents == 0
