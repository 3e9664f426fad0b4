"""live-probes: 500 messages a second from the tracepoints of a process through extractor, stream and `watchdog run`.

The messages are those of the other live benchmarks (benchmarks/node.py), fired in real time from 125 connections; all
shipped rules read them. Measured is the CPU time of the extractor and of the service over 60 s.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.node import WritingNode
from benchmarks.rounds import Row, Settings, SkippedError
from benchmarks.service import cpu_s, free_port
from tests.support.extraction import Extraction, refusal
from tests.support.service_process import WATCHING, ServiceProcess
from tests.support.traced_node import TracedNode
from watchdog.sources.registry import SCHEMES

RATE = 500  # messages a second
TICK_US = 100_000
SETTLE_S, QUICK_SETTLE_S = 10.0, 3.0
LENGTH_S, QUICK_LENGTH_S = 60.0, 5.0
MOST_PERCENT, MOST_EXTRACTOR = 4.0, 1.0


class FiringNode(WritingNode):
    """Fires a tracepoint for each message instead of writing it to a file."""

    def __init__(self, traced: TracedNode, root: Path) -> None:
        self._traced = traced
        super().__init__(root, RATE * TICK_US // 1_000_000, TICK_US, time.time_ns() // 1_000)

    def _write(self, folder: Path, type_: str, payload: bytes, *, received: bool) -> None:
        host, _, port = folder.name.partition("_")
        name = "net:inbound_message" if received else "net:outbound_message"
        self._traced.probe(name, int(host.split(".")[1]), f"{host}:{port}", "inbound", type_, payload)

    def keep_up(self, seconds: float) -> None:
        """Fire in real time for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while self.now_us + TICK_US <= time.time_ns() // 1_000:
                self.tick()
            time.sleep(TICK_US / 4e6)


def measure(settings: Settings) -> list[Row]:
    """Per cent of a core of extractor and service together, and of the extractor alone."""
    if reason := refusal():
        raise SkippedError(reason)
    if "stream" not in SCHEMES:
        raise SkippedError("there is no source stream:")
    settle_s, length_s = (QUICK_SETTLE_S, QUICK_LENGTH_S) if settings.quick else (SETTLE_S, LENGTH_S)
    with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as name:
        extractor, service = _used(Path(name), settle_s, length_s)
    whole = extractor + service
    note = f"{RATE} messages/s, {length_s:.0f} s"
    return [
        Row("live-probes", whole, MOST_PERCENT, "% of a core", MOST_PERCENT / whole, "limit", 1.0, note),
        Row(
            "live-probes-extractor", extractor, MOST_EXTRACTOR, "% of a core", MOST_EXTRACTOR / extractor, "limit", 1.0,
            "the extractor alone",
        ),
    ]  # fmt: skip


def _used(folder: Path, settle_s: float, length_s: float) -> tuple[float, float]:
    """Return per cent of a core of the extractor and of the service."""
    folder.chmod(0o755)
    (folder / "node").mkdir()
    (folder / "service").mkdir()
    with TracedNode() as traced, Extraction(folder, "--pid", traced.pid) as extraction:
        extraction.wait_for("serving at")
        (folder / "service" / "watchdog.yaml").write_text(
            f"sources: ['stream:{extraction.socket}']\napi: {{listen: '127.0.0.1:{free_port()}'}}\n"
        )
        service = ServiceProcess(folder / "service")
        try:
            service.wait_for(WATCHING)
            node = FiringNode(traced, folder / "node")
            node.keep_up(settle_s)
            begun, before = time.monotonic(), (cpu_s(extraction.process.pid), cpu_s(service.process.pid))
            node.keep_up(length_s)
            passed = time.monotonic() - begun
            after = (cpu_s(extraction.process.pid), cpu_s(service.process.pid))
            if traced.semaphores()["net:inbound_message"] == 0:
                raise SkippedError(f"the service does not read the stream: {service.text()[-500:]}")
            service.end()
        finally:
            if service.process.poll() is None:
                service.kill()
    first, second = (max(100 * (end - start) / passed, 1e-3) for start, end in zip(before, after, strict=True))
    return first, second
