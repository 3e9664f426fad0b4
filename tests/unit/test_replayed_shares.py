"""A replay of sources that give the same kinds counts nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.support.events import SECOND, batch
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Slice, Strings
from watchdog.core.source import SourceOptions
from watchdog.offline.read_once import replayed
from watchdog.pipeline.clock_reset import gap_of
from watchdog.sources.registry import open_sources

START = 1_768_212_000
KINDS = {
    "snapshots:a": frozenset({"rpc:mempool", "rpc:chain"}),
    "rpc:http://127.0.0.1:1": frozenset({"rpc:mempool"}),
    "snapshots:b": frozenset({"rpc:mempool"}),
}


def recorded(path: Path) -> str:
    """Write an events file of three sources, each with its kinds and a gap of all kinds."""
    with EventsWriter(path, tuple(KINDS), kinds=dict(KINDS)) as file:
        for at, (name, kinds) in enumerate(KINDS.items()):
            rows = [batch(kind, [{"t": START + at}], source=name) for kind in sorted(kinds)]
            time_ns = (START + at) * SECOND
            gap = gap_of("node", name, (time_ns, time_ns + 1), "lost", time_ns)
            file.write(Slice(name, (*rows, gap), time_ns, {"at": at}))
    return f"events:{path}"


def given(texts: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """By source: the kinds that come, each with the kinds of a gap."""
    found: dict[str, list[tuple[str, str]]] = {}
    for source in replayed(open_sources(texts, SourceOptions())):
        name = source.name.partition("#")[2]
        while not source.ended:
            slice_ = source.poll()
            for part in slice_.batches if slice_ is not None else ():
                kinds = part.columns.get("kinds")
                text = kinds.tolist()[0] if isinstance(kinds, Strings) else ""
                found.setdefault(name, []).append((part.kind, text))
                assert not np.any(part.time_ns < START * SECOND)
        source.close()
    return found


def test_the_first_scheme_in_the_order_gives_and_the_others_what_it_lacks(tmp_path: Path) -> None:
    found = given([recorded(tmp_path / "both.events")])
    assert found == {
        "snapshots:a": [("rpc:chain", ""), ("source:gap", "rpc:chain")],
        "rpc:http://127.0.0.1:1": [("rpc:mempool", ""), ("source:gap", "")],
    }


def test_two_recordings_of_one_kind_are_both_read(tmp_path: Path) -> None:
    path = tmp_path / "days.events"
    days = {"snapshots:a": KINDS["snapshots:a"], "snapshots:b": KINDS["snapshots:b"]}
    with EventsWriter(path, tuple(days), kinds=dict(days)) as file:
        for at, name in enumerate(days):
            row = batch("rpc:mempool", [{"t": START + at}], source=name)
            file.write(Slice(name, (row,), (START + at) * SECOND, {"at": at}))
    assert given([f"events:{path}"]) == {"snapshots:a": [("rpc:mempool", "")], "snapshots:b": [("rpc:mempool", "")]}
