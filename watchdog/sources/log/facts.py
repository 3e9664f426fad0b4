"""What lines of debug.log mean: matches in, rows out, with a registry of open peers between."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial

from watchdog.core.batch import Batch
from watchdog.core.core_constants import DISCOURAGEMENT_THRESHOLD, RATELIMIT_WINDOW_S
from watchdog.core.durations import SECOND_NS
from watchdog.core.enrich import Enricher
from watchdog.core.moments import IMPLAUSIBLE
from watchdog.sources.core_log.form import IGNORED
from watchdog.sources.core_log.table import PEER_KINDS, Selection
from watchdog.sources.log.columns import LAYOUT, LogRows, LogValue, batch_of
from watchdog.sources.log.limits import Begun, SourceLocation, SuppressedLocations, describe
from watchdog.sources.log.lines import Lines
from watchdog.sources.log.peers import Addresses, LoggedPeer, OpenPeers

_LONGEST_TEXT = 300  # characters of peer text kept; Core's user agents end at 256

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
RATE_LIMIT = "log rate limit"  # the reason of gaps; followed by the bytes that were dropped, where a line says them
_LATE_S = 300  # how much later than a window's length its end may be: Core's scheduler runs other tasks before it
_LONGEST_WINDOW_S = 24 * RATELIMIT_WINDOW_S
UNTIMED = "untimed"  # beside the names of forms
_NO_AGENT = b"<no user agent>"  # Bitcoin Core since v32
_NO_SLOT = 0xFFFF_FFFF  # v22 names no bucket and no position
DROP_WORDS = {"full": "full", "banned": "banned", "discouraged": "discouraged"}

LineMatch = re.Match[bytes]


def log_text(raw: bytes | None) -> str:
    """Make text of a log line harmless: printable ASCII, the rest as escapes, at most 300 characters."""
    text = (raw or b"")[:_LONGEST_TEXT].decode("ascii", "backslashreplace")
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return text[:_LONGEST_TEXT]


def _location(match: LineMatch) -> SourceLocation:
    return SourceLocation(log_text(match["file"]), int(match["line"]), log_text(match["function"]))


def _window_s(match: LineMatch) -> int:
    """Return the seconds of the limit's window; at most a day, so that a strange number hides no lasting silence."""
    return min(int(match["window"]), _LONGEST_WINDOW_S)


def _number(raw: bytes | None, missing: int = 0) -> int:
    return missing if raw is None else int(raw)


class LogFacts:
    """Reads matched lines in file order; the same lines give the same rows however they are cut.

    `boot_ns` is the start of the node process, 0 while unknown. `running` is true from a start line to a
    shutdown line.
    """

    def __init__(self, node: str, source: str, selection: Selection, wanted: frozenset[str] | None, enricher: Enricher):
        self.boot_ns = 0
        self.running = False
        self.peers = OpenPeers()
        self.limits = SuppressedLocations()
        self._addresses = Addresses(enricher)
        self._node, self._source = node, source
        self._wanted = frozenset(LAYOUT) if wanted is None else wanted & frozenset(LAYOUT)
        self._tracks = bool(self._wanted & PEER_KINDS)
        self._rows: dict[str, LogRows] = {}
        self._batches: list[Batch] = []
        self._forms = selection.forms
        names = dict.fromkeys(form.name for forms in selection.forms for form in forms)
        self._numbers = {name: at for at, name in enumerate(names)}
        self._read = [0] * len(self._numbers)  # lines by number of their form
        self._unread: Counter[str] = Counter()
        self._takers = [
            [(form.pattern.fullmatch, self._taker(form.fact), self._numbers[form.name]) for form in forms]
            for forms in selection.forms
        ]

    def _taker(self, fact: str) -> Callable[[int, LineMatch], None]:
        name, _, word = fact.partition(" ")
        if name == "ending":
            return partial(self._ending, word)
        taker: Callable[[int, LineMatch], None] = getattr(self, f"_{name}" if name else "_ignored")
        return taker

    @property
    def line_forms(self) -> dict[str, tuple[int, int]]:
        """By name of a form that is read: its lines that were understood, and those that were not."""
        forms = (form for forms in self._forms for form in forms if form.fact != IGNORED)
        counts = {form.name: (self._read[self._numbers[form.name]], self._unread[form.name]) for form in forms}
        return {**counts, UNTIMED: (0, self._unread[UNTIMED])}

    @property
    def unmatched(self) -> int:
        """Lines that begin like one of a form and are none."""
        return self._unread.total() - self._unread[UNTIMED]

    def read(self, chunk: bytes, lines: Lines) -> None:
        """Take in the wanted lines of a chunk."""
        takers, counts = self._takers, self._read
        for code, start, end, time_ns in zip(
            lines.codes.tolist(), lines.starts.tolist(), lines.ends.tolist(), lines.time_ns.tolist(), strict=True
        ):
            if code < 0:  # quarantined: a row for each, so that it does not matter how the log was cut
                if time_ns:
                    self.gap(time_ns, time_ns, IMPLAUSIBLE, 1)
                continue
            for fullmatch, take, number in takers[code]:
                match = fullmatch(chunk, start, end)
                if match is not None:
                    counts[number] += 1
                    take(time_ns, match)
                    break
            else:
                name = self._begun(chunk, start, end, code)
                self._unread.update([name] if name else ())
        for start, end, code in lines.untimed:
            self._unread[UNTIMED] += bool(self._begun(chunk, start, end, code))

    def _begun(self, chunk: bytes, start: int, end: int, code: int) -> str:
        """Return the form that a line begins like; empty for an unknown one and for one without a reader."""
        form = next((form for form in self._forms[code] if form.begin.match(chunk, start, end)), None)
        return "" if form is None or form.fact == IGNORED else form.name

    def _ignored(self, _time_ns: int, _match: LineMatch) -> None:
        """Take a known line that gives no event."""

    def gap(self, from_ns: int, to_ns: int, reason: str, lost: int = 0) -> None:
        """Report that lines between two times were lost; `lost` of them, 0 when unknown.

        Told at the first of them: the source has promised no later time. Who promises more in its place, as the service
        does while it is silent, has to tell it later (`feed`).
        """
        self._row("source:gap", from_ns, None, from_ns, to_ns, lost, reason, "")

    def batches(self) -> tuple[Batch, ...]:
        """Return everything read since the last call, as batches; one node process after the other."""
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

    def _row(self, kind: str, time_ns: int, peer: LoggedPeer | None, *values: LogValue) -> None:
        if kind not in self._wanted:
            return
        rows = self._rows.get(kind)
        if rows is None:
            rows = self._rows[kind] = LogRows()
        rows.times.append(time_ns)
        rows.values.append(values)
        if peer is not None:
            rows.peers.append(peer)

    def _peer(self, match: LineMatch) -> LoggedPeer:
        conn, address = match["conn"], match["addr"]
        return self.peers.get(int(conn), "" if address is None else log_text(address.rstrip(b":;!)")))

    # ---- the node ----

    def _started(self, time_ns: int, match: LineMatch) -> None:
        if self.running:
            self._row("node:stopped", time_ns, None, "no shutdown before the next start")
        for begun in self.limits.all():
            self._unlimited(time_ns, begun, min(time_ns, begun.until_ns))
        self._cut()
        self.peers.clear()
        self.boot_ns, self.running = time_ns, True
        self._row("node:started", time_ns, None, "log-start", log_text(match["version"]))

    def _stopped(self, time_ns: int, _match: LineMatch) -> None:
        self.running = False
        self._row("node:stopped", time_ns, None, "shutdown")

    def _limit_begun(self, time_ns: int, match: LineMatch) -> None:
        until_ns = time_ns + (_window_s(match) + _LATE_S) * SECOND_NS
        for begun in self.limits.begin(_location(match), time_ns, until_ns):
            self._unlimited(time_ns, begun, min(time_ns, begun.until_ns))
        location, kinds = describe(_location(match))
        self._row("source:limited", time_ns, None, until_ns, RATE_LIMIT, kinds, log_text(location.encode()))

    def _limit_ended(self, time_ns: int, match: LineMatch) -> None:
        earliest_ns = max(time_ns - _window_s(match) * SECOND_NS, self.boot_ns)
        begun = self.limits.end(_location(match), min(earliest_ns, time_ns))
        if begun.until_ns < time_ns and begun.time_ns < earliest_ns:  # of a limit whose end was not seen
            self._unlimited(time_ns, begun, begun.until_ns)
            begun = begun._replace(time_ns=earliest_ns)
        self._unlimited(time_ns, begun, time_ns, f": {int(match['bytes'])} bytes dropped")

    def _unlimited(self, time_ns: int, begun: Begun, to_ns: int, dropped: str = "") -> None:
        """Report that Core writes a source location's lines again; it gives the dropped ones in bytes only."""
        kinds = describe(begun.location)[1]
        self._row("source:gap", time_ns, None, begun.time_ns, max(to_ns, begun.time_ns), 0, RATE_LIMIT + dropped, kinds)

    # ---- connections ----

    def _trying(self, time_ns: int, match: LineMatch) -> None:
        self.peers.attempt(log_text(match["to"]), log_text(match["type"]) or "unknown", time_ns)

    def _attempt_failed(self, _time_ns: int, match: LineMatch) -> None:
        self.peers.attempt_failed(log_text(match["to"]))

    def _feeler_attempt(self, time_ns: int, match: LineMatch) -> None:
        text = log_text(match["to"])
        if text and self._tracks:
            self.peers.attempt(text, "feeler", time_ns)
        self._about("log:feeler_attempt", time_ns, match["to"] or b"", text)

    def _connection_added(self, time_ns: int, match: LineMatch) -> None:
        text = log_text(match["to"] or match["addr"])
        self._row("log:connection_added", time_ns, self.peers.opened(int(match["conn"]), text, time_ns))

    def _connection_accepted(self, time_ns: int, match: LineMatch) -> None:
        peer = self.peers.typed(self.peers.named(log_text(match["to"])), "inbound")
        self._row("log:connection_accepted", time_ns, peer)

    def _connection_dropped(self, time_ns: int, match: LineMatch) -> None:
        text = log_text(match["to"]) if "to" in match.re.groupindex else ""
        peer = LoggedPeer(-1, text, "in", "inbound")
        self._row("log:connection_dropped", time_ns, peer, DROP_WORDS.get(log_text(match["why"]), "other"))

    def _peer_dropped(self, time_ns: int, match: LineMatch) -> None:
        peer = self.peers.typed(self._peer(match), "inbound")
        self.peers.ending(peer, "full")
        self._row("log:connection_dropped", time_ns, peer, "full")

    def _version(self, time_ns: int, match: LineMatch) -> None:
        peer = self.peers.claims(self._peer(match), int(match["height"]))
        relay, agent = match["relay"] != b"0", match["agent"]
        text = "" if agent == _NO_AGENT else log_text(agent)
        self._row("log:version", time_ns, peer, text, int(match["version"]), relay)

    def _peer_connected(self, time_ns: int, match: LineMatch) -> None:
        peer = self.peers.typed(self._peer(match), log_text(match["full"] or match["type"]))
        transport = log_text(match["transport"] or match["early"]) or "v1"
        height = _number(match["height"], peer.height)
        self._row("log:peer_connected", time_ns, peer, transport, int(match["version"]), height)

    def _evicted(self, time_ns: int, match: LineMatch) -> None:
        peer = self.peers.typed(self._peer(match), log_text(match["type"]))
        self.peers.ending(peer, "evicted")
        self._row("log:evicted", time_ns, peer)

    def _feeler_completed(self, time_ns: int, match: LineMatch) -> None:
        peer = self.peers.typed(self._peer(match), "feeler")
        self.peers.ending(peer, "feeler done")
        self._row("log:feeler_completed", time_ns, peer)

    def _closed(self, time_ns: int, match: LineMatch) -> None:
        """Report that a socket is gone, once for a connection; one not seen before is entered first."""
        self._peer(match)
        self._cleared(time_ns, match)

    def _cleared(self, time_ns: int, match: LineMatch) -> None:
        peer = self.peers.close(int(match["conn"]))
        if peer is not None:
            self._disconnected(time_ns, peer)

    def _ending(self, reason: str, _time_ns: int, match: LineMatch) -> None:
        self.peers.ending(self._peer(match), reason)

    def _connected_to_self(self, _time_ns: int, match: LineMatch) -> None:
        self.peers.ending(self.peers.named(log_text(match["to"])), "self")

    def _disconnected(self, time_ns: int, peer: LoggedPeer) -> None:
        lived = max(time_ns - peer.opened_ns, 0) // SECOND_NS if peer.opened_ns else -1
        self._row("log:disconnected", time_ns, peer, peer.ending or "unknown", lived)

    # ---- what peers do ----

    def _addr_received(self, time_ns: int, match: LineMatch) -> None:
        counts = int(match["entries"]), int(match["processed"]), int(match["limited"])
        self._row("log:addr_received", time_ns, self._peer(match), *counts)

    def _misbehaving(self, time_ns: int, match: LineMatch) -> None:
        peer = self._peer(match)
        # since v28 lines name no score: each misbehaviour discourages
        discouraged = _number(match["score"], DISCOURAGEMENT_THRESHOLD) >= DISCOURAGEMENT_THRESHOLD
        if discouraged:
            self.peers.ending(peer, "misbehaving")
        self._row("log:misbehaving", time_ns, peer, log_text(match["why"]), discouraged)

    def _protocol_error(self, time_ns: int, match: LineMatch) -> None:
        texts = match.groupdict()
        v2 = texts.get("v2") or texts.get("alone")
        reason = "v2 transport" if v2 else "parse" if texts.get("parse") else "header"
        detail = log_text(v2 or texts.get("parse") or texts.get("detail"))
        if reason == "header":
            reason = next((word for mark, word in _ERRORS if mark in detail), reason)
        elif v2 and _ERRORS[0][0] in detail:
            reason = _ERRORS[0][1]
        peer = self._peer(match) if texts.get("conn") else LoggedPeer(-1, "")
        self._row("log:protocol_error", time_ns, peer, reason, detail)

    def _stalling(self, time_ns: int, match: LineMatch) -> None:
        peer = self._peer(match)
        what = log_text(match["what"]) if "what" in match.re.groupindex else ""
        if b"not disconnecting" not in match[0]:
            self.peers.ending(peer, "download timeout" if what else "stalling")
        self._row("log:block_stalling", time_ns, peer, f"{what} timeout" if what else "stalling")

    def _header(self, time_ns: int, match: LineMatch) -> None:
        peer = LoggedPeer(-1, "") if match["conn"] is None else self._peer(match)
        self._row("log:header", time_ns, peer, _number(match["height"], -1), _internal(match["hash"]))

    def _low_work(self, time_ns: int, match: LineMatch) -> None:
        self._row("log:low_work_headers", time_ns, self._peer(match))

    # ---- addrman ----

    def _about(self, kind: str, time_ns: int, text: bytes, *values: LogValue) -> None:
        """Add a row about an address, which is looked up with all others when the batch is made."""
        self._row(kind, time_ns, None, *values)
        rows = self._rows.get(kind)
        if rows is not None:
            rows.addresses.append(log_text(text))

    def _inserted(self, time_ns: int, match: LineMatch) -> None:
        address, asn, bucket, position = match.groups()
        self._about("log:addrman_inserted", time_ns, address, _number(asn), int(bucket), int(position))

    def _tried(self, time_ns: int, match: LineMatch) -> None:
        address, asn, bucket, position = match.groups()
        self._about("log:addrman_tried", time_ns, address, _number(asn), int(bucket), int(position))

    def _tried_somewhere(self, time_ns: int, match: LineMatch) -> None:
        self._about("log:addrman_tried", time_ns, match["address"], 0, _NO_SLOT, _NO_SLOT)

    def _batch(self, time_ns: int, match: LineMatch) -> None:
        added, offered, source, tried, new = match.groups()
        self._about("log:addrman_batch", time_ns, source, int(added), int(offered), int(tried), int(new))

    def _tried_evicted(self, time_ns: int, match: LineMatch) -> None:
        self._about("log:addrman_evicted", time_ns, match["address"])

    def _removed(self, time_ns: int, match: LineMatch) -> None:
        self._about("log:addrman_removed", time_ns, match["address"])

    def _collision(self, time_ns: int, match: LineMatch) -> None:
        text = log_text(match["old"])  # empty, or "<unknown-addr>", for an entry that is gone
        old = self._addresses.of(["" if text.startswith("<") else text])[0].addr
        self._about("log:addrman_collision", time_ns, match["address"], old, int(match["collisions"]))

    def _replaced(self, time_ns: int, match: LineMatch) -> None:
        tested = "untested" not in match.re.groupindex
        old = self._addresses.of([log_text(match["old"])])[0].addr
        self._about("log:addrman_replaced", time_ns, match["address"], old, tested)

    # ---- the chain ----

    def _tip(self, time_ns: int, match: LineMatch) -> None:
        self._row("log:tip", time_ns, None, int(match["height"]), _internal(match["hash"]), int(match["txs"]))

    def _stale_tip(self, time_ns: int, match: LineMatch) -> None:
        self._row("log:stale_tip", time_ns, None, int(match["age"]))

    def _asmap_health(self, time_ns: int, match: LineMatch) -> None:
        counts = [int(match[name]) for name in ("peers", "asns", "unmapped")]
        self._row("log:asmap_health", time_ns, None, *counts)


def _internal(displayed: bytes) -> bytes:
    """Return a hash as Core prints it, in internal byte order."""
    return bytes.fromhex(displayed.decode("ascii"))[::-1]
