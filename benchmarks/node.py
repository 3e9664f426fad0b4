"""A node with 125 peers, as its capture files grow: the input of the live benchmarks."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

PEERS = 125
_RECORD = struct.Struct("<Q12sI")
# Shares of types as in the recordings of a real node (open-2), inv first.
_TYPES = ("inv", "addrv2", "tx", "getdata", "ping", "pong", "addr", "headers")
_SHARES = (0.56, 0.095, 0.085, 0.08, 0.06, 0.06, 0.045, 0.015)


class WritingNode:
    """Writes capture files as a node does: a number of messages in each tick of event time from `start_us` on."""

    def __init__(self, root: Path, messages_a_tick: int, tick_us: int, start_us: int) -> None:
        self._rng = np.random.default_rng(1)
        self._messages, self._tick_us, self._now_us = messages_a_tick, tick_us, start_us
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

    @property
    def now_us(self) -> int:
        """Event time, in unix microseconds: the end of the last tick."""
        return self._now_us

    def tick(self) -> None:
        """Write the messages of the next tick, two of three of them received."""
        times = np.sort(self._rng.integers(0, self._tick_us, self._messages))
        chosen = self._rng.choice(len(_TYPES), self._messages, p=_SHARES).tolist()
        peers = self._rng.integers(0, PEERS, self._messages).tolist()
        received = (self._rng.random(self._messages) < 2 / 3).tolist()
        base = self._now_us
        for at, code, peer, came in zip(times.tolist(), chosen, peers, received, strict=True):
            self._now_us = base + at
            self._write(self._folders[peer], _TYPES[code], self._makers[_TYPES[code]](), received=came)
        self._now_us = base + self._tick_us

    def rest(self, seconds: int) -> None:
        """Write nothing for so long."""
        self._now_us += seconds * 1_000_000

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
