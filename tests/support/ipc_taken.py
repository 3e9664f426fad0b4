"""Opens `ipc:` sources for tests, and gathers what they give."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.ipc_node import IpcNode
from tests.support.waiting import wait_until
from watchdog.core.batch import Batch
from watchdog.core.source import Source, SourceOptions
from watchdog.sources.ipc.ipc_source import IpcSource
from watchdog.sources.registry import open_sources
from watchdog.sources.rpc.schedule import CALLS

QUICK: dict[str, object] = {"intervals": {row.method: 1_000_000_000 for row in CALLS}, "budget": 100}
Open = Callable[..., IpcSource]


def opened_sources() -> Iterator[Open]:
    """Yield what opens a source that asks each second; at the end every child must have left its node."""
    sources: list[Source] = []

    def open_(
        node: IpcNode, *, subscribe: bool = False, settings: dict[str, object] | None = None, **more: object
    ) -> IpcSource:
        text = f"ipc:{node.socket}"
        chosen = {"subscribe": subscribe, **QUICK, **(settings or {})}
        options = SourceOptions(follow=True, settings={text: chosen}, **more)  # type: ignore[arg-type]
        (source,) = open_sources([text], options)
        sources.append(source)
        assert isinstance(source, IpcSource)
        return source

    yield open_
    for source in sources:
        source.close()
    wait_until(lambda: all(getattr(one, "abandoned", None) is not None for one in sources), "a source does not end")
    wait_until(lambda: not children(), "a child is left")


class Taken:
    """What a source has given, by kind; looks each time that it is asked."""

    def __init__(self, source: IpcSource) -> None:
        self.source = source
        self.batches: list[Batch] = []
        self.marks: list[int] = []

    def look(self) -> None:
        """Take what is there; no row may be behind a watermark that was given before it."""
        while (slice_ := self.source.poll()) is not None:
            for batch in slice_.batches:
                assert not self.marks or int(batch.time_ns.min()) >= self.marks[-1], f"{batch.kind} comes late"
            self.batches += slice_.batches
            self.marks.append(slice_.until_ns)

    def of(self, kind: str) -> list[Batch]:
        """Return the batches of a kind up to now."""
        self.look()
        return [one for one in self.batches if one.kind == kind]

    def rows(self, kind: str) -> int:
        """Return the rows of a kind up to now."""
        return sum(one.rows for one in self.of(kind))

    def until(self, kind: str, rows: int = 1) -> list[Batch]:
        """Wait for rows of a kind, and return its batches."""
        wait_until(lambda: self.rows(kind) >= rows, lambda: f"no {kind}; trouble: {self.source.trouble!r}")
        return self.of(kind)

    def gaps(self, reason: str) -> list[Batch]:
        """Return the gaps with this reason."""
        return [one for one in self.of("source:gap") if one.strings("reason").tolist() == [reason]]


def children(pid: int | None = None) -> list[int]:
    """The ipc children of a process, by default this one."""
    found: list[str] = []
    for thread in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
        found += _of(thread / "children").split()
    return [
        int(one) for one in dict.fromkeys(found) if "watchdog.sources.ipc.child" in _of(Path(f"/proc/{one}/cmdline"))
    ]


def _of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
