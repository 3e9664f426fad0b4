"""Silences in the history: added, extended, expired, listed, and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from alerts.silence import LONGEST_NS, ClaimSilence, SilenceError
from alerts.store import silences as silences_module
from alerts.store.database import Database
from alerts.store.silences import KEPT_NS, Silences, UnknownSilenceError
from watchdog.core.durations import DAY_NS, HOUR_NS

names = (f"silences{number}" for number in count())
NOW_NS = 1_790_000_000 * 10**9


def made(until_ns: int = NOW_NS + HOUR_NS, **matchers: str) -> ClaimSilence:
    return ClaimSilence("", 0, until_ns, " anna ", "our crawler", **(matchers or {"party": "203.0.113.0/24"}))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Silences]:
    """Empty silences on either database."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").url(next(names))
    else:
        url = f"sqlite:///{tmp_path / 'history.db'}"
    database = Database.open(url)
    yield Silences(database)
    database.close()


def test_a_silence_begins_when_it_is_added(kept: Silences) -> None:
    one = kept.add(made(), NOW_NS).silence
    assert (one.id, one.from_ns, one.author, one.party) == ("1", NOW_NS, "anna", "203.0.113.0/24")
    assert [each.silence for each in kept.listed(NOW_NS)] == [one]
    assert kept.since(NOW_NS) == [one]
    assert kept.listed(NOW_NS + HOUR_NS) == []
    assert [each.state(NOW_NS + HOUR_NS) for each in kept.listed(NOW_NS + HOUR_NS, over=True)] == ["over"]


def test_several_are_added_together_or_not_at_all(kept: Silences) -> None:
    with pytest.raises(SilenceError):
        kept.add_all([made(), made(NOW_NS + LONGEST_NS + 1)], NOW_NS)
    with pytest.raises(SilenceError):
        kept.add_all([made(), made(party="203.0.113.1/24")], NOW_NS)
    assert kept.listed(NOW_NS, over=True) == []
    assert [one.silence.id for one in kept.add_all([made(), made(rule="ping-flood")], NOW_NS)] == ["1", "2"]


def test_extend_moves_the_end_and_expire_ends_now(kept: Silences) -> None:
    kept.add(made(), NOW_NS)
    longer = kept.extend("1", NOW_NS + DAY_NS, "ben", NOW_NS + 1)
    assert (longer.silence.until_ns, longer.changed_by) == (NOW_NS + DAY_NS, "ben")
    ended = kept.expire("1", "carla", NOW_NS + 2)
    assert (ended.silence.until_ns, ended.expired_ns, ended.changed_by) == (NOW_NS + 2, NOW_NS + 2, "carla")
    assert ended.state(NOW_NS + 3) == "expired"
    with pytest.raises(SilenceError, match="is over"):
        kept.expire("1", "x", NOW_NS + 3)
    with pytest.raises(SilenceError, match="is over"):
        kept.extend("1", NOW_NS + DAY_NS, "x", NOW_NS + 3)


@pytest.mark.parametrize("id_", ["7", "x", "", "1" * 30, "file:1234abcd", "-1"])
def test_an_unknown_silence_cannot_be_changed(kept: Silences, id_: str) -> None:
    with pytest.raises(UnknownSilenceError):
        kept.expire(id_, "anna", NOW_NS)


def test_who_changes_it_is_needed(kept: Silences) -> None:
    kept.add(made(), NOW_NS)
    for who in ("", " ", "a" * 101):
        with pytest.raises(SilenceError, match="name"):
            kept.expire("1", who, NOW_NS)


def test_their_number_is_bounded(kept: Silences, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silences_module, "MOST", 2)
    kept.add_all([made(), made()], NOW_NS)
    with pytest.raises(SilenceError, match="in force already"):
        kept.add(made(), NOW_NS)
    kept.add(made(NOW_NS + 2 * DAY_NS), NOW_NS + DAY_NS)


def test_the_record_is_kept_for_a_year(kept: Silences) -> None:
    kept.add(made(), NOW_NS)
    later_ns = NOW_NS + HOUR_NS + KEPT_NS
    kept.add(made(later_ns + HOUR_NS), later_ns)
    assert [one.silence.id for one in kept.listed(later_ns, over=True)] == ["2", "1"]
    kept.add(made(later_ns + HOUR_NS), later_ns + 1)
    assert [one.silence.id for one in kept.listed(later_ns, over=True)] == ["2", "3"]


def test_an_end_is_announced_once_and_again_after_it_was_moved(kept: Silences) -> None:
    kept.add(made(), NOW_NS)
    assert kept.remind(["1"]) == ["1"]
    assert kept.remind(["1"]) == []
    kept.extend("1", NOW_NS + DAY_NS, "anna", NOW_NS)
    assert kept.remind(["1"]) == ["1"]
    assert kept.remind([]) == []


def test_odd_text_is_stored(kept: Silences) -> None:
    one = kept.add(ClaimSilence("", 0, NOW_NS + HOUR_NS, "a\0b", "c\udcff", rule="x\0"), NOW_NS).silence
    assert (one.author, one.comment, one.rule) == ("a\\x00b", "c\\udcff", "x\\x00")
