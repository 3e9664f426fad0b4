"""live-latency and service-at-rest: a real `watchdog run`, with page and API, beside files that grow in real time."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from aiohttp import web

from benchmarks.node import WritingNode
from benchmarks.rounds import Row, Settings, SkippedError
from rules.load import load
from tests.support.capture_files import addr_payload, append, handshake, record
from tests.support.delivery import Seen, target
from tests.support.service_process import WATCHING, ServiceProcess

LONGEST_S, MOST_PERCENT, MOST_MB = 1.5, 2.0, 250.0  # of issue 3
TICK_US = 20_000  # one message each: 50 a second
SETTLE_S, QUICK_SETTLE_S = 10.0, 3.0
REST_S, QUICK_REST_S = 30.0, 3.0
ATTACKS, QUICK_ATTACKS = 15, 2
BETWEEN_S = 2.7  # no part of a pane of 5 s, so that attacks meet all phases of it
ARRIVE_S = 25.0  # an attack not reported by then is missed
ROUND_S = 10.0  # between two rounds of snapshots
CAPTURE = ("capture:capture",)
ALL = (*CAPTURE, "log:debug.log", "snapshots:snapshots.jsonl")


def latency(settings: Settings) -> list[Row]:
    """Median seconds from the end of the pane of the last event of an attack's evidence to the webhook's arrival."""
    attacks = QUICK_ATTACKS if settings.quick else ATTACKS
    settle_s = QUICK_SETTLE_S if settings.quick else SETTLE_S
    beyond = asyncio.run(_attacked(CAPTURE, attacks, settle_s))
    beyond_all = asyncio.run(_attacked(ALL, attacks, settle_s))
    seconds, seconds_all = median(beyond), median(beyond_all)
    note = f"beyond the pane, {len(beyond)} notices of {attacks} attacks, most {max(beyond):.2g}"
    beside = f"the same with log and snapshots beside the capture, most {max(beyond_all):.2g}"
    return [
        Row("live-latency", seconds, LONGEST_S, "s", LONGEST_S / max(seconds, 1e-3), "limit", 1.0, note),
        Row("live-latency-all", seconds_all, LONGEST_S, "s", LONGEST_S / max(seconds_all, 1e-3), "limit", 1.0, beside),
    ]


def at_rest(settings: Settings) -> list[Row]:
    """Per cent of a core and the most memory of the service beside a node of 50 messages a second, all sources."""
    if not Path("/proc/self/stat").exists():
        raise SkippedError("what a process uses is read from /proc, which is not here")
    settle_s, rest_s = (QUICK_SETTLE_S, QUICK_REST_S) if settings.quick else (SETTLE_S, REST_S)
    percent, peak_mb = asyncio.run(_rested(settle_s, rest_s))
    note = f"50 messages/s, 125 peers, capture, log and snapshots, {rest_s:.0f} s"
    return [
        Row("service-at-rest", percent, MOST_PERCENT, "% of a core", MOST_PERCENT / percent, "limit", 1.0, note),
        Row("service-memory", peak_mb, MOST_MB, "MB", MOST_MB / peak_mb, "limit", 1.0, "the most since its start"),
    ]


async def _attacked(sources: Sequence[str], attacks: int, settle_s: float) -> list[float]:
    """Seconds beyond the pane of every first notice of these attacks."""
    arrived: list[tuple[int, bytes]] = []

    async def note(_: web.Request, seen: Seen) -> web.StreamResponse:
        arrived.append((time.time_ns(), seen.body))
        return web.Response(status=204)

    with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as name:
        folder = Path(name)
        async with target(reply=note) as there, _watched(folder, sources, there.url):
            await asyncio.sleep(settle_s)
            for number in range(attacks):
                _attack(folder / "capture", number)
                await asyncio.sleep(BETWEEN_S)
            await _until(lambda: len(_groups(arrived)) == attacks, ARRIVE_S)
    panes = {plan.id: plan.pane_ns for plan in load([], packs=True).plans}
    found = [_beyond_s(at_ns, body, panes) for at_ns, body in arrived]
    return [seconds for seconds in found if seconds is not None]


async def _rested(settle_s: float, rest_s: float) -> tuple[float, float]:
    """Per cent of a core, and megabytes at most."""
    with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as name:
        async with target() as there, _watched(Path(name), ALL, there.url) as service:
            await asyncio.sleep(settle_s)
            before, begun = cpu_s(service.process.pid), time.monotonic()
            await asyncio.sleep(rest_s)
            used, passed = cpu_s(service.process.pid) - before, time.monotonic() - begun
            return max(100 * used / passed, 1e-3), _peak_mb(service.process.pid)


@asynccontextmanager
async def _watched(folder: Path, sources: Sequence[str], url: str) -> AsyncIterator[ServiceProcess]:
    """Run a node that writes, and the service that follows it."""
    (folder / "capture").mkdir()
    writing = asyncio.create_task(_write(folder, snapshots=len(sources) > 1))
    await asyncio.sleep(0.2)  # files that are there when the service looks for them
    texts = "\n".join(f"  - {text}" for text in sources)
    (folder / "watchdog.yaml").write_text(
        f"sources:\n{texts}\napi: {{listen: '127.0.0.1:{free_port()}'}}\n"
        f"receivers:\n  bench: {{url: '{url}', about: incidents, allow_private: true, rate_per_minute: 0}}\n"
    )
    service = ServiceProcess(folder)
    try:
        await asyncio.to_thread(service.wait_for, WATCHING)
        yield service
        assert not writing.done(), "the node stopped writing"
        await asyncio.to_thread(service.end)
    finally:
        if service.process.poll() is None:
            service.kill()
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing


async def _write(folder: Path, *, snapshots: bool) -> None:
    """50 messages a second in real time; with snapshots a log line a second and a round now and then, too."""
    node = await asyncio.to_thread(WritingNode, folder / "capture", 1, TICK_US, time.time_ns() // 1_000)
    next_line = next_round = 0.0
    while True:
        now_s = time.time()
        while node.now_us + TICK_US <= now_s * 1e6:
            node.tick()
        if snapshots and now_s >= next_line:
            next_line = now_s + 1
            _append(folder / "debug.log", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} [net] Flushed 1 addresses\n")
        if snapshots and now_s >= next_round:
            next_round = now_s + ROUND_S
            _append(folder / "snapshots.jsonl", _round(now_s))
        await asyncio.sleep(TICK_US / 1e6)


def _round(now_s: float) -> str:
    result = {"loaded": True, "size": 20_000, "bytes": 9_000_000, "usage": 50_000_000, "maxmempool": 300_000_000}
    answers: tuple[tuple[str, object], ...] = (("getpeerinfo", []), ("getmempoolinfo", result))
    return "".join(json.dumps({"time": now_s, "kind": kind, "result": found}) + "\n" for kind, found in answers)


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _attack(root: Path, number: int) -> None:
    """Let a new inbound peer in its own netgroup send 1,000 unsolicited addresses."""
    now_us, peer = time.time_ns() // 1_000, f"136.{number}.1.1_50000"
    handshake(root, peer, now_us - 2_000, inbound=True, reply_us=1_000)
    append(root, peer, True, record(now_us, "addr", addr_payload(1_000)))


def _groups(arrived: Sequence[tuple[int, bytes]]) -> set[str]:
    """Return the attackers' netgroups that were reported."""
    found = (json.loads(body)["data"] for _, body in arrived)
    return {entity for data in found for entity in data["entities"] if entity.startswith("136.") and "/" not in entity}


def _beyond_s(at_ns: int, body: bytes, panes: dict[str, int]) -> float | None:
    """Seconds after the pane of the last event of the evidence; None for notices of anything but a new attack."""
    message = json.loads(body)
    data = message["data"]
    ours = [one for one in data["entities"] if one.startswith("136.")]
    if message["type"] != "incident.opened" or not ours or not data["evidence"]:
        return None
    last_ns, pane_ns = int(max(event["time"] for event in data["evidence"]) * 1e9), panes[data["rule"]]
    return (at_ns - (last_ns // pane_ns + 1) * pane_ns) / 1e9


async def _until(condition: Callable[[], bool], limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "an attack was not reported in time"
        await asyncio.sleep(0.05)


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def cpu_s(pid: int) -> float:
    """User and system time: fields 14 and 15 of /proc/PID/stat (man proc_pid_stat), the name before them cut off."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    """Return the most memory that was resident at any time (VmHWM of /proc/PID/status, in KiB)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
