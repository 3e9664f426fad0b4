"""Findings about our own input by the wall clock: when they fire, and that a restart neither loses nor repeats one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from alerts.store.actions import Action
from rules.load import load_text
from tests.support.clock_rig import HOUR, MINUTE, Rig
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.source import FormCounting
from watchdog.docs_build.rule_pages import DOCS
from watchdog.located_yaml.problem import RuleSetError
from watchdog.sources.log.source import DebugLogSource

RULE = """
rules:
  data-clock:
    {title: T, attack: data, severity: info, on: "rpc:mempool", fire: n > 0, measure: {n: count()}, over: 10s}
"""


def states(rig: Rig, rule: str) -> dict[str, str]:
    """The state of each incident of a rule, by id."""
    return {one.incident.id: one.incident.state.value for one in rig.told if one.incident.rule == rule}


def reasons(rig: Rig, rule: str) -> list[str]:
    return [one.change.reason.value for one in rig.told if one.incident.rule == rule]


@pytest.mark.parametrize(  # a service does not start without its events file, whose sources have names of their own
    ("scheme", "missing"),
    [*((scheme, False) for scheme in ("log", "snapshots", "capture", "events")), ("log", True), ("capture", True)],
)
def test_a_source_without_any_event_in_ten_minutes_is_silent(tmp_path: Path, scheme: str, missing: bool) -> None:
    rig = Rig(tmp_path, scheme, missing=missing)
    rig.run(590, rate=0)
    assert not rig.opened("source-silent")
    rig.run(20, rate=0)
    [opened] = rig.opened("source-silent")
    assert opened.incident.severity == "warning"
    assert f"{scheme}:" in opened.incident.summary
    rig.restart()
    rig.run(30, rate=0)
    assert list(states(rig, "source-silent").values()) == ["open"], "a restart neither clears nor repeats it"
    if missing:
        rig.prepare()
    rig.run(70 + 11 * MINUTE, rate=20)
    assert reasons(rig, "source-silent") == ["opened", "cleared", "resolved"]
    rig.feed.close()


def test_a_source_that_falls_silent_is_noticed_too_and_one_that_has_ended_is_not(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "log")
    rig.run(60)
    rig.run(590, rate=0)
    assert not rig.opened("source-silent")
    rig.run(20, rate=0)
    assert len(rig.opened("source-silent")) == 1
    rig.feed.channels[0].ended = True
    rig.run(12 * MINUTE, rate=0)
    assert set(states(rig, "source-silent").values()) == {"resolved"}
    rig.feed.close()


class Forms:
    """What a log source counts, set by a test."""

    counts: Mapping[str, tuple[int, int]] = {}
    net = 0


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> type[Forms]:
    monkeypatch.setattr(Forms, "counts", {})
    monkeypatch.setattr(Forms, "net", 0)
    monkeypatch.setattr(DebugLogSource, "line_forms", property(lambda _: Forms.counts), raising=False)
    monkeypatch.setattr(DebugLogSource, "net_lines", property(lambda _: Forms.net), raising=False)
    return Forms


def test_a_log_without_net_lines_is_silent_although_it_has_events(tmp_path: Path, forms: type[Forms]) -> None:
    rig = Rig(tmp_path, "log")
    source: object = rig.feed.channels[0].source
    assert isinstance(source, FormCounting)
    rig.run(610, rate=5)
    [opened] = rig.opened("source-silent")
    assert "no line of the category net (is -debug=net set?)" in opened.incident.summary
    for _ in range(30):
        forms.net += 1
        rig.run(30, rate=5)
    assert list(states(rig, "source-silent").values()) == ["resolved"]
    rig.feed.close()


@pytest.mark.parametrize(
    ("read", "unread", "fires"), [(20, 5, True), (21, 5, False), (0, 4, False), (4, 4, False), (0, 5, True)]
)
def test_unread_lines_of_a_form(tmp_path: Path, forms: type[Forms], read: int, unread: int, fires: bool) -> None:
    rig = Rig(tmp_path, "log")
    forms.counts = {"new-peer": (read, 0), "other": (1_000, 4)}
    rig.run(5)
    forms.counts = {"new-peer": (read, unread), "other": (1_000, 4)}
    rig.run(5)
    opened = rig.opened("log-unread")
    assert len(opened) == fires
    if fires:
        text = f"{unread} of {read + unread} lines of the form 'new-peer' could not be read within an hour"
        assert opened[0].incident.summary.endswith(text)
        rig.run(HOUR + MINUTE, rate=60)
        assert reasons(rig, "log-unread") == ["opened", "cleared"]
    rig.feed.close()


def test_a_kill_before_a_finding_is_stored_gives_the_same_incident_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "log")
    rig.run(610, rate=0)
    [opened] = rig.opened("source-silent")
    rig.saved = rig.kept_before
    rig.feed.close()
    rig.told.clear()
    rig.clock.now += 100
    rig.start()  # from the checkpoint that was stored before anything was reported
    rig.run(5, rate=0)
    assert [one.change for one in rig.told] == [opened.change]
    rig.feed.close()


def test_a_reload_keeps_them_and_a_source_that_is_configured_no_longer_clears(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "log")
    rig.run(610, rate=0)
    rig.loop.watch.change_rules(load_text("rules: {}"), rig.feed.promises())
    rig.run(5, rate=0)
    assert list(states(rig, "source-silent").values()) == ["open"]
    rig.restart()
    rig.feed.channels[0].name = "log:another"
    rig.run(5, rate=0)
    assert reasons(rig, "source-silent") == ["opened", "cleared"]
    rig.feed.close()


def test_an_operator_can_resolve_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "log")
    rig.run(610, rate=0)
    [opened] = rig.opened("source-silent")
    [record] = rig.loop.watch.act(Action(1, opened.incident.id, "resolve", "ada", "", rig.wall_ns()))
    assert record.incident.state.value == "resolved"
    rig.run(30, rate=0)
    assert len(rig.opened("source-silent")) == 1
    rig.feed.close()


def test_a_checkpoint_of_an_older_version_has_no_such_book_and_is_taken_over(tmp_path: Path) -> None:
    rig = Rig(tmp_path, "log")
    rig.run(30)
    assert rig.saved is not None
    books = msgspec.msgpack.decode(rig.saved.book)
    del books["books"]["own"]
    rig.saved = replace(rig.saved, book=msgspec.msgpack.encode(books))
    rig.feed.close()
    rig.start()
    rig.run(620, rate=0)
    assert len(rig.opened("source-silent")) == 1
    rig.feed.close()


def test_each_has_a_page_and_no_rule_takes_its_id() -> None:
    for id_ in OWN_RULES:
        assert id_.startswith(("data-", "log-", "source-"))
        assert (DOCS / f"{id_}.md").is_file()
    with pytest.raises(RuleSetError, match="taken by a built-in finding"):
        load_text(RULE)
