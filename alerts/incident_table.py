"""The incidents that a book remembers, found by id, by fingerprint or by finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from alerts.fingerprint import key_text
from alerts.incident import Incident, IncidentState, Policy
from alerts.incident_life import IncidentLife, new_life
from watchdog.core.errors import WatchdogError
from watchdog.core.finding import OVERFLOW, Finding

OVERFLOW_TEXT = key_text(OVERFLOW)


class IncidentError(WatchdogError):
    """An operator's action names no incident, or the incident's state does not allow it."""


class UnknownIncidentError(IncidentError):
    """No incident has this id, or the book has dropped it."""


class IncidentTable:
    """Incidents by id: live ones, to which a finding may still belong, and settled ones.

    live: by fingerprint, at most one each. settled: by id, in the order in which they settled; at most
    `Policy.resolved`, the oldest are dropped and counted in `counters["forgotten"]`. open: the number of incidents
    that are not resolved, by node and rule; the state machine counts it up and down.
    """

    def __init__(self, policy: Policy, counters: Counter[str]) -> None:
        self._policy, self._counters = policy, counters
        self.live: dict[str, IncidentLife] = {}
        self.settled: dict[str, IncidentLife] = {}
        self.open: Counter[tuple[str, str]] = Counter()
        self._by_id: dict[str, IncidentLife] = {}
        self._named: dict[tuple[str, str, str], IncidentLife] = {}  # live ones by rule, node and key as text

    def __contains__(self, id_: object) -> bool:
        """Return whether an incident with this id is remembered."""
        return id_ in self._by_id

    @property
    def firing(self) -> frozenset[tuple[str, str]]:
        """Rules and members (keys as text) that have fired and not cleared."""
        return frozenset((life.rule, member) for life in self.live.values() for member in life.firing)

    def incidents(self) -> list[Incident]:
        """Return all remembered incidents by opening time, then id."""
        lives = sorted(self._by_id.values(), key=lambda life: (life.opened_ns, life.id))
        return [life.picture(self._policy) for life in lives]

    def incident(self, id_: str) -> Incident | None:
        """Return one incident; None when it is unknown or dropped."""
        life = self._by_id.get(id_)
        return life.picture(self._policy) if life else None

    def life(self, id_: str) -> IncidentLife:
        """Return the mutable incident with this id. UnknownIncidentError: it is unknown or dropped."""
        life = self._by_id.get(id_)
        if life is None:
            raise UnknownIncidentError(f"no incident {id_!r}")
        return life

    def matching(self, finding: Finding, member: str) -> IncidentLife | None:
        """Return the live incident of a finding: the one in which its key fires, else that of its own fingerprint.

        member: the finding's key as text, from `key_text`.
        """
        own = self._named.get((finding.rule, finding.node, key_text(finding.incident)))
        if own is None or member not in own.firing:
            common = self.common(finding)
            if common is not None and member in common.firing:
                return common
        return own

    def common(self, finding: Finding) -> IncidentLife | None:
        """Return the live incident that the keys of the finding's rule share when there is no room for one each."""
        return self._named.get((finding.rule, finding.node, OVERFLOW_TEXT))

    def open_incident(self, finding: Finding, key: Mapping[str, str]) -> IncidentLife:
        """Add a new incident under `key`: the finding's own incident key, or `OVERFLOW`."""
        life, opened_ns = new_life(finding, key), finding.time_ns
        while life.id in self._by_id:  # a clock was set back, so this time occurs twice: it is another incident
            opened_ns += 1
            life = new_life(replace(finding, time_ns=opened_ns), key)
        self.live[life.fingerprint] = self._named[_name(life)] = self._by_id[life.id] = life
        self.open[life.node, life.rule] += 1
        return life

    def settle(self, life: IncidentLife) -> None:
        """Move a live incident to the settled ones: nothing reopens it. The oldest settled ones beyond the cap go."""
        life.quiet.clear()  # only a live incident needs it
        del self.live[life.fingerprint], self._named[_name(life)]
        self.settled[life.id] = life
        while len(self.settled) > self._policy.resolved:
            oldest = next(iter(self.settled))
            del self.settled[oldest], self._by_id[oldest]
            self._counters["forgotten"] += 1

    def load(self, settled: list[IncidentLife], live: list[IncidentLife]) -> None:
        """Fill an empty table from a snapshot; the table then owns these incidents."""
        self.settled = {life.id: life for life in settled}
        self.live = {life.fingerprint: life for life in live}
        self._named = {_name(life): life for life in live}
        self._by_id = {life.id: life for life in (*settled, *live)}
        for life in live:
            self.open[life.node, life.rule] += life.state is not IncidentState.RESOLVED


def _name(life: IncidentLife) -> tuple[str, str, str]:
    return life.rule, life.node, key_text(life.key)
