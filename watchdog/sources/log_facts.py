"""What lines of debug.log mean: matches in, rows out, with a registry of open peers between."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from watchdog.core.batch import Batch
from watchdog.core.durations import SECOND_NS
from watchdog.core.enrich import Enricher
from watchdog.core.moments import IMPLAUSIBLE
from watchdog.sources.log_columns import LAYOUT, Rows, Value, batch_of
from watchdog.sources.log_lines import Lines
from watchdog.sources.log_patterns import PEER_KINDS, Selection
from watchdog.sources.log_peers import Addresses, OpenPeers, Peer

_LONGEST_TEXT = 300  # characters of peer text kept; Core's user agents end at 256
_DISCOURAGED_AT = 100  # Bitcoin Core before v28: DISCOURAGEMENT_THRESHOLD; later every misbehaviour discourages

_ERRORS = (
    ("MessageStart", "magic"),
    ("MESSAGESTART", "magic"),
    ("Size too large", "oversized"),
    ("SIZE", "oversized"),
    ("checksum", "checksum"),
    ("CHECKSUM", "checksum"),
    ("message type", "message type"),
    ("COMMAND", "message type"),
)
DROP_WORDS = {"full": "full", "banned": "banned", "discouraged": "discouraged"}

Match = re.Match[bytes]


def log_text(raw: bytes | None) -> str:
    """Text of a log line made harmless: printable ASCII, the rest as escapes, at most 300 characters."""
    text = (raw or b"")[:_LONGEST_TEXT].decode("ascii", "backslashreplace")
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text[:_LONGEST_TEXT]


def _number(raw: bytes | None, missing: int = 0) -> int:
    return missing if raw is None else int(raw)


class LogFacts:
    """Reads matched lines in file order; the same lines give the same rows however they are cut.

    `boot_ns` is the start of the node process, 0 while unknown. `running` is true from a start line to a
    shutdown line. `unmatched` counts lines that began like a known one but went on otherwise.
    """

    def __init__(self, node: str, source: str, selection: Selection, wanted: frozenset[str] | None, enricher: Enricher):
        self.boot_ns = 0
        self.running = False
        self.unmatched = 0
        self.peers = OpenPeers()
        self._addresses = Addresses(enricher)
        self._node, self._source = node, source
        self._wanted = frozenset(LAYOUT) if wanted is None else wanted & frozenset(LAYOUT)
        self._tracks = bool(self._wanted & PEER_KINDS)
        self._rows: dict[str, Rows] = {}
        self._batches: list[Batch] = []
        self._shapes = [
            [(shape.form.fullmatch, self._taker(shape.fact)) for shape in shapes] for shapes in selection.shapes
        ]

    def _taker(self, fact: str) -> Callable[[int, Match], None]:
        name, _, word = fact.partition(" ")
        if name == "ending":
            return partial(self._ending, word)
        taker: Callable[[int, Match], None] = getattr(self, f"_{name}")
        return taker

    def read(self, chunk: bytes, lines: Lines) -> None:
        """Take in the wanted lines of a chunk."""
        shapes = self._shapes
        for code, start, end, time_ns in zip(
            lines.codes.tolist(), lines.starts.tolist(), lines.ends.tolist(), lines.time_ns.tolist(), strict=True
        ):
            if code < 0:  # quarantined: a row for each, so that it does not matter how the log was cut
                if time_ns:
                    self.gap(time_ns, time_ns, IMPLAUSIBLE, 1)
                continue
            for fullmatch, take in shapes[code]:
                match = fullmatch(chunk, start, end)
                if match is not None:
                    take(time_ns, match)
                    break
            else:
                self.unmatched += 1

    def gap(self, from_ns: int, to_ns: int, reason: str, lost: int = 0) -> None:
        """Lines between two times were lost; `lost` of them, 0 if nobody knows.

        Told at the first of them: the source has promised no later time. Who promises more in its place, as the service
        does while it is silent, has to tell it later (`feed`).
        """
        self._row("source:gap", from_ns, None, from_ns, to_ns, lost, reason)

    def batches(self) -> tuple[Batch, ...]:
        """Everything read since the last call, as batches; one node process after the other."""
        self._cut()
        done, self._batches = tuple(self._batches), []
        return done

    def _cut(self) -> None:
        for kind in LAYOUT:
            rows = self._rows.pop(kind, None)
            if rows is not None:
                self._batches.append(
                    batch_of(kind, rows, self._addresses, node=self._node, source=self._source, boot_ns=self.boot_ns)
                )

    def _row(self, kind: str, time_ns: int, peer: Peer | None, *values: Value) -> None:
        if kind not in self._wanted:
            return
        rows = self._rows.get(kind)
        if rows is None:
            rows = self._rows[kind] = Rows()
        rows.times.append(time_ns)
        rows.values.append(values)
        if peer is not None:
            rows.peers.append(peer)

    def _peer(self, match: Match) -> Peer:
        conn, address = match["conn"], match["addr"]
        return self.peers.get(int(conn), "" if address is None else log_text(address.rstrip(b":;!)")))

    # ---- the node ----

    def _started(self, time_ns: int, match: Match) -> None:
        if self.running:
            self._row("node:stopped", time_ns, None, "no shutdown before the next start")
        self._cut()
        self.peers.clear()
        self.boot_ns, self.running = time_ns, True
        self._row("node:started", time_ns, None, "log-start", log_text(match["version"]))

    def _stopped(self, time_ns: int, _match: Match) -> None:
        self.running = False
        self._row("node:stopped", time_ns, None, "shutdown")

    # ---- connections ----

    def _trying(self, _time_ns: int, match: Match) -> None:
        self.peers.attempt(log_text(match["to"]), log_text(match["type"]) or "unknown")

    def _feeler_attempt(self, time_ns: int, match: Match) -> None:
        text = log_text(match["to"])
        if text and self._tracks:
            self.peers.attempt(text, "feeler")
        self._about("log:feeler_attempt", time_ns, match["to"] or b"", text)

    def _connection_added(self, time_ns: int, match: Match) -> None:
        text = log_text(match["to"] or match["addr"])
        self._row("log:connection_added", time_ns, self.peers.opened(int(match["conn"]), text, time_ns))

    def _connection_accepted(self, time_ns: int, match: Match) -> None:
        peer = self.peers.typed(self.peers.named(log_text(match["to"])), "inbound")
        self._row("log:connection_accepted", time_ns, peer)

    def _connection_dropped(self, time_ns: int, match: Match) -> None:
        text = log_text(match["to"]) if "to" in match.re.groupindex else ""
        peer = Peer(-1, text, "in", "inbound")
        self._row("log:connection_dropped", time_ns, peer, DROP_WORDS.get(log_text(match["why"]), "other"))

    def _version(self, time_ns: int, match: Match) -> None:
        peer = self._peer(match)
        relay = match["relay"] != b"0"
        self._row("log:version", time_ns, peer, log_text(match["agent"]), int(match["version"]), relay)

    def _peer_connected(self, time_ns: int, match: Match) -> None:
        peer = self.peers.typed(self._peer(match), log_text(match["full"] or match["type"]))
        transport = log_text(match["transport"] or match["early"]) or "v1"
        self._row("log:peer_connected", time_ns, peer, transport, int(match["version"]), int(match["height"]))

    def _evicted(self, time_ns: int, match: Match) -> None:
        peer = self.peers.typed(self._peer(match), log_text(match["type"]))
        self.peers.ending(peer, "evicted")
        self._row("log:evicted", time_ns, peer)

    def _feeler_completed(self, time_ns: int, match: Match) -> None:
        peer = self.peers.typed(self._peer(match), "feeler")
        self.peers.ending(peer, "feeler done")
        self._row("log:feeler_completed", time_ns, peer)

    def _closed(self, time_ns: int, match: Match) -> None:
        """The socket is gone, which is said once for a connection; one not seen before is entered first."""
        self._peer(match)
        self._cleared(time_ns, match)

    def _cleared(self, time_ns: int, match: Match) -> None:
        peer = self.peers.close(int(match["conn"]))
        if peer is not None:
            self._disconnected(time_ns, peer)

    def _ending(self, reason: str, _time_ns: int, match: Match) -> None:
        self.peers.ending(self._peer(match), reason)

    def _disconnected(self, time_ns: int, peer: Peer) -> None:
        lived = max(time_ns - peer.opened_ns, 0) // SECOND_NS if peer.opened_ns else -1
        self._row("log:disconnected", time_ns, peer, peer.ending or "unknown", lived)

    # ---- what peers do ----

    def _addr_received(self, time_ns: int, match: Match) -> None:
        counts = int(match["entries"]), int(match["processed"]), int(match["limited"])
        self._row("log:addr_received", time_ns, self._peer(match), *counts)

    def _misbehaving(self, time_ns: int, match: Match) -> None:
        peer = self._peer(match)
        discouraged = _number(match["score"], _DISCOURAGED_AT) >= _DISCOURAGED_AT
        if discouraged:
            self.peers.ending(peer, "misbehaving")
        self._row("log:misbehaving", time_ns, peer, log_text(match["why"]), discouraged)

    def _protocol_error(self, time_ns: int, match: Match) -> None:
        texts = match.groupdict()
        reason = "v2 transport" if texts.get("v2") else "parse" if texts.get("parse") else "header"
        detail = log_text(texts.get("v2") or texts.get("parse") or texts.get("detail"))
        if reason == "header":
            reason = next((word for mark, word in _ERRORS if mark in detail), reason)
        peer = Peer(-1, "") if reason == "parse" else self._peer(match)
        self._row("log:protocol_error", time_ns, peer, reason, detail)

    def _stalling(self, time_ns: int, match: Match) -> None:
        peer = self._peer(match)
        what = log_text(match["what"]) if "what" in match.re.groupindex else ""
        self.peers.ending(peer, "download timeout" if what else "stalling")
        self._row("log:block_stalling", time_ns, peer, f"{what} timeout" if what else "stalling")

    def _header(self, time_ns: int, match: Match) -> None:
        self._row("log:header", time_ns, self._peer(match), int(match["height"]), _internal(match["hash"]))

    def _low_work(self, time_ns: int, match: Match) -> None:
        self._row("log:low_work_headers", time_ns, self._peer(match))

    # ---- addrman ----

    def _about(self, kind: str, time_ns: int, text: bytes, *values: Value) -> None:
        """A row about an address, which is looked up with all others when the batch is made."""
        self._row(kind, time_ns, None, *values)
        rows = self._rows.get(kind)
        if rows is not None:
            rows.addresses.append(log_text(text))

    def _inserted(self, time_ns: int, match: Match) -> None:
        address, asn, bucket, position = match.groups()
        self._about("log:addrman_inserted", time_ns, address, _number(asn), int(bucket), int(position))

    def _tried(self, time_ns: int, match: Match) -> None:
        address, asn, bucket, position = match.groups()
        self._about("log:addrman_tried", time_ns, address, _number(asn), int(bucket), int(position))

    def _batch(self, time_ns: int, match: Match) -> None:
        added, offered, source, tried, new = match.groups()
        self._about("log:addrman_batch", time_ns, source, int(added), int(offered), int(tried), int(new))

    def _tried_evicted(self, time_ns: int, match: Match) -> None:
        self._about("log:addrman_evicted", time_ns, match["address"])

    def _removed(self, time_ns: int, match: Match) -> None:
        self._about("log:addrman_removed", time_ns, match["address"])

    def _collision(self, time_ns: int, match: Match) -> None:
        old = self._addresses.of([log_text(match["old"])])[0].addr
        self._about("log:addrman_collision", time_ns, match["address"], old, int(match["collisions"]))

    def _replaced(self, time_ns: int, match: Match) -> None:
        tested = "untested" not in match.re.groupindex
        old = self._addresses.of([log_text(match["old"])])[0].addr
        self._about("log:addrman_replaced", time_ns, match["address"], old, tested)

    # ---- the chain ----

    def _tip(self, time_ns: int, match: Match) -> None:
        self._row("log:tip", time_ns, None, int(match["height"]), _internal(match["hash"]), int(match["txs"]))

    def _stale_tip(self, time_ns: int, match: Match) -> None:
        self._row("log:stale_tip", time_ns, None, int(match["age"]))

    def _asmap_health(self, time_ns: int, match: Match) -> None:
        counts = [int(match[name]) for name in ("peers", "asns", "unmapped")]
        self._row("log:asmap_health", time_ns, None, *counts)


def _internal(displayed: bytes) -> bytes:
    """A hash as Core prints it, in internal byte order."""
    return bytes.fromhex(displayed.decode("ascii"))[::-1]
