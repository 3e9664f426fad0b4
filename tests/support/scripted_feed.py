"""A feed on a virtual clock, over sources that say what a test has put into them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import SourceError
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import END_OF_TIME_NS, Source, SourceOptions
from watchdog.service import channel as channel_module
from watchdog.service import feed as feed_module
from watchdog.service.feed import Feed

SECOND = 1_000_000_000
START = 1_768_212_000 * SECOND
Said = dict[str, list[Slice | SourceError]]


class VirtualClock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Script:
    """A source that gives what a test has put into it; an error is raised."""

    kinds = ALL_KINDS

    def __init__(self, name: str, said: list[Slice | SourceError]) -> None:
        self.name, self.said, self.ended, self.progress, self.closed = name, said, False, 0.0, False

    def poll(self) -> Slice | None:
        if not self.said:
            return None
        found = self.said.pop(0)
        if isinstance(found, SourceError):
            raise found
        self.ended = found.until_ns == END_OF_TIME_NS
        return found

    def close(self) -> None:
        self.closed = True


def mempool(source: str, second: float, transactions: int = 10, until: float | None = None) -> Slice:
    time_ns = START + int(second * SECOND)
    columns = {"time_ns": np.array([time_ns], np.int64), "txs": np.array([transactions], np.uint64)}
    until_ns = time_ns if until is None else START + int(until * SECOND)
    return Slice(source, (Batch("rpc:mempool", "node", source, columns),), until_ns, {"at": second})


def scripted(monkeypatch: pytest.MonkeyPatch) -> Said:
    """What sources say from here on, by name; opening one that is not there fails."""
    scripts: Said = {}

    def opened(texts: Sequence[str], _options: SourceOptions) -> list[Source]:
        for text in texts:
            if text not in scripts:
                raise SourceError(f"{text!r}: no such file")
        return [Script(text, scripts[text]) for text in texts]

    for module in (feed_module, channel_module):
        monkeypatch.setattr(module, "open_sources", opened)
    return scripts


def feed_of(*texts: str) -> tuple[Feed, VirtualClock]:
    clock = VirtualClock()
    found = Feed(texts, SourceOptions(follow=True), clock)
    found.open({})
    return found, clock


def marks(feed: Feed) -> dict[str, float]:
    return {one.name: (one.watermark_ns - START) / SECOND for one in feed.channels if one.watermark_ns}


def drained(feed: Feed) -> list[Slice]:
    return list(iter(feed.next, None))
