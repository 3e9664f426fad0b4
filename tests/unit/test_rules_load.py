"""Loading: what a rule compiles to, lists, overrides, folders, hashes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rules.digest import rule_hash
from rules.load import PACKS, RuleSet, check, load, load_text
from watchdog.cli.main import main
from watchdog.core.batch import Batch, Strings
from watchdog.core.errors import RuleError
from watchdog.core.plan import COVERED, RulePlan
from watchdog.located_yaml.problem import RuleSetError

BASE = """
rules:
  peer-floods:
    title: Peer floods
    attack: addr-flooding
    severity: warning
    on: {kinds}
    by: [{by}]
    measure:
      {measure}
    over: {over}
    fire: {fire}
"""


def compiled(
    measure: str = "sent: sum(entries)",
    fire: str = "sent > 100",
    *,
    kinds: str = "p2p:addr",
    by: str = "conn",
    over: str = "10m",
    more: str = "",
) -> RulePlan:
    text = BASE.format(measure=measure.replace("; ", "\n      "), fire=fire, kinds=kinds, by=by, over=over)
    return load_text(text + "".join(f"    {line}\n" for line in more.split("; ") if line)).plans[0]


def test_a_rule_without_options_has_the_documented_defaults() -> None:
    plan = compiled()
    assert (plan.pane_ns, plan.for_ns, plan.resolve_after_ns) == (10 * 10**9, 0, 1800 * 10**9)
    assert (plan.evidence, plan.max_keys, plan.maturity, plan.clear, plan.escalate) == (
        50,
        100_000,
        "incubating",
        None,
        (),
    )
    assert (plan.incident, plan.entities, plan.summary) == (("netgroup",), ("peer_addr",), "Peer floods")
    assert plan.place == "rules.yaml:3"


@pytest.mark.parametrize(
    ("over", "pane_s"),
    [("1s", 1), ("59s", 1), ("60s", 1), ("2m", 2), ("5m", 5), ("7m", 5), ("10m", 10), ("1h", 60), ("61m", 60),
     ("5h", 300), ("1d", 900), ("30d", 900), ("601s", 1)],
)  # fmt: skip
def test_the_pane_is_the_largest_that_divides_the_window_and_is_at_most_a_sixtieth(over: str, pane_s: int) -> None:
    assert compiled(over=over).pane_ns == pane_s * 10**9


def test_equal_measures_are_planned_once_and_the_second_name_is_a_value() -> None:
    plan = compiled("a: count( entries>10 ); b: count(10 < entries); c: mean(entries)", "a + b + c > 3")
    assert [(measure.name, measure.op) for measure in plan.measures][:1] == [("a", "count")]
    assert len(plan.measures) == 3
    assert dict(plan.values)["b"].text == "a"


def test_mean_and_rate_are_written_out_as_divisions() -> None:
    plan = compiled("m: mean(entries where solicited); r: rate(count())", "m > 3 and r > 1")
    values = dict(plan.values)
    cells = {measure.name: np.array([0, 600]) for measure in plan.measures}
    assert values["m"](cells).tolist() == [0.0, 1.0]
    assert values["r"](cells).tolist() == [0.0, 1.0]


def test_flat_means_zero_over_a_window_that_was_seen_whole() -> None:
    plan = compiled("n: count()", "flat(n)", by="")
    assert plan.absence
    assert COVERED in plan.fire.names
    cells = {"n": np.array([0, 0, 3]), COVERED: np.array([True, False, True])}
    assert plan.fire(cells).tolist() == [True, False, False]


def test_a_detector_becomes_a_baseline_with_its_defaults() -> None:
    plan = compiled("odd: anomalous(rate(count()))", "odd and odd_expected < 5", over="1h")
    spec = plan.baselines[0]
    assert (spec.name, spec.law, spec.direction, spec.threshold, spec.floor) == ("odd", "level", "up", 5.0, 1.0)
    assert (spec.half_life_ns, spec.warmup_ns, spec.step_ns) == (21600 * 10**9, 1800 * 10**9, 60 * 10**9)
    assert (spec.freeze_ns, spec.budget) == (21600 * 10**9, "")
    assert plan.fire.names == {"odd", "odd_expected"}


def test_a_detector_in_fire_gets_a_hidden_name_and_equal_ones_share_it() -> None:
    plan = compiled(fire="anomalous(sent, floor=5) or anomalous(sent, floor = 5) and sent > 3")
    assert len(plan.baselines) == 1
    assert plan.baselines[0].name.startswith("__")


def test_measures_of_guarded_kinds_touch_no_missing_column() -> None:
    plan = compiled(
        'big: sum(entries where kind == "p2p:addr" and not solicited); tx: sum(tx where kind == "p2p:inv")',
        "big + tx > 3",
        kinds="[p2p:inv, p2p:addr]",
    )
    assert plan.kinds == ("p2p:addr", "p2p:inv")
    batch = Batch("p2p:inv", "n", "s", {"time_ns": np.arange(2), "tx": np.array([3, 4], np.uint32)})
    big, tx = plan.measures
    assert big.where is not None
    assert big.where(batch).tolist() == [False, False]
    assert tx.value is not None
    assert tx.value(batch).tolist() == [3, 4]
    other = Batch("p2p:addr", "n", "s", {"time_ns": np.arange(1)})
    assert tx.value(other).tolist() == [0]


def test_sums_of_unsigned_columns_are_int64_and_wide_ones_saturate() -> None:
    plan = compiled("top: max(services); n: distinct(services)", "top > 3 and n > 1", kinds="p2p:version")
    batch = Batch("p2p:version", "n", "s", {"time_ns": np.arange(2), "services": np.array([2**64 - 1, 9], np.uint64)})
    top, apart = (measure.value for measure in plan.measures)
    assert top is not None
    assert apart is not None
    assert top(batch).tolist() == [2**63 - 1, 9]
    assert apart(batch).tolist() == [-1, 9]
    assert top.text != apart.text


def test_no_number_that_a_peer_declares_makes_a_sum_or_a_product_negative() -> None:
    plan = compiled(
        "sent: sum(entries); twice: sum(entries * 2); far: max(entries + size); near: min(0 - entries - entries)",
        "sent > 100",
        kinds="p2p:malformed",
    )
    entries, size = np.array([2**64 - 1, 2**62, 2], np.uint64), np.array([9, 9, 9], np.uint32)
    batch = Batch("p2p:malformed", "n", "s", {"time_ns": np.arange(3), "entries": entries, "size": size})
    values = [measure.value for measure in plan.measures if measure.value is not None]
    sent, twice, far, near = (value(batch).tolist() for value in values)
    assert sent == [2**42, 2**42, 2]
    assert twice == [2**42, 2**42, 4]
    assert far == [2**63 - 1, 2**62 + 9, 11]
    assert near == [1 - 2**63, 1 - 2**63, -4]


def test_equal_filters_have_equal_text_however_they_are_written() -> None:
    first = compiled(more='where: flow == "received" and (entries > 3) and solicited == true')
    second = compiled(more='where: solicited and 3 < entries and "received" == flow')
    assert first.where is not None
    assert second.where is not None
    assert first.where.text == second.where.text
    assert first.where == second.where
    assert first.where.equals == (("flow", "received"),)


@pytest.mark.parametrize(
    ("by", "more", "incident"),
    [
        ("conn", "", ("netgroup",)),
        ("peer_addr, flow", "", ("netgroup", "flow")),
        ("netgroup", "", ("netgroup",)),
        ("", "", ()),
        ("conn", "incident: [subnet, asn]", ("subnet", "asn")),
        ("peer", "incident: []", ()),
    ],
)
def test_findings_come_together_by_netgroup_unless_said_otherwise(
    by: str, more: str, incident: tuple[str, ...]
) -> None:
    assert compiled(by=by, more=more).incident == incident


def test_escalations_are_ordered_by_severity() -> None:
    plan = compiled(more="escalate: {critical: sent > 1000, high: sent > 500}")
    assert [severity for severity, _ in plan.escalate] == ["high", "critical"]


def test_the_hash_is_stable_over_formatting_and_changes_with_meaning() -> None:
    first, second = compiled(), compiled(fire="100   < sent", more="references: [a]")
    assert rule_hash(first) == rule_hash(second)
    assert rule_hash(first) != rule_hash(compiled(fire="sent > 101"))


def test_a_list_changes_the_hash_of_the_rules_that_use_it() -> None:
    body = BASE.format(measure="n: count(peer_addr in spies)", fire="n > 1", kinds="p2p:addr", by="conn", over="10m")
    sets = [load_text(f"lists:\n  spies: [{text}]\n{body}") for text in ("10.0.0.0/8, 1.2.3.4", "1.2.3.4")]
    assert sets[0].hash != sets[1].hash
    assert sets[0].lists == {"spies": ("10.0.0.0/8", "1.2.3.4")}
    batch = Batch("p2p:addr", "n", "s", {"time_ns": np.arange(2), "peer_addr": Strings.of(["10.9.9.9", "11.0.0.1"])})
    where = sets[0].plans[0].measures[0].where
    assert where is not None
    assert where(batch).tolist() == [True, False]


def overridden(tmp_path: Path, override: str) -> RuleSet:
    """A shipped rule in one file, an override of it in another."""
    text = BASE.format(measure="sent: sum(entries)", fire="sent > 100", kinds="p2p:addr", by="conn", over="10m")
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(f"overrides:\n  peer-floods: {override}\n")
    return load([tmp_path], packs=False)


def test_an_override_changes_single_keys(tmp_path: Path) -> None:
    plan = overridden(tmp_path, "{fire: sent > 200, severity: high}").plans[0]
    assert (plan.fire.text, plan.severity, plan.over_ns) == ("(sent > 200)", "high", 600 * 10**9)


def test_an_override_switches_a_rule_off(tmp_path: Path) -> None:
    assert overridden(tmp_path, "{enabled: false}").plans == ()


def test_an_override_warns_when_the_rule_below_it_changed(tmp_path: Path) -> None:
    known = rule_hash(compiled())
    assert overridden(tmp_path, f"{{expects: {known}, evidence: 5}}").warnings == ()
    warnings = overridden(tmp_path, "{expects: 0123456789ab, evidence: 5}").warnings
    assert [warning.message for warning in warnings] == [
        f"rule 'peer-floods' has changed: expected 0123456789ab, found {known}"
    ]


def test_mistakes_of_an_override_are_shown_in_its_own_file(tmp_path: Path) -> None:
    with pytest.raises(RuleSetError) as error:
        overridden(tmp_path, "{fire: snet > 1}")
    assert [Path(problem.place.source.name).name for problem in error.value.problems] == ["b.yaml"]


def test_one_id_in_two_files_is_a_mistake_that_names_both(tmp_path: Path) -> None:
    text = BASE.format(measure="sent: sum(entries)", fire="sent > 100", kinds="p2p:addr", by="conn", over="10m")
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(text)
    (problem,) = check([tmp_path], packs=False)
    assert problem.message.endswith("a.yaml:3")
    assert problem.place.source.name.endswith("b.yaml")


def test_all_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rulez: {}\n")
    (tmp_path / "b.yaml").write_text("rules:\n  x: 3\n")
    (tmp_path / "c.yaml").write_text("a: [\n")
    problems = check([tmp_path, tmp_path / "none.yaml"], packs=False)
    names = [Path(problem.place.source.name).name for problem in problems]
    assert names == ["a.yaml", "b.yaml", "c.yaml", "none.yaml"]
    assert [problem.unreadable for problem in problems] == [False, False, False, True]


def test_a_folder_without_rules_and_a_rule_set_error_are_plain_rule_errors(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match=r"no \*.yaml file"):
        load([tmp_path], packs=False)


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    text = BASE.format(measure="sent: sum(entries)", fire="sent > 100", kinds="p2p:addr", by="conn", over="10m")
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert len(load([path, tmp_path, path], packs=False).plans) == 1


def test_the_shipped_packs_are_right_and_named_alike_on_every_machine() -> None:
    found = load([])
    assert found.plans
    assert not found.warnings
    assert all(plan.place.startswith("rules/packs/") for plan in found.plans)
    assert not check([PACKS])


def test_overrides_count_whatever_the_order_of_files(tmp_path: Path) -> None:
    text = BASE.format(measure="sent: sum(entries)", fire="sent > 100", kinds="p2p:addr", by="conn", over="10m")
    (tmp_path / "a.yaml").write_text("overrides:\n  peer-floods: {fire: sent > 200}\n")
    (tmp_path / "b.yaml").write_text(text)
    (tmp_path / "c.yaml").write_text("overrides:\n  peer-floods: {evidence: 7}\n")
    plan = load([tmp_path], packs=False).plans[0]
    assert (plan.fire.text, plan.evidence) == ("(sent > 200)", 7)


def test_a_copy_of_a_shipped_pack_is_no_second_definition(tmp_path: Path) -> None:
    for path in PACKS.glob("*.yaml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert not check([tmp_path])


@pytest.mark.parametrize(
    ("override", "start"),
    [
        ("fire: sent > 10", "b.yaml:3:11: 'clear' can hold while 'fire' does"),
        (
            "severity: critical",
            "b.yaml:3:15: escalates to 'high', which is not above the rule's severity 'critical'",
        ),
    ],
)
def test_an_override_that_clashes_with_a_key_it_left_is_the_one_at_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, start: str
) -> None:
    text = BASE.format(measure="sent: sum(entries)", fire="sent > 100", kinds="p2p:addr", by="conn", over="10m")
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(f"{text}    clear: sent < 50\n    escalate: {{high: sent > 500}}\n")
    Path("b.yaml").write_text(f"overrides:\n  peer-floods:\n    {override}\n")
    with pytest.raises(RuleSetError) as caught:
        load([Path("a.yaml"), Path("b.yaml")], packs=False)
    (problem,) = caught.value.problems
    kept = problem.hint.removeprefix("override ").removesuffix(" too")
    assert kept in {"'clear'", "'escalate'"}
    assert problem.render().startswith(f"{start}; {kept} is still that of a.yaml:1")


UNUSED = """
lists:
  spies: [192.0.2.0/24]
  others: [192.0.2.1]
rules:
  pings:
    title: Pings
    attack: resource
    severity: warning
    on: p2p:ping
    where: peer_addr in others
    measure: {pings: count(), size_sum: sum(size), per_s: rate(pings), odd: anomalous(per_s)}
    over: 10m
    fire: odd and pings > 10
    summary: "{odd_expected} pings are usual"
"""


def test_unused_lists_and_measures_are_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = load_text(UNUSED)
    assert [(one.place.line, one.message) for one in found.warnings] == [
        (3, "list 'spies' is never used"),
        (12, "measure 'size_sum' is never used"),
    ]
    (tmp_path / "mine.yaml").write_text(UNUSED)
    assert main(["rules", "check", "--no-packs", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "mine.yaml:3:3: list 'spies' is never used" in said.err
    assert "1 rule, no mistakes" in said.out


def test_a_list_of_a_rule_that_is_switched_off_is_no_warning() -> None:
    off = UNUSED.replace("spies: [192.0.2.0/24]\n", "").replace("  \n", "")
    found = load_text(off + "overrides:\n  pings: {enabled: false}\n")
    assert (found.plans, found.warnings) == ((), ())


@pytest.mark.parametrize(
    "where",
    [
        'peer_addr == "192.0.2.1"',
        'peer_addr == "abcdefg.onion"',
        'peer_addr in ["10.0.0.0/8", "2001:DB8::/32"]',
        "size >= 0 and size < 4294967295",
        "size == 4294967295",
        'netgroup == "136.43.0.0/16" or netgroup == "AS24940" or netgroup == "onion:5"',
        'subnet == "136.43.1.0/24"',
        'netblock == "onion:5"',
        'direction == "in" or direction == "out"',
        'direction != "in" and direction != "out"',
        "size > 5 and size <= 6 and size != 6",
        "size >= 5 and size <= 5",
        'flow in ["received", "sent"] and flow == "sent"',
    ],
)
def test_what_can_be_true_is_no_mistake(where: str) -> None:
    text = UNUSED.replace("peer_addr in others", "PLACE").replace("size_sum: sum(size), ", "").partition("rules:")[2]
    assert not load_text("rules:" + text.replace("PLACE", f"'{where}'")).warnings


@pytest.mark.parametrize(
    "fire",
    [
        "share >= 1",
        "share == 0",
        "n == 0 or n > 5",
        "n > 5 and n < 7",
        "not n > 5",
        "n / top > 0.5",
        "top == 4294967295",
    ],
)
def test_verdicts_that_can_be_true_are_no_mistake(fire: str) -> None:
    measures = "{n: count(), share: top_share(netgroup), top: max(size)}"
    text = UNUSED.partition("rules:")[2].replace("peer_addr in others", "size > 0").replace("odd and pings > 10", fire)
    text = re.sub(r"measure: .*", f"measure: {measures}", text).replace("{odd_expected}", "{n} {share} {top}")
    assert load_text("rules:" + text).plans


def test_a_list_that_is_given_twice_names_the_first_place_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("lists:\n  spies: [192.0.2.0/24]\n")
    (tmp_path / "b.yaml").write_text("lists:\n  spies: [198.51.100.0/24]\n")
    (problem,) = check([tmp_path], packs=False)
    assert problem.message == f"list 'spies' is given twice, first in {tmp_path / 'a.yaml'}:2"
    assert "x in spies or x in my_spies" in problem.hint


def test_measures_of_a_rule_that_is_overridden_are_no_warning(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        UNUSED.replace("  spies: [192.0.2.0/24]\n", "").replace("size_sum: sum(size), ", "")
    )
    (tmp_path / "b.yaml").write_text('overrides:\n  pings: {fire: pings > 10, summary: "{pings} pings"}\n')
    assert load([tmp_path], packs=False).warnings == ()
