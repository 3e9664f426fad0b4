"""Cases of a house with several nodes: findings over nodes go to the node that they accuse, or to a book of the house.

A case of the house never merges with one of a node. It lists the open cases of nodes with a party of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alerts.book_record import NEVER_NS
from alerts.case.feed import CaseFeed
from alerts.cases import CasePicture, IssuedNotice
from alerts.claims import RuleWords
from watchdog.core.finding import FLEET, Finding

HOUSE = "*"
"""The node of cases that concern several nodes, or none."""
OWNERS = 10_000  # incidents whose node is remembered
PassOn = Callable[[str, int, str, Finding | None], bool]


def case_node(name: str) -> str:
    """Return the node of a case by a name that people write: `*fleet*`, as incidents have it, means the house too."""
    return HOUSE if name == FLEET else name


def incident_node(name: str) -> str:
    """Return the node of an incident by a name that people write: `*`, as cases have it, means the fleet too."""
    return FLEET if name == HOUSE else name


class HouseFeed(CaseFeed):
    """Takes the findings of rules over nodes, and passes on those that accuse one node.

    A replay gives it the feeds of its nodes with `adopt`: one thread has all of them. A service sets `pass_on`, which
    hands a finding to the thread of its node (node, time, incident, finding) and returns whether that took it.
    """

    def __init__(self, words: Mapping[str, RuleWords]) -> None:
        super().__init__(HOUSE, words)
        self.pass_on: PassOn = self._to_adopted
        self._nodes: dict[str, CaseFeed] = {}

    def adopt(self, node: str, feed: CaseFeed) -> None:
        """Give a node's feed the findings that accuse it; it waits for the rules over nodes."""
        self._nodes[node] = feed
        feed.pass_house(NEVER_NS)

    def take(self, time_ns: int, incident: str, finding: Finding | None) -> None:
        """Take a finding with its incident, for the node that it accuses or for the house."""
        node = self.owners.get(incident, HOUSE) if finding is None else finding.node
        if node in {HOUSE, FLEET} or not self.pass_on(node, time_ns, incident, finding):
            super().take(time_ns, incident, finding)
            return
        self.owners.pop(incident, None)
        self.owners[incident] = node
        if len(self.owners) > OWNERS:
            del self.owners[next(iter(self.owners))]

    def _to_adopted(self, node: str, time_ns: int, incident: str, finding: Finding | None) -> bool:
        feed = self._nodes.get(node)
        if feed is not None:
            feed.take(time_ns, incident, finding)
        return feed is not None

    def reach(self, marks: Sequence[int], running: Sequence[int]) -> list[IssuedNotice]:
        """Take in what all parts have passed, and let the nodes' cases follow."""
        for feed in self._nodes.values():
            feed.pass_house(min(running, default=max(marks, default=0)))
        return super().reach(marks, running)

    def finish(self, end_ns: int) -> list[IssuedNotice]:
        """Take in all that waits, here and in the nodes' feeds: the input has ended."""
        issued = [one for feed in self._nodes.values() for one in feed.end_with_house(end_ns)]
        return issued + super().finish(end_ns)


def related(house: CasePicture, cases: Sequence[CasePicture]) -> list[dict[str, str]]:
    """Return the open cases of nodes that have a party of a case of the house."""
    own = {party.party for party in house.parties}
    return [
        {"node": one.life.node, "id": one.life.id}
        for one in cases
        if one.life.node != HOUSE and one.life.is_open and not own.isdisjoint(party.party for party in one.parties)
    ]
