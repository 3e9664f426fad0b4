"""Labels of recordings, and which incidents speak of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.core.errors import SourceError
from watchdog.offline.labels import grace_of, names_entity, network_of, read_labels


@pytest.mark.parametrize(
    ("true", "named", "expected"),
    [
        (("136.43.102.139",), ("136.43.102.139",), True),
        (("136.43.102.139",), ("136.43.0.0/16",), True),
        (("136.43.0.0/16",), ("136.43.102.139",), True),
        (("136.43.0.0/16",), ("136.43.7.0/24",), True),
        (("136.43.7.0/24",), ("136.43.0.0/16",), True),
        (("136.43.7.0/24",), ("136.43.8.0/24", "136.44.0.0/16", "9.9.9.9"), False),
        (("136.43.7.1", "10.0.0.0/24"), ("136.43.7.2", "10.0.1.0/24"), False),
        (("*",), ("AS1",), True),
        (("*",), (), False),
        (("AS64500",), ("AS64500",), True),
        (("AS64500",), ("AS6450",), False),
        (("2001:db8::1",), ("2001:db8::/32",), True),
        (("1.2.3.4",), ("::102:304", "x.onion", ""), False),
    ],
)
def test_an_entity_is_true_when_equal_or_when_one_range_holds_the_other(
    true: tuple[str, ...], named: tuple[str, ...], expected: bool
) -> None:
    assert names_entity(true, named) is expected


RANGES = st.builds(lambda a, b, n: f"10.{a}.{b}.0/{n}", st.integers(0, 3), st.integers(0, 3), st.sampled_from((16, 24)))


@given(st.lists(RANGES, max_size=5), st.lists(RANGES, max_size=5))
def test_the_index_of_ranges_agrees_with_looking_at_every_pair(true: list[str], named: list[str]) -> None:
    pairs = [(network_of(one), network_of(other)) for one in true for other in named]
    overlap = any(one is not None and other is not None and one.overlaps(other) for one, other in pairs)
    assert names_entity(tuple(true), named) is overlap


def test_the_grace_is_ten_minutes_or_a_fifth_of_a_short_recording() -> None:
    assert grace_of(6 * 3600) == 600
    assert grace_of(720) == 144


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.json"
    path.write_text(text)
    return path


def test_labels_are_read_and_unknown_fields_ignored(tmp_path: Path) -> None:
    text = '[{"attack": "a", "class": "eclipse", "start": 1, "end": 2.5, "entities": ["*"], "params": {"x": 1}}]'
    (label,) = read_labels(write(tmp_path, text))
    assert (label.attack, label.class_, label.start, label.end, label.entities) == ("a", "eclipse", 1, 2.5, ("*",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[{", "malformed|truncated"),
        ('[{"attack": "a", "class": "eclipse", "start": "x", "end": 2, "entities": []}]', r"expected `float`.*\.start"),
        ('[{"attack": "a", "class": "eclipse", "start": 3, "end": 2, "entities": []}]', "label 1 .'a'. ends before"),
        (
            '[{"attack": "a", "class": "eclipse", "start": -1e308, "end": 2, "entities": []}]',
            "label 1 .* no unix seconds",
        ),
        (
            '[{"attack": "a", "class": "eclipse", "start": 3, "end": 1e308, "entities": []}]',
            "label 1 .* no unix seconds",
        ),
        ("\\xff", "malformed|invalid"),
    ],
)
def test_wrong_labels_are_refused_with_place_and_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=rf"labels '.*labels\.json': .*({reason})"):
        read_labels(write(tmp_path, text))


def test_missing_labels_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no labels\.json to compare with; 'watchdog replay recording:"):
        read_labels(tmp_path / "labels.json")


def test_what_the_reader_says_keeps_its_abbreviations(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("x")
    with pytest.raises(SourceError, match=r"labels\.json': JSON is malformed"):
        read_labels(tmp_path / "labels.json")
