"""Operators judge incidents: stored with who and when, shown everywhere, and learnt by the budget of the rule."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from alerts.incident_table import IncidentError
from alerts.store.actions import Action, Actions, Done
from alerts.store.audit import Audit
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from alerts.store.verdicts import JudgedIncident, judged_from, judged_of, latest_verdict
from alerts.store.writer import IncidentWriter
from rules.load import load_text
from tests.support.events import batch, one_slice
from tests.support.history import SECOND, START, incident, record
from tests.support.postgres import Server
from tests.support.web_view import AUTHORIZED, Client, StoredView, flood, serving
from watchdog.cli.main import main
from watchdog.core.kinds import ALL_KINDS
from watchdog.pipeline.checkpoint import write_checkpoint
from watchdog.service.budget_facts import budget_metrics, fact_line, fact_object, learnt_facts
from watchdog.service.exposition import Exposition
from watchdog.service.live_pipeline import LivePipeline

names = (f"verdicts_{number}" for number in itertools.count())
MINUTE = 60
RULES = """
rules:
  counts: {title: counts, attack: message-anomaly, severity: warning, on: net:inbound_message, resolve_after: 1m,
    over: 1m, pane: 1m, fire: odd, measure: {n: sum(size), odd: 'anomalous(n, law="counts", floor=1)'}}
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/history.db"
    else:
        server: Server = request.getfixturevalue("postgres")
        url = server.url(next(names))
    opened = Database.open(url)
    yield opened
    opened.close()


def test_a_verdict_is_kept_with_who_when_and_what_it_judged(database: Database) -> None:
    queries, one = IncidentQueries(database), incident(peak={"n": 300, "odd_score": 9.5, "odd_once_in_days": 300.0})
    IncidentWriter(database).record([record(one)], [])
    at_ns = one.opened_ns + SECOND
    assert queries.act(one.id, "resolve", "ana", "", at_ns, verdict="false_alarm") == Done(1)
    [action] = Actions(database).after(0)
    assert (action.verdict, action.judged) == ("false_alarm", JudgedIncident(one.rule, one.node, {"odd": 9.5}))
    shown = queries.one(one.id)
    assert shown is not None
    assert shown["verdict"] == {"verdict": "false_alarm", "who": "ana", "time": at_ns / 1e9}
    assert shown["state"] == "resolved"
    assert Audit(database).page().rows[0]["detail"] == {"node": one.node, "verdict": "false_alarm"}


def test_the_latest_verdict_counts_also_on_a_resolved_incident(database: Database) -> None:
    queries, one = IncidentQueries(database), incident()
    IncidentWriter(database).record([record(one)], [])
    queries.act(one.id, "resolve", "ana", "", one.opened_ns + SECOND)
    done = queries.act(one.id, "resolve", "ana", "", one.opened_ns + 2 * SECOND, verdict="false_alarm")
    assert done == Done(2, "resolved")
    queries.act(one.id, "resolve", "bob", "it was one", one.opened_ns + 3 * SECOND, verdict="attack")
    shown = queries.one(one.id)
    assert shown is not None
    assert shown["verdict"] == {"verdict": "attack", "who": "bob", "time": (one.opened_ns + 3 * SECOND) / 1e9}
    with pytest.raises(IncidentError, match="comes with 'resolve'"):
        queries.act(one.id, "note", "ana", "text", START, verdict="attack")


def test_what_is_judged_is_total() -> None:
    odd = {"a_score": float("nan"), "b_score": "x", "_score": 1.0, "c_score": 3}
    assert judged_of("r", "n", {"peak": odd}).scores == {"": 1.0, "c": 3.0}
    assert judged_of("r", "n", {}).scores == {}
    assert judged_from(None) == judged_from("") == JudgedIncident()
    assert judged_from(JudgedIncident("r", "n", {"a": 2.0}).as_text()) == JudgedIncident("r", "n", {"a": 2.0})
    assert latest_verdict([]) is None


def test_the_command_line_judges_and_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WATCHDOG_DB", raising=False)
    stored = Database.open("sqlite:///watchdog.db")
    IncidentWriter(stored).record([record(incident())], [])
    learning, own = incident(2, rule="peer-unlike-others"), incident(3, rule="data-clock")
    IncidentWriter(stored).record([record(learning), record(own)], [])
    stored.close()
    id_ = incident().id
    assert main(("incidents", "resolve", id_, "--not-an-attack", "--who", "ana")) == 0
    said = capfd.readouterr()
    assert said.out == f"{id_} resolved: false alarm\n"
    assert said.err.startswith("watchdog: rule addr-beyond-limit has no budget, so nothing is learnt from this; ")
    assert main(("incidents", "resolve", learning.id, "--not-an-attack")) == 0
    assert capfd.readouterr().err == "", "this one learns"
    assert main(("incidents", "resolve", own.id, "--not-an-attack")) == 0
    assert "data-clock is a built-in finding without a budget" in capfd.readouterr().err
    assert main(("incidents", "show", id_)) == 0
    assert "verdict       false alarm, by ana at " in capfd.readouterr().out
    assert main(("incidents", "resolve", id_, "--verdict", "attack", "--who", "bob")) == 0
    assert capfd.readouterr().out == f"{id_} is already resolved; the verdict was added: attack\n"
    assert main(("incidents", "show", id_, "--json")) == 0
    assert json.loads(capfd.readouterr().out)["verdict"]["verdict"] == "attack"
    assert main(("incidents", "resolve", id_, "--verdict", "odd")) == 2
    assert main(("incidents", "resolve", id_, "--not-an-attack", "--verdict", "attack")) == 2


def test_the_api_judges(tmp_path: Path) -> None:
    view = StoredView(tmp_path)
    (id_,) = view.tell(flood())

    async def conversation(client: Client) -> None:
        base = f"/api/v1/incidents/{id_}"
        wrong = await client.post(f"{base}/resolve", json={"verdict": "maybe"}, headers=AUTHORIZED)
        assert (wrong.status, [one["parameter"] for one in (await wrong.json())["errors"]]) == (400, ["verdict"])
        other = await client.post(f"{base}/ack", json={"verdict": "attack"}, headers=AUTHORIZED)
        assert other.status == 400
        body = {"who": "anna", "verdict": "false_alarm"}
        answer = await client.post(f"{base}/resolve", json=body, headers=AUTHORIZED)
        assert answer.status == 202
        found = await (await client.get(base)).json()
        assert (found["verdict"]["verdict"], found["verdict"]["who"]) == ("false_alarm", "anna")
        assert found["actions"][-1]["verdict"] == "false_alarm"
        await client.post(f"{base}/resolve", json={"verdict": "attack"}, headers=AUTHORIZED)
        assert (await (await client.get(base)).json())["verdict"]["verdict"] == "attack"

    async def hold() -> None:
        async with serving(view) as client:
            await conversation(client)

    asyncio.run(hold())


def watched(watch: LivePipeline, begin: int, end: int, loud: int = -1) -> list[str]:
    """Minutes of about six events, and 300 in one of them; ids of incidents that opened."""
    values = np.random.default_rng(begin).poisson(6, end - begin)
    if begin <= loud < end:
        values[loud - begin] += 300
    rows = [{"t": (begin + at) * MINUTE + 30.0, "type": "ping", "size": int(n)} for at, n in enumerate(values) if n]
    changes = watch.process(one_slice([batch("net:inbound_message", rows)], until=end * MINUTE))
    return [one.incident.id for one in changes if one.change.reason.value == "opened"]


def pipeline() -> LivePipeline:
    return LivePipeline(load_text(RULES), "node", {"hand": ALL_KINDS})


def false_alarms(watch: LivePipeline) -> int:
    [fact] = watch.engine.budgets.facts()
    return fact.false_alarms


def test_a_running_service_learns_a_verdict_and_learns_it_again_after_a_kill(tmp_path: Path) -> None:
    watch = pipeline()
    (opened,) = watched(watch, 0, 110, loud=100)
    saved = watch.checkpoint(["hand"], "")
    judged = JudgedIncident("counts", "node", {"odd": 20.0})
    mark = Action(1, opened, "resolve", "ana", "", 111 * MINUTE * SECOND, "false_alarm", judged)
    watch.act(mark)
    assert false_alarms(watch) == 0, "it counts from the next hour of event time on"
    watched(watch, 110, 130)
    assert false_alarms(watch) == 1
    again = pipeline()
    again.resume(saved)
    again.act(mark)
    watched(again, 110, 130)
    assert again.engine.budgets.facts() == watch.engine.budgets.facts()
    write_checkpoint(tmp_path / "state", watch.checkpoint(["hand"], ""))
    assert learnt_facts(tmp_path / "state", watch.rules.plans) == watch.engine.budgets.facts()
    watch.act(Action(2, opened, "resolve", "bob", "", 131 * MINUTE * SECOND, "attack", judged))
    watched(watch, 130, 190)
    assert false_alarms(watch) == 0


def test_a_verdict_on_another_node_or_rule_teaches_nothing() -> None:
    watch = pipeline()
    (opened,) = watched(watch, 0, 110, loud=100)
    for number, judged in enumerate(
        (JudgedIncident("counts", "other", {"odd": 9.0}), JudgedIncident("gone", "node", {"odd": 9.0})), 1
    ):
        watch.act(Action(number, opened, "resolve", "ana", "", 111 * MINUTE * SECOND, "false_alarm", judged))
    watched(watch, 110, 130)
    assert false_alarms(watch) == 0


def test_people_read_threshold_interval_rates_and_what_it_waits_for() -> None:
    watch = pipeline()
    watched(watch, 0, 2_000)
    [fact] = watch.engine.budgets.facts()
    line = fact_line(fact)
    assert line.startswith("odd: threshold 4.65 -log10 of the chance (4.64 to ")
    assert fact.peaks > 5
    assert "shipped 4.64), budget 1 per 30d; " in line
    assert "0 false alarms marked in 1d 9h watched; in 30 days: promised 1, achieved 0" in line
    assert fact_line(fact._replace(waits="until 12:31 UTC")).endswith("waits until 12:31 UTC")
    young = fact_line(fact._replace(achieved=None, provisional=True, peaks=3))
    assert "provisional, learnt from 3 peaks" in young
    assert "achieved not known before a day" in young
    shown = fact_object(fact, "alice")
    assert (shown["node"], shown["name"], shown["waits"], shown["promised"]) == ("alice", "odd", None, 1.0)
    out = Exposition()
    budget_metrics(out, [fact], "alice")
    text = out.text()
    assert 'watchdog_detector_threshold{detector="odd",node="alice",rule="counts"} 4.6' in text
    assert 'watchdog_detector_achieved{detector="odd",node="alice",rule="counts"} 0.0' in text
