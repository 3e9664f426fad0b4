"""Counts of what an engine holds and spends: keys, values, seconds and suppressed findings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from watchdog.engine.group_engine import GroupEngine
from watchdog.engine.key_tables import VALUES


class Usage:
    """The resource counts of all source groups, for metrics and reports; every call counts afresh."""

    def __init__(self, engines: Sequence[GroupEngine]) -> None:
        self._engines = engines

    def key_counts(self) -> dict[str, dict[str, int]]:
        """Return the live, refused and evicted keys by the fields of the key, over all groups.

        The entry VALUES counts the values that distinct counts, shares, entropies and quantiles remember. Refused
        values are missing from these measures.
        """
        total: dict[str, Counter[str]] = defaultdict(Counter)
        for engine in self._engines:
            for key, counts in engine.keys.counts().items():
                total[key].update(counts)
            total[VALUES].update(engine.value_counts())
        return {key: dict(counts) for key, counts in total.items()}

    def rule_key_counts(self) -> dict[str, tuple[str, dict[str, int]]]:
        """Return, by rule, the fields of its key and the key counts. Rules of a group with the same key share them."""
        return {
            rule: (grouping.name, grouping.counts())
            for engine in self._engines
            for rules in engine.windows
            for grouping in (engine.keys.groupings[rules.group],)
            for rule in rules.seconds
        }

    def rule_seconds(self) -> dict[str, float]:
        """Return the seconds spent on deciding, by rule, without shared work (selection, windows)."""
        return {rule: s for engine in self._engines for rules in engine.windows for rule, s in rules.seconds.items()}

    def findings_cut(self) -> dict[str, int]:
        """Return, by rule, the findings left out because too many of its keys fired at once."""
        return {
            rule: cut
            for engine in self._engines
            for rules in engine.windows
            for rule, cut in rules.findings_cut().items()
        }
