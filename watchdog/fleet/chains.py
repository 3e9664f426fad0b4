"""Comparisons of chains: a node behind the others, one that does not answer, and different blocks at one height."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from watchdog.core.durations import MINUTE_NS, SECOND_NS
from watchdog.core.finding import FLEET
from watchdog.fleet.comparison import Step, text, whole
from watchdog.fleet.report import FleetRow

BEHIND: Final = (2, 3)  # blocks; a node one block behind is about to get it
YOUNG_NS: Final = 15 * MINUTE_NS  # after a start a node catches up
DEEP: Final = 6  # blocks below the lowest tip: the second height that is compared
KEPT: Final = 32  # heights whose hashes are remembered for a node
ANSWER_NS: Final = 180 * SECOND_NS
"""An older answer is not compared: a node is asked at most twice a minute, so a newer one is due."""
HeightAnswer = tuple[str, int]
"""A block hash, and when the node gave it (ns)."""


class BehindBest:
    """`fleet:chain`: each poll of a node beside the best of the nodes."""

    reads: ClassVar = frozenset({"rpc:chain", "rpc:uptime", "node:started"})
    gives: ClassVar = frozenset({"fleet:chain"})

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}  # Any: by node, since when it is behind by each of `BEHIND`, -1 when it is not

    def step(self, step: Step) -> Iterator[FleetRow]:
        """Yield a row for each node that was polled in this step."""
        known = step.in_sync()
        best_of = {
            chain: max((step.facts[node].height for node in nodes if node not in step.apart), default=0)
            for chain, nodes in known.items()
        }
        polled = {part.node for part in step.of("rpc:chain") if part.node in step.nodes}
        for node in sorted(polled):
            facts, now_ns = step.facts[node], step.end_ns
            best = best_of.get(facts.chain, 0)
            behind = max(0, best - facts.height)
            young = facts.started_ns >= 0 and now_ns - facts.started_ns < YOUNG_NS
            since = self.state.get(node, [-1] * len(BEHIND))
            counts = [not (facts.ibd or young) and behind >= least for least in BEHIND]
            since = [(at if at >= 0 else now_ns) if true else -1 for at, true in zip(since, counts, strict=True)]
            self.state[node] = since
            lasts_s, far_s = ((now_ns - at) // SECOND_NS if at >= 0 else 0 for at in since)
            fields: dict[str, int | str | bool] = {
                "height": facts.height,
                "best": max(best, facts.height),
                "behind": behind,
                "ibd": facts.ibd,
                "uptime_s": (now_ns - facts.started_ns) // SECOND_NS if facts.started_ns >= 0 else -1,
                "nodes": len(known.get(facts.chain, ())),
                "lasts_s": lasts_s,
                "far_s": far_s,
            }
            yield FleetRow("fleet:chain", node, now_ns, fields)

    def forget(self, node: str) -> None:
        """Forget since when a node is behind."""
        self.state.pop(node, None)


class Silence:
    """`fleet:node_silent`: a node that answered before no longer does, while another one does."""

    reads: ClassVar = frozenset({"rpc:chain"})
    gives: ClassVar = frozenset({"fleet:node_silent"})

    def __init__(self) -> None:
        self.state: dict[str, object] = {}

    def step(self, step: Step) -> Iterator[FleetRow]:
        """Yield a row for each silent node, once a minute."""
        if step.end_ns % MINUTE_NS or not any(facts.fresh(step.end_ns) for facts in step.facts.values()):
            return
        for node, facts in sorted(step.facts.items()):
            if facts.usual_ns and step.end_ns - facts.polled_ns > facts.stale_ns:
                silent_s = (step.end_ns - facts.polled_ns) // SECOND_NS
                yield FleetRow("fleet:node_silent", node, step.end_ns, {"silent_s": silent_s})

    def forget(self, node: str) -> None:
        """Nothing is kept of a node."""


class ChainSplit:
    """`fleet:split`: a node has another block than most nodes at one height.

    The hash of a node's tip counts as an answer at its height, so nodes at one height are compared without being asked.
    A node agrees again with its first comparison near the tip that shows the block that most nodes have. Nodes that
    give hashes are the voters: where no block has more than half of them, no node is accused, and the row is about the
    fleet.
    """

    reads: ClassVar = frozenset({"rpc:chain", "rpc:block_hash"})
    gives: ClassVar = frozenset({"fleet:split"})

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"hashes": {}, "differs": {}}  # Any: plain data by node, see the two properties

    @property
    def _hashes(self) -> dict[str, dict[str, tuple[str, int]]]:
        """By node and height (as text): the hash, and when it was given."""
        return self.state["hashes"]  # type: ignore[no-any-return]

    @property
    def _differs(self) -> dict[str, list[int]]:
        """By node that differs: since when, its height and the best height then, time of the next block or -1."""
        return self.state["differs"]  # type: ignore[no-any-return]

    def step(self, step: Step) -> Iterator[FleetRow]:
        """Yield a row for each node that differs, in steps with new answers."""
        if self._learn(step):
            for nodes in step.in_sync().values():
                yield from self._compared(step, nodes)
        step.apart.update(self._differs)

    def _compared(self, step: Step, in_sync: Sequence[str]) -> Iterator[FleetRow]:
        answers = {node: self._answers(node, step.end_ns) for node in in_sync}
        voters = [node for node, own in answers.items() if own]
        lowest = min((step.facts[node].height for node in voters), default=0)
        rows: dict[tuple[str, int], FleetRow] = {}
        compared: dict[int, list[str]] = {}
        for node in voters:
            for height in _common(node, answers):
                compared.setdefault(height, []).append(node)
        for height, nodes in sorted(compared.items()):
            given = {node: own[height] for node, own in answers.items() if height in own}
            most = _most([hash_ for hash_, _ in given.values()], len(voters))
            if not most and len(given) < len(voters):
                continue  # the others may yet decide
            for node in nodes:
                accused = node if most else FLEET
                if given[node][0] == most:
                    self._agrees(node, lowest - height)
                elif (accused, height) not in rows:
                    rows[accused, height] = self._row(step, accused, node, given, (most, height, lowest - height))
        yield from rows.values()

    def _row(
        self, step: Step, accused: str, node: str, given: Mapping[str, HeightAnswer], place: tuple[str, int, int]
    ) -> FleetRow:
        """Return the row of a node that differs. place: the hash that most have, the height, and its depth."""
        most, height, below = place
        (own, given_ns), facts = given[node], step.facts
        best = max(facts[one].height for one in given)
        known = self._differs.setdefault(accused, [step.end_ns, facts[node].height, best, -1])
        since_ns, height_then, best_then, next_ns = known
        if next_ns < 0 and (best > best_then or facts[node].height > height_then):
            next_ns = known[3] = step.end_ns
        if accused == FLEET:
            given_ns = min(answer[1] for answer in given.values())
        fields: dict[str, int | str | bool] = {
            "height": height,
            "hash": own,
            "others": most or next(hash_ for _, (hash_, _) in sorted(given.items()) if hash_ != own),
            "below": max(0, below),
            "lasts_s": max(0, given_ns - since_ns) // SECOND_NS,
            "settled_s": (given_ns - next_ns) // SECOND_NS if 0 <= next_ns <= given_ns else -1,
            "nodes": len(given),
        }
        return FleetRow("fleet:split", accused, step.end_ns, fields)

    def _agrees(self, node: str, below: int) -> None:
        if below < DEEP:  # an agreement deep down says nothing of the tips
            self._differs.pop(node, None)
            self._differs.pop(FLEET, None)

    def _learn(self, step: Step) -> bool:
        """Take in the answers of a step; return whether there are any."""
        news = False
        for kind, height_of in (("rpc:chain", "blocks"), ("rpc:block_hash", "height")):
            for part in step.of(kind):
                for row in range(part.batch.rows):
                    hash_ = text(part.batch, "hash", row)
                    if hash_:
                        news = True
                        known = self._hashes.setdefault(part.node, {})
                        height = str(whole(part.batch, height_of, row))
                        known.pop(height, None)
                        known[height] = (hash_, int(part.batch.time_ns[row]))
                        while len(known) > KEPT:
                            del known[next(iter(known))]
        return news

    def _answers(self, node: str, now_ns: int) -> dict[int, HeightAnswer]:
        """Return the hashes of a node by height that are fresh enough to compare."""
        known = self._hashes.get(node, {})
        for height in [height for height, (_, at) in known.items() if now_ns - at > ANSWER_NS]:
            del known[height]
        return {int(height): (hash_, at) for height, (hash_, at) in known.items()}

    def forget(self, node: str) -> None:
        """Forget the answers of a node."""
        self._hashes.pop(node, None)
        self._differs.pop(node, None)
        self._differs.pop(FLEET, None)


def _common(node: str, answers: Mapping[str, Mapping[int, HeightAnswer]]) -> list[int]:
    """Return the highest height at which a node and another one have answered, and the highest `DEEP` below it."""
    others = {height for other, own in answers.items() if other != node for height in own}
    common = sorted(others & answers[node].keys(), reverse=True)
    deep = [height for height in common if common[0] - height >= DEEP]
    return [*common[:1], *deep[:1]]


def _most(hashes: Sequence[str], voters: int) -> str:
    """Return the hash that more than half of the voters have; empty when none has."""
    return next((hash_ for hash_ in hashes if 2 * hashes.count(hash_) > voters), "")
