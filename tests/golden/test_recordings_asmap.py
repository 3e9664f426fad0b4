"""All shipped packs on recordings of a real node, with an asmap: the same is found, and no more is cried."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from tests.support.parts import shared
from watchdog.offline.evaluate import RecordingScore, evaluate
from watchdog.offline.replay import ReplayOptions

pytestmark = [pytest.mark.slow, pytest.mark.golden]

LABELS = {"open-1": 0, "open-2": 4, "open-3": 5, "open-4": 10, "open-5": 5}  # without benign ones


@lru_cache(maxsize=8)
def scored(folder: Path) -> RecordingScore:
    """The score of all packs on one recording."""
    return evaluate([str(folder)], ReplayOptions(asmap=str(shared("data") / "asmap.dat")))[0]


@pytest.mark.parametrize("recording", LABELS)
def test_each_label_is_found_with_a_true_name(recordings: Path, recording: str) -> None:
    labels = [one for one in scored(recordings / recording).labels if not one.benign]
    assert len(labels) == LABELS[recording]
    assert [one.label.attack for one in labels if not one.named] == []


@pytest.mark.parametrize("recording", LABELS)
def test_nothing_is_cried_outside_of_labels(recordings: Path, recording: str) -> None:
    score = scored(recordings / recording)
    assert [one.summary for one in (*score.unlabelled, *score.benign)] == []


def test_the_as_that_took_the_slots_is_named_beside_its_netblocks(recordings: Path) -> None:
    (full,) = (one for one in scored(recordings / "open-3").labels if one.label.attack == "eclipse_full")
    spoken = {match.incident.rule: match.incident for match in full.matches}
    assert spoken["eclipse-inbound-as"].entities[0].startswith("AS")
    assert "eclipse-inbound-group" in spoken
