"""The key `packs`: which shipped packs are read, and what the pack peer-observer reports."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from rules.load import OPTIONAL_PACKS, load, pack_names
from tests.support.events import batch, one_slice
from watchdog.core.errors import RuleError, WatchdogError
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline
from watchdog.service.config.read import load_config
from watchdog.service.config.schema import config_schema

T0, MINUTE, HOUR = 1_700_000_000, 60, 3_600
PEER = {"conn": 7, "peer": "203.0.113.7:8333", "peer_addr": "203.0.113.7", "flow": "received", "direction": "in"}


def chosen(folder: Path, packs: str) -> tuple[str, ...]:
    path = folder / "watchdog.yaml"
    path.write_text(f"sources: log:debug.log\n{packs}\n", encoding="utf-8")
    return load_config(path, {}).packs


@pytest.mark.parametrize(
    ("packs", "names"),
    [
        ("", ("default",)),
        ("packs: true", ("default",)),
        ("packs: false", ()),
        ("packs: []", ()),
        ("packs: [default, peer-observer]", ("default", "peer-observer")),
        ("packs: peer-observer", ("peer-observer",)),
        ("packs: [peer-observer, peer-observer]", ("peer-observer",)),
    ],
)
def test_packs_are_named_in_the_configuration(tmp_path: Path, packs: str, names: tuple[str, ...]) -> None:
    assert chosen(tmp_path, packs) == names


@pytest.mark.parametrize("packs", ["packs: [peer-observr]", "packs: yes", "packs: [true]", "packs: {default: true}"])
def test_a_pack_that_does_not_exist_is_a_mistake(tmp_path: Path, packs: str) -> None:
    with pytest.raises(WatchdogError, match="packs"):
        chosen(tmp_path, packs)


def test_editors_know_the_packs() -> None:
    for packs in (True, False, "default", ["default", "peer-observer"]):
        jsonschema.validate({"sources": "log:x", "packs": packs}, config_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"sources": "log:x", "packs": ["other"]}, config_schema())


def test_a_pack_is_off_unless_it_is_named() -> None:
    assert pack_names() == ("default", "drift", "fibre", "lightning", "peer-observer")
    default, both = load([]), load([], packs=pack_names())
    assert default.hash == load([], packs=["default"]).hash
    own = {plan.id for plan in both.plans} - {plan.id for plan in default.plans}
    assert own == {plan.id for plan in load([], packs=["drift", "fibre", "lightning", "peer-observer"]).plans}
    assert all(plan.id.startswith("po-") for plan in load([], packs=["peer-observer"]).plans)
    with pytest.raises(RuleError, match="no pack 'other'; there are: default, drift, fibre, lightning, peer-observer"):
        load([], packs=["other"])


def rules_that_fire(kind: str, rows: list[dict[str, object]], *, until: float) -> set[str]:
    plans = load([], packs=["peer-observer"]).plans
    course = Pipeline(Engine(plans, {"hand": ALL_KINDS}))
    timed = [{**row, "t": T0 + float(str(row["t"]))} for row in rows]
    course.process(
        one_slice([batch("node:started", [{"t": T0, "reason": "log-start"}]), batch(kind, timed)], T0 + until)
    )
    course.finish()
    return {incident.rule for incident in course.books.incidents()}


@pytest.mark.parametrize(("pings", "fires"), [(3, False), (4, True)])
def test_more_than_three_pings_in_two_minutes_are_spam(pings: int, fires: bool) -> None:
    rows = [{**PEER, "t": 10 * number} for number in range(pings)]
    assert rules_that_fire("p2p:ping", rows, until=HOUR) == ({"po-ping-spammer"} if fires else set())


@pytest.mark.parametrize(("messages", "fires"), [(6, False), (7, True)])
def test_more_than_six_address_messages_in_a_minute_are_spam(messages: int, fires: bool) -> None:
    rows = [{**PEER, "t": 5 * number, "entries": 1, "version": 1 + number % 2} for number in range(messages)]
    assert rules_that_fire("p2p:addr", rows, until=HOUR) == ({"po-addr-spammer"} if fires else set())


@pytest.mark.parametrize(("beyond", "fires"), [(19, False), (20, True)])
def test_twenty_addresses_beyond_the_limit_are_spam(beyond: int, fires: bool) -> None:
    rows = [{**PEER, "t": 600, "entries": 30, "version": 2, "beyond_limit": beyond}]
    assert rules_that_fire("p2p:addr", rows, until=HOUR) == ({"po-addr-entries-spammer"} if fires else set())


def closings(last_hour: int) -> list[dict[str, object]]:
    """Ten connections end in each half hour of three days, and `last_hour` in the last hour."""
    usual = [{**PEER, "t": 180 * number, "conn": number} for number in range(72 * 20)]
    start = 72 * HOUR
    return usual + [{**PEER, "t": start + HOUR / last_hour * at, "conn": 10_000 + at} for at in range(last_hour)]


@pytest.mark.parametrize(("last_hour", "fires"), [(20, False), (80, True)])
def test_connections_that_end_beyond_the_band_are_reported(last_hour: int, fires: bool) -> None:
    found = rules_that_fire("net:closed_connection", closings(last_hour), until=73 * HOUR)
    assert found == ({"po-band-closed"} if fires else set())


def test_every_rule_of_the_pack_names_where_its_numbers_come_from() -> None:
    text = (OPTIONAL_PACKS / "peer-observer.yaml").read_text(encoding="utf-8")
    plans = load([], packs=["peer-observer"]).plans
    assert len(plans) == 9
    assert all("peer-observer/peer-observer#" in text.split(f"  {plan.id}:")[1].split("fire:")[0] for plan in plans)
