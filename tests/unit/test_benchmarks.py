"""The benchmark command: what it runs, prints and writes, without measuring anything for long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import probes, service
from benchmarks.rounds import Row, Settings, SkippedError, by_cost, by_rate, in_turns
from tests.support.parts import lacking

FAST = Row("fast", 10.0, 2.0, "rows/s", 5.0, "slow", 4.0)
SLOW = Row("slow", 3.0, 2.0, "rows/s", 1.5, "slow", 4.0)


def _skip(_: Settings) -> list[Row]:
    raise SkippedError("nothing to read")


@pytest.fixture(name="results")
def _results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake: dict[str, command.Benchmark] = {"fast": lambda _: [FAST], "slow-500": lambda _: [SLOW], "absent": _skip}
    monkeypatch.setattr(command, "BENCHMARKS", fake)
    return tmp_path / "results.json"


def test_an_unknown_name_is_refused_with_the_nearest_one(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["fats", "--out", str(results)]) == 2
    assert "no benchmark 'fats'; did you mean 'fast'?" in capsys.readouterr().err
    assert not results.exists()


def test_a_missed_gate_is_marked_and_fails_only_when_asked(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--out", str(results)]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines() if "MISSED" in line] == ["slow"]
    assert command.main(["--gate", "--out", str(results)]) == 1
    assert command.main(["--gate", "fast", "--out", str(results)]) == 0


def test_a_skipped_benchmark_says_why_and_the_others_are_written(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["absent", "fast", "--out", str(results)]) == 0
    assert "absent: skipped: nothing to read" in capsys.readouterr().out
    (written,) = json.loads(results.read_text(encoding="utf-8"))
    assert written == {"name": "fast", "ours": 10.0, "rival": 2.0, "unit": "rows/s", "ratio": 5.0, "rival_name": "slow"}


def test_a_group_means_its_members(results: Path) -> None:
    assert command.main(["slow", "--out", str(results)]) == 0
    assert [row["name"] for row in json.loads(results.read_text(encoding="utf-8"))] == ["slow"]


def test_sides_take_turns_and_medians_come_back() -> None:
    order: list[str] = []

    def ours(number: int) -> float:
        order.append("a")
        return float(number)

    def rival(number: int) -> float:
        order.append("b")
        return 10.0 * number

    assert in_turns(5, ours, rival) == (2.0, 20.0)
    assert "".join(order) == "abbaabbaab"


def test_more_is_better_for_rates_and_costs() -> None:
    assert by_rate("x", (8.0, 2.0), "rows/s", "y").ratio == 4.0
    assert by_cost("x", (2.0, 8.0), "ms", "y").ratio == 4.0


def test_every_benchmark_can_be_found() -> None:
    names = set(command.BENCHMARKS)
    gates = {"rules-river-500", "rules-river-5000", "rules-python-500", "rules-python-5000", "decode-columns"}
    gates |= {"decode-capture", "replay", "replay-quiet", "live", "state", "checkpoint", "start"}
    gates |= {"long-silence", "many-findings", "many-keys", "replay-polls", "rpc-addrman", "fleet-rpc"}
    gates |= {"stream", "store-changes", "deliveries", "live-latency", "history-pages", "service-at-rest"}
    gates |= {"probe-cpu", "probe-loss", "probe-node-cost", "live-probes"}
    assert names == gates


@pytest.mark.parametrize("name", ["store-changes", "history-pages", "deliveries", "fleet-rpc"])
def test_the_figures_with_a_fixed_limit_have_gates_and_can_be_measured_quickly(name: str) -> None:
    rows = command.BENCHMARKS[name](Settings(rounds=1, quick=True))
    assert rows[0].name == name
    for row in rows:
        assert row.gate == 1.0
        assert row.ours > 0
        assert row.note


@pytest.mark.slow
def test_probes_lose_nothing_uncounted_and_are_measured_quickly() -> None:
    try:
        exact, half = probes.loss(Settings(rounds=1, quick=True))
        (cpu,) = probes.cpu(Settings(rounds=1, quick=True))
        (cost,) = probes.node_cost(Settings(rounds=1, quick=True))
    except SkippedError as reason:
        lacking(str(reason))
    assert (exact.name, exact.ours) == ("probe-loss", 0)
    assert (half.name, half.gate) == ("probe-loss-half", 1.0)
    assert min(cpu.ours, cpu.rival or 0, cost.ours, cost.rival or 0) > 0


def test_latency_counts_from_the_end_of_the_pane_of_the_last_event() -> None:
    data = {"rule": "r", "entities": ["136.1.1.1"], "evidence": [{"time": 101.0}, {"time": 103.5}]}
    opened = json.dumps({"type": "incident.opened", "data": data}).encode()
    assert service._beyond_s(106_000_000_000, opened, {"r": 5_000_000_000}) == pytest.approx(1.0)
    assert service._beyond_s(106_000_000_000, opened.replace(b"opened", b"updated"), {}) is None
    assert service._beyond_s(106_000_000_000, opened.replace(b"136.", b"60."), {}) is None, "not of an attacker"
