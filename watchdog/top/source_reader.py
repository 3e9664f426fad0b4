"""Reads sources without a service: the same counts, fed by a thread. No rule runs, so there are no incidents."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from watchdog.core.errors import WatchdogError
from watchdog.core.source import Source, SourceOptions, Troubled
from watchdog.core.text import printable
from watchdog.offline.read_once import faults_of, finite
from watchdog.pipeline.scheduler import merged
from watchdog.service.node_facts import node_facts
from watchdog.service.node_metrics import READ as NODE_READ
from watchdog.service.node_metrics import NodeState
from watchdog.sources.registry import open_sources, scheme_of
from watchdog.top.facts import NodeLook, PeerMessages, ShownNode, TopError
from watchdog.traffic.node_traffic import READ as TRAFFIC_READ
from watchdog.traffic.node_traffic import NodeTraffic

BEFORE_NS: Final = 10 * 60 * 10**9  # of a file that grows, what was written in this time is read first
JOIN_S: Final = 5.0
_WANTED: Final = NODE_READ | TRAFFIC_READ | {"node:started", "source:heartbeat"}


class _Ending(Exception):
    """The reader was closed."""


class SourceReader:
    """A `FactReader` of sources. once: read files to their end, and live sources until `settled`.

    SourceError: one cannot be opened.
    """

    def __init__(self, texts: Sequence[str], node: str = "node", *, once: bool = False) -> None:
        live = any(scheme_of(text).mode == "live" for text in texts)
        follow = live or not once
        since_ns = 0 if once else time.time_ns() - BEFORE_NS
        options = SourceOptions(node, _WANTED, follow, since_ns=since_ns)
        self._texts, self._node = tuple(texts), node
        opened = open_sources(texts, options, torn_later=not follow)
        self._sources: Sequence[Source] = opened if follow else finite(opened)
        self._state, self._traffic = NodeState(), NodeTraffic()
        self._error = ""
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="top", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The texts of the sources."""
        return ", ".join(self._texts)

    @property
    def faults(self) -> tuple[str, ...]:
        """A line for each damaged file of sources that are read to their end."""
        return faults_of(self._sources)

    def settled(self, timeout_s: float) -> None:
        """Wait until all sources have ended, or for this time."""
        self._ended.wait(timeout_s)

    def look(self, node: str) -> NodeLook:  # noqa: ARG002 - there is one
        """Return what came so far. TopError: reading has failed."""
        if self._error:
            raise TopError(self._error)
        facts = {"node": self._node, **node_facts(self._state, self._traffic)}
        trouble = next((one.trouble for one in self._sources if isinstance(one, Troubled) and one.trouble), "")
        return NodeLook(msgspec.convert(facts, ShownNode), (self._node,), None, printable(trouble, 200))

    def messages(self, node: str, conn: int) -> PeerMessages | None:  # noqa: ARG002 - there is one
        """Return the latest messages of a peer, and keep further ones."""
        found = self._traffic.messages(conn, time.monotonic())
        return None if found is None else msgspec.convert(found, PeerMessages)

    def close(self) -> None:
        """End the thread, which closes the sources."""
        self._stopping.set()
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        try:
            for piece in merged(self._sources, self._wait):
                self._state.note(piece.batches)
                self._traffic.note(piece.batches, time.monotonic())
                if self._stopping.is_set():
                    break
        except _Ending:
            pass
        except (WatchdogError, OSError) as error:
            self._error = printable(str(error), 300)
        finally:
            for source in self._sources:
                source.close()
            self._ended.set()

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Ending
