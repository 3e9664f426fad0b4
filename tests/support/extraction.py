"""The BPF program in tests: skipped with the kernel's reason where it cannot be loaded, in CI failed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final, Self

import capnp

from tests.support.parts import lacking
from tests.support.stream_rig import Kept
from tests.support.traced_node import TracedNode
from tests.support.waiting import wait_until
from watchdog.core.batch import Batch
from watchdog.core.column_join import joined
from watchdog.core.declared import Declaration
from watchdog.core.errors import WatchdogError
from watchdog.extract.elf import read_binary
from watchdog.extract.libbpf import ExtractError
from watchdog.extract.probes import Probes
from watchdog.extract.releases import offer_of
from watchdog.extract.rings import TraceBatches
from watchdog.stream.client import StreamClient
from watchdog.stream.offer import Hello

BOOT_NS = 1_700_000_000 * 10**9
ATTEMPTS = 400  # each of a twentieth of a second
ROOT: Final = Path(__file__).resolve().parents[2]


@contextmanager
def probes(*, may_sleep: bool | None = None, multi: bool | None = None) -> Iterator[Probes]:
    """The loaded program, nothing attached."""
    try:
        loaded = Probes(may_sleep, multi)
    except ExtractError as error:
        lacking(f"eBPF: {error}")
    try:
        yield loaded
    finally:
        loaded.close()


def attach_all(loaded: Probes, node: TracedNode, kinds: Iterable[str] | None = None) -> None:
    """Watch one node, attached to all its tracepoints, or to these kinds."""
    binary = read_binary(node.binary)
    offer = offer_of(binary)
    assert loaded.offer(binary, offer.kinds) == {}
    loaded.watch(node.pid)
    for kind in offer.kinds if kinds is None else kinds:
        loaded.attach(kind, binary=str(node.binary), process=node.pid)


def batches(loaded: Probes, rows: int, maker: TraceBatches | None = None) -> dict[str, Batch]:
    """Drain until that many rows are there, one batch for each kind; fails when they do not come."""
    maker = maker or TraceBatches("node", BOOT_NS)
    found: dict[str, list[Batch]] = {}
    total = 0
    for _ in range(ATTEMPTS):
        made = maker.make(loaded.drain(0.05, rows=rows - total), loaded.slots.numbered())
        for batch in made.batches:
            found.setdefault(batch.kind, []).append(batch)
            total += batch.rows
        total += sum(made.unreadable.values())
        if total >= rows:
            break
    assert total == rows, f"{total} of {rows} rows came; {loaded.counts()}"
    return {
        kind: Batch(kind, parts[0].node, parts[0].source, joined([one.columns for one in parts]), parts[0].boot_ns)
        for kind, parts in found.items()
    }


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user may read: those of tests are closed, and the extractor becomes another user."""
    with tempfile.TemporaryDirectory(prefix="watchdog-extract-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@cache
def refusal() -> str:
    """Why the BPF program cannot be loaded here; empty when it can."""
    try:
        Probes().close()
    except ExtractError as error:
        return str(error)
    return "" if os.geteuid() == 0 else "not root, so the start of the extractor cannot be tried"


class Extraction:
    """A running `watchdog extract`. Its lines are in `log`."""

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        python: Sequence[str] = ("-m", "watchdog"),
    ) -> None:
        if reason := refusal():
            lacking(f"eBPF: {reason}")
        self.socket = folder / "tracepoints.sock"
        self.log = folder / "extract.log"
        command = [sys.executable, *python, "extract", "--socket", str(self.socket), *map(str, arguments)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, env={**os.environ, **(environment or {})}
            )

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until a line with this text is in the log so many times."""
        wait_until(lambda: self.text().count(text) >= times or self.process.poll() is not None, self.text)
        assert self.text().count(text) >= times, self.text()

    def text(self) -> str:
        """The log."""
        return self.log.read_text(encoding="utf-8")

    def end(self) -> int:
        """End it as a service manager does; the exit code."""
        self.process.terminate()
        return self.process.wait(300)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(300)


class Reading:
    """A reader of a stream in a thread of its own, which keeps all that comes."""

    def __init__(
        self,
        path: Path,
        *kinds: str,
        payloads: Mapping[str, int] | None = None,
        declared: Iterable[Declaration] = (),
    ) -> None:
        self.kept = Kept()
        self.hello: Hello | None = None
        self._path, self._kinds, self._payloads = path, kinds, dict(payloads or {})
        self._declared = {one.kind_name: one.columns for one in declared}
        self._leave = threading.Event()
        self.reason: str | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(capnp.run(self._read())))
        self._thread.start()
        wait_until(lambda: self.hello is not None or not self._thread.is_alive())
        assert self.hello is not None, self.reason

    async def _read(self) -> None:
        client = StreamClient(str(self._path), self.kept, node="node", source="stream:test")
        try:
            hello = await client.open("test")
            await client.subscribe(dict.fromkeys(self._kinds), self._payloads, self._declared)
            self.hello = hello
            over = asyncio.ensure_future(client.ended())
            while not self._leave.is_set() and not over.done():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.02)
            self.reason = over.result() if over.done() else None
            over.cancel()
        except WatchdogError as error:
            self.reason = str(error)
        finally:
            client.close()

    def rows(self, kind: str, least: int = 1) -> Batch:
        """All rows of a kind, once there are so many; fails when they do not come."""

        def parts() -> list[Batch]:
            return [batch for batch in list(self.kept.batches) if batch.kind == kind]

        wait_until(
            lambda: sum(one.rows for one in parts()) >= least,
            lambda: f"{kind}: {[one.rows for one in parts()]}; {self.reason}",
        )
        found = parts()
        return Batch(kind, "node", "stream:test", joined([one.columns for one in found]), found[-1].boot_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self._thread.join(60)
