"""What the small RPCs say of a node from poll to poll: its process, its tip, its traffic."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from watchdog.sources.rpc.answers import ChainInfo, MempoolInfo, NetTotals, NetworkInfo, TableSizes
from watchdog.sources.rpc.columns import MAX_TEXT, RpcRows, RpcValue, Values, one_row

SLACK_S = 5  # uptime has whole seconds, and the RPCs of one poll are answered one after the other
BACKWARD_S = 2  # uptime that falls by more than this is of another process (old versions follow the machine's clock)
SATOSHI = 100_000_000  # in a bitcoin
MAX_WARNINGS = 20  # Core has about ten


class ProcessMemory(msgspec.Struct):
    """The node process: its start (ns, 0 unknown); uptime (-1: none yet) and clocks at the last poll that had it.

    machine_s is the node's own clock (getnettotals timemillis, 0: not given): it counts like uptime does, while the
    polls' time may be the node's mock clock.
    """

    boot_ns: int = 0
    uptime_s: int = -1
    polled_s: int = 0
    machine_s: int = 0


class ChainMemory(msgspec.Struct):
    """The last height (-1: none yet), the time it was first seen, and the block time of the tip with when that was new.

    All times in unix seconds; tip_s is 0 in positions from before there was one.
    """

    height: int = -1
    seen_s: int = 0
    block_s: int = 0
    tip_s: int = 0


class TotalsMemory(msgspec.Struct):
    """The last getnettotals: its time in ns (0: none yet) and its counters."""

    time_ns: int = 0
    received: int = 0
    sent: int = 0


class WarningsMemory(msgspec.Struct):
    """The node's warnings at the last poll. learned: False before the first."""

    learned: bool = False
    texts: list[str] = []


class NodeMemory(msgspec.Struct):
    """All of it, as a position of the source holds it."""

    process: ProcessMemory = msgspec.field(default_factory=ProcessMemory)
    chain: ChainMemory = msgspec.field(default_factory=ChainMemory)
    totals: TotalsMemory = msgspec.field(default_factory=TotalsMemory)
    warnings: WarningsMemory = msgspec.field(default_factory=WarningsMemory)


def is_restart(memory: ProcessMemory, uptime_s: int, polled_s: int, machine_s: int) -> bool:
    """Return whether `uptime_s` can only be of a later process than the one of the last poll.

    It is when it fell, or when it is shorter than the time since the last poll and the
    start that it implies moved on by more than SLACK_S.
    """
    if memory.uptime_s < 0:
        return False
    if uptime_s < memory.uptime_s - BACKWARD_S:
        return True
    elapsed = machine_s - memory.machine_s if machine_s and memory.machine_s else polled_s - memory.polled_s
    return uptime_s <= elapsed + SLACK_S and elapsed - (uptime_s - memory.uptime_s) > SLACK_S


def forget_after(memory: NodeMemory, believed_ns: int) -> None:
    """Forget later times of polls, which a wrong clock gave; what they reported about the node still holds."""
    process = memory.process
    process.polled_s = min(process.polled_s, believed_ns // 10**9)
    if process.machine_s > process.polled_s:
        process.machine_s = 0
    if process.boot_ns > believed_ns:
        process.boot_ns = 0
    memory.totals.time_ns = min(memory.totals.time_ns, believed_ns)


def follow_process(
    memory: ProcessMemory, time_ns: int, uptime_s: int | None, totals: NetTotals | None, ids: str | None
) -> bool:
    """Note a poll of the process; True when it is another one than before. Updates memory.boot_ns.

    ids: what peer ids say ("same", "restarted", None). A connection that lived on outweighs the clocks.
    """
    polled_s = time_ns // 10**9
    machine_s = totals.timemillis // 1000 if totals else 0
    restarted = ids == "restarted"
    if uptime_s is not None and ids is None:
        restarted = is_restart(memory, uptime_s, polled_s, machine_s)
    if restarted:
        start_ns = time_ns - (uptime_s or 0) * 10**9
        memory.boot_ns = max(start_ns, memory.polled_s * 10**9 + 1)
    elif uptime_s is not None and not memory.boot_ns:
        memory.boot_ns = max(1, time_ns - uptime_s * 10**9)
    if uptime_s is not None or restarted:
        memory.uptime_s = -1 if uptime_s is None else uptime_s
        memory.polled_s, memory.machine_s = polled_s, machine_s
    return restarted


@dataclass(frozen=True, slots=True)
class Link:
    """What a poll of our own knows beside its answers: seconds since the last one, and a refusal in between.

    elapsed_s: by the monotonic clock of this machine, since the last uptime that was taken; 0 for the first.
    """

    elapsed_s: float = 0.0
    refused: bool = False


def follow_link(memory: ProcessMemory, time_ns: int, uptime_s: int | None, link: Link, ids: str | None) -> bool:
    """Note a poll of our own; True when it is of another process: uptime fell, and ids or a refusal say so too.

    Uptime alone proves nothing: before Core 31 it follows the node's wall clock. Until there is a second sign,
    the memory keeps the older uptime, so that a later poll can still decide.
    """
    if uptime_s is None:  # turned off, or refused: ids alone must do
        if ids == "restarted":
            memory.boot_ns, memory.uptime_s = max(1, time_ns), -1
        return ids == "restarted"
    expected_s = memory.uptime_s + link.elapsed_s
    fell = memory.uptime_s >= 0 and uptime_s < expected_s - SLACK_S
    restarted = fell and ids != "same" and (link.refused or ids == "restarted")
    if restarted:
        memory.boot_ns = max(time_ns - uptime_s * 10**9, memory.polled_s * 10**9 + 1)
    elif not memory.boot_ns:
        memory.boot_ns = max(1, time_ns - uptime_s * 10**9)
    if restarted or not fell or ids == "same":
        memory.uptime_s, memory.polled_s = uptime_s, time_ns // 10**9
    return restarted


def report_chain(memory: ChainMemory, info: ChainInfo, time_ns: int, rows: RpcRows) -> None:
    """Add rpc:chain, and chain:tip when the height is another one than at the last poll.

    A tip that was there at the first poll counts as seen at the block's own time. Later its age counts from when we
    first saw it, since who found a block may stamp it two hours ahead (MAX_FUTURE_BLOCK_TIME).
    """
    now_s = time_ns // 10**9
    if memory.height < 0:
        memory.seen_s = info.time if 0 < info.time < now_s else now_s
        memory.height, memory.tip_s = info.blocks, memory.seen_s
    elif info.blocks != memory.height:
        interval_s = max(0, now_s - memory.seen_s)
        rows.add(
            "chain:tip",
            time_ns,
            one_row({"height": info.blocks, "interval_s": interval_s, "hash": info.bestblockhash}),
        )
        memory.height, memory.seen_s, memory.tip_s = info.blocks, now_s, now_s
    elif 0 < memory.block_s != info.time > 0:  # another block of the same height took its place
        memory.tip_s = now_s
    memory.block_s, memory.tip_s = max(info.time, 0) or memory.block_s, memory.tip_s or memory.seen_s
    values: dict[str, RpcValue] = {
        "chain": info.chain,
        "blocks": info.blocks,
        "headers": info.headers,
        "tip_age_s": max(0, now_s - memory.tip_s),
        "tip_seen_s": max(0, now_s - memory.seen_s),
        "ibd": info.initialblockdownload,
        "size_on_disk": info.size_on_disk,
        "pruned": info.pruned,
        "warnings": "; ".join(_warnings_of(info)),
        "hash": info.bestblockhash,
        "verification_progress": info.verificationprogress,
    }
    rows.add("rpc:chain", time_ns, one_row(values))


def report_tip(memory: ChainMemory, height: int, block_hash: str, time_ns: int, rows: RpcRows) -> None:
    """Add chain:tip for a height that a node reports by itself, when it is another one; the first one adds nothing."""
    now_s = time_ns // 10**9
    if height < 0 or height == memory.height:
        return
    if memory.height >= 0:
        interval_s = max(0, now_s - memory.seen_s)
        rows.add("chain:tip", time_ns, one_row({"height": height, "interval_s": interval_s, "hash": block_hash}))
    memory.height, memory.seen_s, memory.tip_s = height, now_s, now_s


def _warnings_of(info: ChainInfo) -> list[str]:
    """Return the node's warnings: one text before Core 28, a list since."""
    texts = [info.warnings] if isinstance(info.warnings, str) else info.warnings
    return [text for text in texts if text]


def report_warnings(memory: WarningsMemory, info: ChainInfo, time_ns: int, rows: RpcRows) -> None:
    """Add node:warning for each warning that appeared or ended since the last poll, also across a restart."""
    now = list(dict.fromkeys(text[:MAX_TEXT] for text in _warnings_of(info)))[:MAX_WARNINGS]
    if memory.learned:
        changes = [(text, True) for text in now if text not in memory.texts]
        changes += [(text, False) for text in memory.texts if text not in now]
        if changes:
            columns: dict[str, Values] = {
                "text": [text for text, _ in changes],
                "active": [is_active for _, is_active in changes],
            }
            rows.add("node:warning", time_ns, columns)
    memory.texts, memory.learned = now, True


def report_totals(memory: TotalsMemory, totals: NetTotals, time_ns: int, restarted: bool, rows: RpcRows) -> None:
    """Add rpc:nettotals. Counters start at 0 with the process, so after a restart the whole count is new."""
    first = memory.time_ns == 0
    new_count = restarted or totals.totalbytesrecv < memory.received or totals.totalbytessent < memory.sent
    received, sent = (0, 0) if new_count else (memory.received, memory.sent)
    values = {
        "bytes_received": totals.totalbytesrecv,
        "bytes_sent": totals.totalbytessent,
        "received_delta": 0 if first else totals.totalbytesrecv - received,
        "sent_delta": 0 if first else totals.totalbytessent - sent,
        "interval_s": 0 if first else max(0, time_ns - memory.time_ns) // 10**9,
    }
    rows.add("rpc:nettotals", time_ns, one_row(values))
    memory.time_ns, memory.received, memory.sent = time_ns, totals.totalbytesrecv, totals.totalbytessent


def report_sizes(sizes: dict[str, TableSizes], time_ns: int, rows: RpcRows) -> None:
    """Add rpc:addrman: a row for each network, and `all`."""
    if not sizes:
        return
    columns: dict[str, Values] = {
        "network": ["all" if name == "all_networks" else name for name in sizes],
        "new": [size.new for size in sizes.values()],
        "tried": [size.tried for size in sizes.values()],
        "total": [size.new + size.tried if size.total < 0 else size.total for size in sizes.values()],
    }
    rows.add("rpc:addrman", time_ns, columns)


def report_mempool(info: MempoolInfo, time_ns: int, rows: RpcRows) -> None:
    """Add rpc:mempool."""
    values = {
        "txs": info.size,
        "size_bytes": info.bytes,
        "usage_bytes": info.usage,
        "max_bytes": info.maxmempool,
        "min_fee_sat_kvb": round(min(max(info.mempoolminfee, 0.0), 21e6) * SATOSHI),
        "loaded": info.loaded,
    }
    rows.add("rpc:mempool", time_ns, one_row(values))


def report_network(info: NetworkInfo, time_ns: int, rows: RpcRows) -> None:
    """Add rpc:network."""
    values = {
        "connections": info.connections,
        "connections_in": info.connections_in,
        "connections_out": info.connections_out,
        "network_active": info.networkactive,
        "time_offset_s": info.timeoffset,
        "version": info.version,
    }
    rows.add("rpc:network", time_ns, one_row(values))
