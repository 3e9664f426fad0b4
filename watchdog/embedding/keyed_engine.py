"""The engine as a keyed function: one for each node, fed by a program of others."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NoReturn

from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import StateError, WatchdogError
from watchdog.core.finding import Finding
from watchdog.core.kinds import any_kinds, chosen_kinds
from watchdog.core.payload_columns import with_payload_columns
from watchdog.core.source import END_OF_TIME_NS
from watchdog.embedding.batches import LATEST_NS, check_batch
from watchdog.embedding.rules import Rules
from watchdog.engine.checkpoint import unpack
from watchdog.engine.engine import Engine
from watchdog.engine.surplus import REPLAY_SECRET

Sources = Mapping[str, Iterable[str] | None] | Iterable[str]
FEWEST_SECRET_BYTES, MOST_SECRET_BYTES = 1, 64  # of a BLAKE2b key: hashlib takes at most 64


class KeyedEngine:
    """Judges rules over the events of one node, in event time.

    A worker constructs one for each key, which is the name of the node. It does no I/O and uses no thread, and reads a
    clock only to count what rules cost. Findings follow from rules, sources and events alone, however the events are
    cut into batches. It belongs to the thread that uses it.

    :arg rules: shared by any number of engines, in any threads.

    :arg node: the name that the batches of this node carry, and that findings will carry.

    :arg sources: by name of a source, the kinds that it can give (`p2p:addr`, or `p2p` for all that begin so), or None
        for any; names alone mean any. Windows are judged up to the lowest watermark among the sources that feed their
        rule, so a source that never advances holds its rules back.

    :arg secret: draws lots among keys when more than 500 fire in one pane, so that no peer can choose who is listed.
        1 to 64 bytes; a restored snapshot brings its own. The default is public: give one where peers are hostile.

    :raises ValueError: for no source, an unknown kind, or a secret of the wrong size.
    """

    def __init__(self, rules: Rules, node: str, sources: Sources, *, secret: bytes = REPLAY_SECRET) -> None:
        if not FEWEST_SECRET_BYTES <= len(secret) <= MOST_SECRET_BYTES:
            raise ValueError(f"a secret has {FEWEST_SECRET_BYTES} to {MOST_SECRET_BYTES} bytes, not {len(secret)}")
        self._rules, self._node, self._secret = rules, node, secret
        self._sources = _kinds_by_source(sources)
        self._engine = self._fresh()
        self._used = self._ended = False

    @property
    def node(self) -> str:
        """Return the name of the node: the key of this engine."""
        return self._node

    @property
    def watermark_ns(self) -> int:
        """Return the lowest watermark of all sources, nanoseconds since the epoch; 0 before all have one."""
        return self._engine.watermark_ns

    @property
    def late(self) -> dict[str, int]:
        """Return the numbers of events, by kind, that were behind their source's watermark and were not judged."""
        return dict(self._engine.statistics.late)

    def process(self, events: Batch | Slice) -> list[Finding]:
        """Take events and return the findings of all windows that close by them.

        A worker calls this for each batch of its key, in the order in which the source gave them. The events are only
        read, and must not be mutated afterwards: the engine keeps rows as evidence. Findings may be kept and must not
        be mutated.

        A `Batch` comes from a source in time order: its latest time becomes the source's watermark. A source whose
        batches overlap in time, or with several kinds, passes a `Slice`: batches of one stretch of time with the
        watermark `until_ns`, before which no later event follows. Events behind the watermark are late: counted in
        `late`, and not judged.

        :returns: findings by event time and rule; often none.

        :raises ValueError: for another node, an unknown source or kind, columns that are not those of the kind, or
            times out of range; nothing was taken then.
        """
        if isinstance(events, Batch):
            times = events.time_ns
            until_ns = int(times.max()) if len(times) else 0
            events = Slice(events.source, (events,), until_ns)
        whole = tuple(map(with_payload_columns, events.batches))
        for batch in whole:
            check_batch(batch, self._node)
        return self._take(replace(events, batches=whole))

    def advance(self, source: str, until_ns: int) -> list[Finding]:
        """Advance the watermark of a source without events, and return the findings of the windows that close.

        A worker calls this when time passes in silence: when its own engine's watermark moves, or on a timer.

        :arg until_ns: nanoseconds since the epoch; no event of the source before this time will follow. A time before
            its present watermark changes nothing.

        :returns: findings by event time and rule.

        :raises ValueError: for an unknown source, or a time after 2099.
        """
        return self._take(Slice(source, (), until_ns))

    def finish(self) -> list[Finding]:
        """Close all windows that have events and return their findings.

        Called once, at the end of bounded input; the engine takes no events afterwards.

        :raises ValueError: when it was called before.
        """
        self._check_open()
        self._ended = True
        return self._engine.finish()

    def snapshot(self) -> bytes:
        """Return the whole state, without the rules.

        A worker calls this between batches, whenever its own engine makes a checkpoint. The bytes hold peers'
        addresses and the secret: store them as safely as the events.

        :returns: bytes with a checksum and a version; a few MB for a node under attack.
        """
        return self._engine.snapshot()

    def restore(self, snapshot: bytes) -> frozenset[str]:
        """Continue from a snapshot, in this or another process.

        Called on a new engine of the same node, with the same sources, before any events. The bytes may be damaged;
        they are never executed.

        :returns: ids of rules that start without state because they or their sources have changed; empty when all
            continue exactly.

        :raises StateError: when the snapshot is damaged, of another version or of another node; the engine is then as
            new.

        :raises ValueError: when the engine has taken events already.
        """
        if self._used:
            raise ValueError("restore needs an engine that has taken no events")
        node = unpack(snapshot).get("node")
        if node != self._node:
            shown = repr(node[:80]) if isinstance(node, str) else "without a name"
            raise StateError(f"snapshot is of node {shown}, the engine judges node {self._node!r}")
        try:
            without_state = self._engine.restore(snapshot)
        except StateError:
            self._engine = self._fresh()
            raise
        self._used = True
        return without_state

    def __reduce__(self) -> NoReturn:
        raise TypeError("an engine is not pickled: ship rules.to_text() and engine.snapshot()")

    def _fresh(self) -> Engine:
        return Engine(self._rules.plans, self._sources, node=self._node, secret=self._secret)

    def _check_open(self) -> None:
        if self._ended:
            raise ValueError("the input of this engine has ended")

    def _take(self, events: Slice) -> list[Finding]:
        self._check_open()
        if events.source not in self._sources:
            known = ", ".join(map(repr, self._sources))
            raise ValueError(f"source {events.source!r} is not one of this engine: {known}")
        events = Slice(events.source, events.batches, _watermark(events.until_ns))
        self._used = True
        findings = self._engine.process(events)
        self._engine.restarted.clear()
        return findings


def _watermark(time_ns: object) -> int:
    """Return a watermark as a plain number; NumPy's whole numbers count as such."""
    try:
        until_ns = operator.index(time_ns)  # type: ignore[arg-type] # the very question
    except TypeError:
        raise ValueError(f"watermark {time_ns!r} is no whole number of nanoseconds") from None
    if until_ns > LATEST_NS and until_ns != END_OF_TIME_NS:
        raise ValueError(f"watermark {until_ns} is after 2099: times are nanoseconds")
    return until_ns


def _kinds_by_source(sources: Sources) -> dict[str, frozenset[str]]:
    """Return the kinds of each source, sorted by name: the order that a caller chose is no part of a snapshot."""
    if isinstance(sources, str):
        sources = [sources]
    given = dict(sources) if isinstance(sources, Mapping) else dict.fromkeys(sources)
    if not given:
        raise ValueError("an engine needs the name of a source")
    try:
        return {name: _kinds(given[name]) for name in sorted(given)}
    except WatchdogError as error:
        raise ValueError(str(error)) from None


def _kinds(names: Iterable[str] | None) -> frozenset[str]:
    if names is None:
        return any_kinds()
    return chosen_kinds([names] if isinstance(names, str) else list(names)) or frozenset()
