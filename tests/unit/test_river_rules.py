"""Rules that need river: what they say without it, that nothing else imports it, and what a failing model reports."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rules.digest import rule_hash
from rules.load import load, load_text
from rules.portable import from_text, to_text
from rules.show import show_rule
from tests.support.events import batch, one_slice
from watchdog.core import river_classes
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.river_classes import EXTRA, class_names, river_installed
from watchdog.engine.engine import Engine
from watchdog.engine.key_tables import VALUES
from watchdog.located_yaml.problem import RuleSetError
from watchdog.service.capabilities import Facts, capabilities, lines

UNUSABLE = {"QuantileFilter", "ThresholdFilter", "DriftRetrainingClassifier"}  # they need other models
KIND = "net:inbound_message"
HEAD = f"attack: node, severity: info, on: {KIND}, over: 1m, pane: 1m, evidence: 0"
MOVED = f"""
rules:
  moved: {{title: a, {HEAD}, fire: moved, measure: {{n: count(), moved: changed(n)}}}}
  always: {{title: b, {HEAD}, fire: n > 3, measure: {{n: count()}}}}
"""
MODEL = f"""
rules:
  scored: {{title: a, {HEAD}, model: river.anomaly.GaussianScorer, memory: 100, fire: score > 0.999,
    parameters: {{window_size: 20, grace_period: 5}}, measure: {{n: count()}}}}
"""
QUIETENED = 0  # a seed with which river's rolling variance falls below 0
GAUSS = MODEL.replace("window_size: 20, ", "")


@pytest.fixture
def without_river(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    assert not river_installed()


def rows(counts: list[int]) -> list[dict[str, object]]:
    return [{"t": minute * 60 + at * 60 / n, "type": "inv"} for minute, n in enumerate(counts) for at in range(n)]


def findings(text: str, counts: list[int], *, kill: int = -1) -> list[Finding]:
    plans = load_text(text).plans
    engine, found = Engine(plans, {"hand": ALL_KINDS}), []
    events = rows(counts)
    for minute in range(0, len(counts), 10):
        part = [row for row in events if minute <= float(str(row["t"])) / 60 < minute + 10]
        found += engine.process(one_slice([batch(KIND, part)] if part else [], until=(minute + 10) * 60))
        if minute == kill:
            again = Engine(plans, {"hand": ALL_KINDS})
            again.restore(engine.snapshot())
            engine = again
    return [*found, *engine.finish()]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_river_its_rules_cannot_fire_and_say_what_to_install(without_river: None) -> None:
    plans = load([], packs=["default", "drift"]).plans
    found = capabilities(plans, {"x": ALL_KINDS}, Facts(asmap=True, log_net=True, log_addrman=True, river=False))
    moved = {plan.id for plan in plans if plan.drifts}
    assert {name for name, one in found.items() if "river" in one.lacks} == moved
    assert len(moved) == 5
    assert f"5 rules wait for the package river ({EXTRA}): addr-normal-moved, " in "\n".join(lines(found))


def test_without_river_the_other_rules_run_and_no_verdict_is_given(without_river: None) -> None:
    found = findings(MOVED, [4] * 120 + [40] * 120)
    assert {one.rule for one in found} == {"always"}
    assert findings(GAUSS, [4] * 60 + [400]) == []


def test_a_checkpoint_passes_between_runs_with_and_without_river(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = load_text(MOVED).plans
    events = one_slice([batch(KIND, rows([4] * 100))], until=6_000)
    one = Engine(plans, {"hand": ALL_KINDS})
    one.process(events)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "river", None)
        without = Engine(plans, {"hand": ALL_KINDS})
        without.restore(one.snapshot())
        saved = without.snapshot()
    Engine(plans, {"hand": ALL_KINDS}).restore(saved)


@pytest.mark.parametrize("argv", [["rules", "list", "--json", "--rules", "X"], ["rules", "list", "--rules", "X"]])
def test_rules_list_names_them(argv: list[str], tmp_path: Path, root: Path) -> None:
    (tmp_path / "x.yaml").write_text(MOVED, encoding="utf-8")
    given = [str(tmp_path / "x.yaml") if word == "X" else word for word in argv]
    code = f"import sys; sys.modules['river'] = None\nfrom watchdog.cli.main import main\nmain({given!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False, timeout=300
    )
    if "--json" in argv:
        by_id = {one["id"]: one for one in json.loads(done.stdout)}
        assert (by_id["moved"]["can_fire"], by_id["moved"]["lacks"]) == (False, ["river"])
        assert by_id["always"]["can_fire"] == "unknown"
    else:
        assert f"1 rule waits for the package river ({EXTRA}): moved" in " ".join(done.stderr.split())


def test_check_names_them(tmp_path: Path, root: Path) -> None:
    (tmp_path / "debug.log").write_text("2026-01-01T00:00:00Z x\n", encoding="utf-8")
    text = f"sources: [log:{tmp_path}/debug.log]\npacks: [drift]\n"
    (tmp_path / "watchdog.yaml").write_text(text, encoding="utf-8")
    argv = ["check", "--config", str(tmp_path / "watchdog.yaml")]
    code = f"import sys; sys.modules['river'] = None\nfrom watchdog.cli.main import main\nmain({argv!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False, timeout=300
    )
    assert f"5 rules wait for the package river ({EXTRA})" in " ".join(done.stdout.split()), done


def test_river_is_imported_for_a_rule_that_needs_it_and_for_nothing_else() -> None:
    ask = "print(any(name.split('.')[0] == 'river' for name in sys.modules))"
    engine = "from watchdog.engine.engine import Engine; from watchdog.core.kinds import ALL_KINDS"
    run = "Engine(load([], packs=[{pack!r}]).plans, {{'x': ALL_KINDS}})"
    head = f"import sys; from rules.load import load; {engine}; import watchdog.core.river_classes; "
    assert python(head + run.format(pack="default") + f"; {ask}") == "False\n"
    assert python(f"{head}load([], packs=['drift']); {ask}") == "False\n", "checking changed() needs no river"
    assert python(head + run.format(pack="drift") + f"; {ask}") == "True\n"


def test_a_model_that_raises_is_a_finding_of_its_own_that_a_restart_remembers() -> None:
    counts = [*np.random.default_rng(QUIETENED).poisson(80, 120).tolist(), *[1] * 120]
    text = MODEL.replace("score > 0.999", "score > 2")  # what fires would teach nothing
    found = [one for one in findings(text, counts) if "model" in one.incident]
    assert [one.change for one in found[:2]] == ["fire", "clear"]
    first = found[0]
    assert first.severity == "warning"
    assert first.incident == {"model": "river.anomaly.GaussianScorer"}
    assert first.summary.startswith("river.anomaly.GaussianScorer failed, and starts afresh: TypeError: must be real")
    assert first.measures == {"faults": 1}
    assert found[1].summary.startswith("river.anomaly.GaussianScorer gives scores again")
    for kill in (110, 120, 130, 140):
        assert [one for one in findings(text, counts, kill=kill) if "model" in one.incident] == found


def test_keys_beyond_the_cap_are_refused_and_counted() -> None:
    by_peer = f"  plain: {{title: b, {HEAD}, by: [peer_addr], fire: n > 9, measure: {{n: count()}}}}\n"
    moved = MOVED.replace("fire: moved,", "fire: moved, by: [peer_addr], max_keys: 8,")
    plans = load_text(moved + by_peer).plans  # the plain rule shares the table of keys, and makes it large
    engine = Engine(plans, {"hand": ALL_KINDS})
    events = [{"t": minute * 60 + n / 4, "peer_addr": f"10.0.0.{n}"} for minute in range(20) for n in range(50)]
    engine.process(one_slice([batch(KIND, events)], until=1_200))
    assert engine.usage.key_counts()[VALUES]["refused"] == 20 * 42


def test_a_score_fires_and_what_fires_teaches_nothing() -> None:
    found = findings(GAUSS, [20 + at % 5 for at in range(90)] + [400] * 60 + [20] * 30)
    assert [one.change for one in found if one.change in ("fire", "clear")] == ["fire", "clear"]
    fire, clear = (one for one in found if one.change in ("fire", "clear"))
    assert clear.time_ns - fire.time_ns == 60 * 60 * 10**9, "all of it, as nothing of it was learned"


def test_limits_and_features_pass_as_text() -> None:
    text = MODEL.replace("river.anomaly.GaussianScorer", "river.anomaly.HalfSpaceTrees").replace(
        "parameters: {window_size: 20, grace_period: 5}, measure: {n: count()}",
        "features: [m, n], limits: {n: -1.5 to 1_000, m: 0 to 2e3}, measure: {n: count(), m: sum(size)}",
    )
    found = load_text(text)
    again = from_text(to_text(found))
    assert again.hash == found.hash
    (plan,) = again.plans
    assert plan.model is not None
    assert plan.model.features == ("m", "n")
    assert plan.model.limits == (("m", 0.0, 2_000.0), ("n", -1.5, 1_000.0))


def test_a_rule_with_a_model_passes_as_text_and_its_hash_is_of_the_model() -> None:
    found = load_text(MODEL)
    again = from_text(to_text(found))
    assert again.hash == found.hash
    assert again.plans[0].model == found.plans[0].model
    (plan,) = found.plans
    assert plan.model is not None
    assert rule_hash(replace(plan, model=replace(plan.model, memory=200))) != rule_hash(plan)
    assert "memory: 100" in "\n".join(show_rule(plan, found.sources["scored"]))


def test_each_public_class_is_used_or_refused_in_words() -> None:
    for module in river_classes.MODULES:
        for name in class_names(module):
            limits = "limits: {n: 0 to 100}, " if name == "HalfSpaceTrees" else ""
            text = MODEL.replace("parameters: {window_size: 20, grace_period: 5}, ", limits)
            text = text.replace("river.anomaly.GaussianScorer", f"river.{module}.{name}")
            if name in UNUSABLE:
                with pytest.raises(RuleSetError, match=f"'{name}' needs '"):
                    load_text(text)
            else:
                assert load_text(text).plans[0].model
