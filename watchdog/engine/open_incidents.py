"""Since when the rules of an attack have incidents open, and when those that are over were: no budget learns then."""

from __future__ import annotations

from collections.abc import Container, Iterable
from operator import attrgetter
from typing import Final

from detectors.state import State
from watchdog.core.finding import SEVERITIES, Finding
from watchdog.engine.panes import NEVER

SPANS_MOST: Final = 10_000  # of incidents that are over, an hour's worth
NOT_YET: Final = int(NEVER)
WARNING: Final = SEVERITIES.index("warning")


class OpenIncidents:
    """Follows findings of some attacks. own: rules that count at any severity; others count from warning on.

    beside: of rules of other source groups. These may be ahead, so a span begins with the finding, not with the
    condition before it: then what is known of a time does not depend on how far ahead they are.
    """

    def __init__(self, attacks: Container[str], own: Container[str] = (), *, beside: bool = False) -> None:
        self._attacks, self._own, self._beside = attacks, own, beside
        self._open: dict[str, tuple[int, int, str]] = {}  # by rule: keys that fire, since when it counts, attack
        self._spans: list[tuple[str, int, int]] = []  # attack, begin, end of incidents that are over

    def hear(self, findings: Iterable[Finding]) -> None:
        """Take findings; each call has later ones than the call before."""
        heard = [finding for finding in findings if finding.attack in self._attacks]
        for finding in sorted(heard, key=attrgetter("time_ns")):  # they come by window, and in what slices they closed
            keys, since_ns, attack = self._open.get(finding.rule, (0, NOT_YET, finding.attack))
            if finding.change == "fire":
                keys += 1
            else:  # of a key that fired before this group began to listen, too
                keys = max(keys, 1) - (finding.change == "clear")
            if finding.rule in self._own or SEVERITIES.index(finding.severity) >= WARNING:
                since_ns = min(since_ns, finding.time_ns if self._beside else finding.since_ns)
            if keys:
                self._open[finding.rule] = (keys, since_ns, attack)
                continue
            self._open.pop(finding.rule, None)
            if since_ns != NOT_YET:
                self._spans.append((attack, since_ns, finding.time_ns + finding.resolve_after_ns))

    def spans(self, attack: str, now_ns: int) -> list[tuple[int, int]]:
        """Return begin and end of the incidents of an attack that had begun by this time; open ones end with it."""
        still = [(attack, since_ns, now_ns) for _, since_ns, attack in self._open.values()]
        return [span[1:] for span in (*self._spans, *still) if span[0] == attack and span[1] <= now_ns]

    def forget(self, before_ns: int) -> None:
        """Forget what ended before this time."""
        self._spans = [span for span in self._spans if span[2] > before_ns][-SPANS_MOST:]

    def keep(self, rules: Container[str]) -> None:
        """Forget what other rules have open: they begin without state, and will not report its end."""
        self._open = {rule: one for rule, one in self._open.items() if rule in rules}

    def state(self) -> State:
        """Return all of it."""
        return {
            "open": {rule: list(one) for rule, one in self._open.items()},
            "spans": [list(span) for span in self._spans],
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._open = {
            str(rule): (int(keys), int(since), str(attack)) for rule, (keys, since, attack) in state["open"].items()
        }
        self._spans = [(str(attack), int(begin), int(end)) for attack, begin, end in state["spans"]]
