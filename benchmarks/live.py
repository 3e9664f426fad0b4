"""live: a node with 125 peers and 500 messages a second, followed in four polls a second with all shipped rules.

Capture files grow on disk as the node writes them; the source is polled each 250 ms of event time, decodes, enriches;
the engine decides, incidents are kept. Measured is CPU time as a share of the event time that it covers: `live` is
engine and incidents, `live-files` the source on top, which looks at 250 files in each poll. Writing the files is not
measured, and nothing waits for a clock.
"""

from __future__ import annotations

import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from alerts.book import IncidentBook
from benchmarks.rounds import Row, Settings
from rules.load import load
from watchdog.core.source import SourceOptions
from watchdog.engine.engine import Engine
from watchdog.service.replay import wanted_kinds
from watchdog.service.run import Run
from watchdog.sources.capture import CaptureSource

LIMIT = 5.0  # per cent of one core
PEERS, TICKS_A_SECOND, MESSAGES_A_TICK = 125, 4, 125
WARM_UP_S, ROUND_S = 60, 60
QUICK_S = 5
START_US = 1_760_000_000_000_000
TICK_US = 1_000_000 // TICKS_A_SECOND
_RECORD = struct.Struct("<Q12sI")
# Shares of types as in the recordings of a real node (open-2), inv first.
_TYPES = ("inv", "addrv2", "tx", "getdata", "ping", "pong", "addr", "headers")
_SHARES = (0.56, 0.095, 0.085, 0.08, 0.06, 0.06, 0.045, 0.015)


def measure(settings: Settings) -> list[Row]:
    """Per cent of one core: the gated row, and for information the one with the source."""
    with tempfile.TemporaryDirectory() as folder:
        node = _Node(Path(folder))
        rules = load([], packs=True)
        node.tick()
        source = CaptureSource(folder, SourceOptions(wanted=wanted_kinds(rules.plans), follow=True))
        run = Run(Engine(rules.plans, sources=[source.name]), IncidentBook())
        warm_up, length = (QUICK_S, QUICK_S) if settings.quick else (WARM_UP_S, ROUND_S)
        _follow(node, source, run, warm_up)
        used = [_follow(node, source, run, length) for _ in range(settings.rounds)]
        source.close()
    engine = statistics.median(100 * decided / length for _, decided in used)
    whole = statistics.median(100 * (polled + decided) / length for polled, decided in used)
    note = f"{len(rules.plans)} rules, {run.events:,} events"
    return [
        Row("live", engine, 100.0, "% of a core", 100.0 / engine, "one core", 100.0 / LIMIT, note),
        Row("live-files", whole, 100.0, "% of a core", 100.0 / whole, "one core", note="capture files followed, too"),
    ]


def _follow(node: _Node, source: CaptureSource, run: Run, seconds: int) -> tuple[float, float]:
    """CPU seconds of the source and of the rest for this much event time."""
    polled = decided = 0.0
    for _ in range(seconds * TICKS_A_SECOND):
        node.tick()
        start = time.process_time()
        piece = source.poll()
        between = time.process_time()
        if piece is not None:
            run.take(piece)
        polled += between - start
        decided += time.process_time() - between
    return polled, decided


class _Node:
    """Writes capture files as a node does."""

    def __init__(self, root: Path) -> None:
        self._rng = np.random.default_rng(1)
        self._now_us = START_US
        self._folders = [root / f"60.{peer}.7.9_8333" for peer in range(PEERS)]
        self._makers: dict[str, Callable[[], bytes]] = {
            "inv": lambda: self._list(36, 1 + int(self._rng.integers(0, 6)), struct.pack("<I", 5)),
            "getdata": lambda: self._list(36, 1 + int(self._rng.integers(0, 3)), struct.pack("<I", 0x40000001)),
            "addr": lambda: self._list(30, 1 + int(self._rng.integers(0, 4)), b""),
            "addrv2": self._addrv2,
            "headers": lambda: b"\x01" + self._rng.bytes(80) + b"\x00",
            "ping": lambda: self._rng.bytes(8),
            "pong": lambda: self._rng.bytes(8),
            "tx": self._tx,
        }
        for folder in self._folders:
            folder.mkdir()
            self._write(folder, "version", bytes(85), received=True)
            self._write(folder, "version", bytes(85), received=False)

    def tick(self) -> None:
        """Write the messages of the next 250 ms, two of three of them received."""
        times = np.sort(self._rng.integers(0, TICK_US, MESSAGES_A_TICK))
        chosen = self._rng.choice(len(_TYPES), MESSAGES_A_TICK, p=_SHARES).tolist()
        peers = self._rng.integers(0, PEERS, MESSAGES_A_TICK).tolist()
        received = (self._rng.random(MESSAGES_A_TICK) < 2 / 3).tolist()
        base = self._now_us
        for at, code, peer, came in zip(times.tolist(), chosen, peers, received, strict=True):
            self._now_us = base + at
            self._write(self._folders[peer], _TYPES[code], self._makers[_TYPES[code]](), received=came)
        self._now_us = base + TICK_US

    def _write(self, folder: Path, type_: str, payload: bytes, *, received: bool) -> None:
        with (folder / ("msgs_recv.dat" if received else "msgs_sent.dat")).open("ab") as file:
            file.write(_RECORD.pack(self._now_us, type_.encode(), len(payload)) + payload)

    def _list(self, size: int, count: int, head: bytes) -> bytes:
        return bytes([count]) + b"".join(head + self._rng.bytes(size - len(head)) for _ in range(count))

    def _addrv2(self) -> bytes:
        stamp = struct.pack("<I", self._now_us // 1_000_000 - 3_600)
        return b"\x01" + stamp + b"\x09\x01\x04" + self._rng.bytes(4) + b"\x20\x8d"

    def _tx(self) -> bytes:
        spent = self._rng.bytes(32) + bytes(4) + b"\x00" + b"\xff" * 4
        paid = struct.pack("<q", 50_000) + b"\x16" + b"\x00\x14" + self._rng.bytes(20)
        return struct.pack("<i", 2) + b"\x01" + spent + b"\x01" + paid + bytes(4)
