"""A C program with Core's tracepoints (traced_node.c): built once for each content, driven line by line.

    with TracedNode() as node:
        node.probe("mempool:added", txid, 141, 1_000)
        sent = node.flood("in", 10_000, 128, rate=5_000)
        assert node.semaphores()["net:inbound_message"] == 1

`pid` and `binary` are what an extractor is started with. A probe fires only while something is attached to it, as in
Core. `DROPPED` or `NONE` before a text or a payload puts it on a page that is not in the page table, or that nothing
can read.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.parts import lacking

SOURCE: Final = Path(__file__).with_name("traced_node.c")
DROPPED, NONE = "dropped:", "none:"
FLAGS: Final = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror")
ANSWER_S: Final = 60.0


@dataclass(frozen=True)
class Flood:
    """What a flood did: messages, those of them that fired a probe, and the time of all in ns."""

    sent: int
    fired: int
    ns: int


@cache
def traced_binary(*, fibre: bool = False, version: str = "v30.0.0") -> Path:
    """The program, compiled; skipped, or in CI failed, where a compiler or sys/sdt.h is missing."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if not shutil.which(compiler[0]):
        lacking(f"not installed: {compiler[0]}")
    options = (*FLAGS, f'-DVERSION="{version}"', *(["-DFIBRE"] if fibre else []))
    if not Path("/usr/include/sys/sdt.h").exists() and not list(Path("/usr/include").glob("*/sys/sdt.h")):
        lacking("not installed: systemtap-sdt-dev")
    content = hashlib.sha256("\0".join([*compiler, *options, SOURCE.read_text(encoding="utf-8")]).encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"watchdog-traced-node-{os.geteuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    assert folder.stat().st_uid == os.geteuid(), f"{folder} belongs to another user"
    target = folder / f"bitcoind-{content[:20]}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            made = Path(place) / target.name
            subprocess.run([*compiler, *options, str(SOURCE), "-o", str(made)], check=True, timeout=300)
            made.replace(target)
    return target


class TracedNode:
    """One running process. binary: another copy of the program, at a path of its own. user: whom it runs as."""

    def __init__(self, binary: Path | None = None, *, fibre: bool = False, user: int | None = None) -> None:
        self.binary = binary or traced_binary(fibre=fibre)
        self._process = subprocess.Popen(
            [self.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=user, group=user
        )
        words = self._line().split()
        assert words[0] == "ready", words
        self.pid = self._process.pid
        assert int(words[1]) == self.pid

    def probe(self, name: str, *arguments: str | int | bytes) -> bool:
        """Fire a probe with these values (hashes and payloads as bytes); whether anything was attached to it."""
        words = [one.hex() if isinstance(one, bytes) else str(int(one)) if not isinstance(one, str) else one
                 for one in arguments]  # fmt: skip
        answer = self._ask("probe", name, *words)
        assert answer.startswith("fired="), answer
        return answer != "fired=0"

    def message(self, payload: str | bytes, peer: int = 7, kind: str = "ping", *, inbound: bool = True) -> bool:
        """Fire a message. payload: bytes, or `pattern:SIZE:SEED`, perhaps after `DROPPED` or `NONE`."""
        name = "net:inbound_message" if inbound else "net:outbound_message"
        return self.probe(name, peer, "198.51.100.7:8333", "inbound", kind, payload)

    def flood(self, way: str, count: int, size: int, *, rate: int = 0, kind: str = "ping", peers: int = 1) -> Flood:
        """Fire `count` messages (`way`: in, out) of `size` bytes; rate: a second, 0 for as fast as it goes."""
        words = dict(
            one.split("=") for one in self._ask("flood", way, *map(str, (count, size, rate, kind, peers))).split()
        )
        return Flood(int(words["sent"]), int(words["fired"]), int(words["ns"]))

    def start_flood(
        self, way: str, count: int, size: int, *, rate: int = 0, kind: str = "ping", peers: int = 1
    ) -> None:
        """Begin a flood; `end_flood` waits for its end."""
        self._send("flood", way, *map(str, (count, size, rate, kind, peers)))

    def end_flood(self) -> Flood:
        """Wait for the end of the flood that was started."""
        words = dict(one.split("=") for one in self._line().split())
        return Flood(int(words["sent"]), int(words["fired"]), int(words["ns"]))

    def semaphores(self) -> dict[str, int]:
        """How many tracers are attached to each probe, as the process itself sees it."""
        return {name: int(value) for name, value in (one.split("=") for one in self._ask("semaphores").split())}

    def end(self, code: int = 0) -> None:
        """Leave by exit."""
        self._leave("exit", str(code))

    def crash(self) -> None:
        """Leave by SIGABRT."""
        self._leave("crash")

    def kill(self) -> None:
        """Be killed, as by the kernel's out-of-memory killer."""
        self._process.send_signal(signal.SIGKILL)
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._close()

    def _ask(self, *words: str) -> str:
        self._send(*words)
        return self._line()

    def _send(self, *words: str) -> None:
        assert self._process.stdin is not None
        assert not any("\t" in word or "\n" in word for word in words), words
        self._process.stdin.write("\t".join(words) + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the traced node has ended: {self._process.wait(ANSWER_S)}"
        return line.rstrip("\n")

    def _leave(self, *words: str) -> None:
        self._send(*words)
        self._close()

    def _close(self) -> None:
        self._process.wait(ANSWER_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
