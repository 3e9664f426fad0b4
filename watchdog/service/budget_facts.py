"""Budgeted detectors for people: what each has learnt, in words, for the API, in /metrics and from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from watchdog.core.durations import rough_duration
from watchdog.core.plan import RulePlan
from watchdog.engine.budgets import BudgetFact, Budgets
from watchdog.engine.checkpoint import restoring, unpack
from watchdog.engine.engine import TAKEN_OVER
from watchdog.pipeline.checkpoint import read_checkpoint
from watchdog.service.exposition import Exposition


def fact_line(fact: BudgetFact) -> str:
    """Return what a detector has learnt in one line."""
    note = "provisional, " if fact.provisional else ""
    learnt = f"{note}learnt from {fact.peaks} peaks in {rough_duration(fact.vetted_ns)}"
    learnt = learnt if fact.vetted_ns else f"{note}nothing learnt yet"
    achieved = "not known before a day" if fact.achieved is None else f"{fact.achieved:.3g}"
    alarms = f"{fact.false_alarms} false alarm{'' if fact.false_alarms == 1 else 's'} marked"
    span = f"({fact.low:.2f} to {fact.high:.2f}, shipped {fact.shipped:.2f})"
    parts = [
        f"{fact.name}: threshold {fact.threshold:.2f} {fact.unit} {span}, budget {fact.budget}",
        learnt,
        f"{alarms} in {rough_duration(fact.watched_ns)} watched",
        f"in 30 days: promised {fact.promised:.3g}, achieved {achieved}",
    ]
    return "; ".join([*parts, *([f"waits {fact.waits}"] if fact.waits else [])])


def fact_object(fact: BudgetFact, node: str) -> dict[str, object]:
    """Return the same for the API; durations in seconds."""
    return {
        "node": node,
        "name": fact.name,
        "budget": fact.budget,
        "unit": fact.unit,
        "threshold": round(fact.threshold, 4),
        "low": round(fact.low, 4),
        "high": round(fact.high, 4),
        "shipped": round(fact.shipped, 4),
        "peaks": fact.peaks,
        "vetted_s": fact.vetted_ns / 1e9,
        "provisional": fact.provisional,
        "false_alarms": fact.false_alarms,
        "watched_s": fact.watched_ns / 1e9,
        "promised": fact.promised,
        "achieved": fact.achieved,
        "waits": fact.waits or None,
    }


def budget_metrics(out: Exposition, facts: Sequence[BudgetFact], node: str) -> None:
    """Add the metrics of one node's budgeted detectors."""
    labels = [{"node": node, "rule": fact.rule, "detector": fact.name} for fact in facts]

    def gauge(name: str, about: str, values: Iterable[float]) -> None:
        out.add(f"watchdog_detector_{name}", "gauge", about, list(zip(labels, values, strict=True)))

    gauge("threshold", "Score from which a detector with a budget fires.", (fact.threshold for fact in facts))
    gauge("threshold_low", "Least threshold that 90 of 100 samples give.", (fact.low for fact in facts))
    gauge("threshold_high", "Largest threshold that 90 of 100 samples give.", (fact.high for fact in facts))
    gauge("peaks", "Peaks of the node's own that the threshold rests on.", (fact.peaks for fact in facts))
    gauge("provisional", "1 while it rests on fewer than 20 peaks of the node.", (fact.provisional for fact in facts))
    gauge("watched_seconds", "Event time in which it gave verdicts.", (fact.watched_ns / 1e9 for fact in facts))
    gauge("false_alarms", "Findings that operators marked as false alarms.", (fact.false_alarms for fact in facts))
    gauge("promised", "False findings in 30 days that the budget allows.", (fact.promised for fact in facts))
    known = [(label, fact.achieved) for label, fact in zip(labels, facts, strict=True) if fact.achieved is not None]
    out.add("watchdog_detector_achieved", "gauge", "False findings marked, in 30 days of watched time.", known)
    gauge("waits", "1 while it gives no verdict: a start, initial download.", (bool(fact.waits) for fact in facts))


def has_budget(plan: RulePlan) -> bool:
    """Return whether a detector of the rule has a budget, which learns from operators' verdicts."""
    return bool(Budgets([plan]).all)


def learnt_facts(checkpoint: Path, plans: Sequence[RulePlan]) -> list[BudgetFact]:
    """Return what the detectors of these rules had learnt at a checkpoint. StateError when it is damaged."""
    budgets = Budgets(plans)
    state = unpack(read_checkpoint(checkpoint).engine)
    with restoring(state, TAKEN_OVER):
        for part in state["parts"]:
            group = unpack(part["engine"].tobytes())
            if "budgets" in group:
                budgets.adopt(group["budgets"])
    return budgets.facts()
