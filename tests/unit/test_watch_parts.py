"""A watch over two sources whose rules have times of their own: actions wait for their part, reloads keep others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alerts.notice import ChangeRecord
from alerts.store.actions import Action
from rules.load import load_text
from tests.support.events import SECOND, batch
from tests.support.rulesets import FULL_MEMPOOL
from watchdog.core.batch import Slice
from watchdog.service.live_pipeline import LivePipeline

START = 1_768_212_000 * SECOND
TWO = {"capture:a": frozenset({"rpc:mempool"}), "log:b": frozenset({"log:tip"})}
TIPS = (
    FULL_MEMPOOL
    + """
  tips: {title: Tips, attack: chain, severity: info, on: log:tip, over: 10s, pane: 1s, measure: {n: count()},
         fire: n > 0, resolve_after: 1m, summary: "{n}"}
"""
)


def mempool(source: str, second: float, transactions: int = 10) -> Slice:
    row = {"t": START // SECOND + second, "txs": transactions}
    end_ns = START + int(second * SECOND)
    return Slice(source, (batch("rpc:mempool", [row], source=source),), end_ns, {"at": second})


def reasons(records: Sequence[ChangeRecord]) -> list[str]:
    return [record.change.reason.value for record in records]


def tip(second: float) -> Slice:
    row = {"t": START // SECOND + second}
    return Slice("log:b", (batch("log:tip", [row], source="log:b"),), START + int(second * SECOND), {"at": second})


def both() -> tuple[LivePipeline, list[ChangeRecord]]:
    """A watch of two sources, each with a rule and an incident of its own."""
    watch = LivePipeline(load_text(TIPS), "node", TWO)
    records = [*watch.process(mempool("capture:a", 0, 500)), *watch.process(tip(0))]
    return watch, [*records, *watch.process(mempool("capture:a", 5)), *watch.process(tip(5))]


def test_an_action_waits_for_the_part_of_its_incident_only() -> None:
    watch, opened = both()
    mine = {record.incident.rule: record.incident.id for record in opened}
    assert sorted(mine) == ["full-mempool", "tips"]
    watch.act(Action(1, mine["tips"], "ack", "ada", "", START + 8 * SECOND))
    watch.act(Action(2, mine["full-mempool"], "ack", "ada", "", START + 8 * SECOND))
    assert reasons(watch.process(mempool("capture:a", 9, 500))) == ["acknowledged"]
    assert len(watch.actions) == 1
    assert [record.key for record in watch.process(tip(9)) if record.change.reason.value == "acknowledged"] == [-1]


def test_an_action_applied_before_an_earlier_one_is_not_applied_again_after_a_kill() -> None:
    watch, opened = both()
    mine = {record.incident.rule: record.incident.id for record in opened}
    actions = [
        Action(1, mine["tips"], "resolve", "ada", "", START + 60 * SECOND),
        Action(2, mine["full-mempool"], "resolve", "ada", "", START + 6 * SECOND),
    ]
    for action in actions:
        watch.act(action)
    first = [*watch.process(mempool("capture:a", 9, 500)), *watch.process(mempool("capture:a", 30, 500))]
    first += watch.process(mempool("capture:a", 35, 500))
    assert reasons(first)[0] == "resolved by operator"
    assert "reopened" in reasons(first)
    blob = watch.checkpoint(["capture:a", "log:b"], "")
    assert (blob.last_action, blob.acted) == (0, (2,))
    again = LivePipeline(load_text(TIPS), "node", TWO)
    assert again.resume(blob) == []
    assert [reasons(again.act(action)) for action in actions] == [[], []], "one waits, one was done"
    assert reasons(again.process(tip(61))) == ["cleared", "resolved by operator"]
    assert len(again.actions) == 0
    assert [one.state.value for one in again.books.incidents()].count("resolved") == 1
    again.actions.forget_after(0)
    assert again.actions.last_id == 0


def test_an_action_on_an_incident_that_opens_again_after_a_kill_finds_it() -> None:
    watch = LivePipeline(load_text(TIPS), "node", TWO)
    blob = watch.checkpoint([], "")
    _, opened = both()
    again = LivePipeline(load_text(TIPS), "node", TWO)
    again.resume(blob)
    for number, record in enumerate(opened, 1):
        again.act(Action(number, record.incident.id, "ack", "ada", "", START + 3 * SECOND))
    again.act(Action(9, "0" * 16, "ack", "ada", "", START + 4 * SECOND))
    found = [
        *again.process(mempool("capture:a", 0, 500)),
        *again.process(tip(0)),
        *again.process(mempool("capture:a", 5)),
    ]
    found += again.process(tip(5))
    assert reasons(found).count("acknowledged") == 2
    assert (again.refused, len(again.actions)) == (1, 0)


def test_parts_with_the_same_rules_go_on_and_the_others_are_named(caplog: pytest.LogCaptureFixture) -> None:
    watch, _ = both()
    changed = load_text(TIPS.replace("fire: n > 0", "fire: n > 9"))
    assert reasons(watch.change_rules(changed, [])) == ["cleared"]
    assert watch.restarted_rules == {"tips"}
    assert "1 rule restarts with empty state; open incidents are kept: tips" in caplog.text
    found = watch.process(mempool("capture:a", 12))
    assert reasons(found) == ["cleared"], "what was full at 0 is still known, and ends with its window"
    assert reasons([*watch.process(tip(30)), *watch.process(tip(90))]) == ["resolved"]
