"""The source `log:FILE`: Bitcoin Core's debug.log, read or followed.

What a log tells depends on its options: `-debug=net` and `-debug=addrman` for most kinds, `-logips`
for the addresses of peers. Without `-logips` peers have an id only: `peer` and `peer_addr` are
empty, `network` is "unroutable", netgroup, netblock, subnet and asn are 0, and the direction is known from
the end of the handshake on. A line without a time is the rest of the line before and tells nothing. A
line whose time cannot be true is left out and told as lost, at the time of the line before it.
"""

from __future__ import annotations

from collections.abc import Mapping

from watchdog.core.batch import Slice
from watchdog.core.enrich import Enricher
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.moments import IMPLAUSIBLE
from watchdog.core.source import END_OF_TIME_NS, Skipped, SourceOptions
from watchdog.sources.core_log import table
from watchdog.sources.faults import SourceFaults
from watchdog.sources.log.facts import UNTIMED, LogFacts
from watchdog.sources.log.files import LogFiles
from watchdog.sources.log.lines import BANNER_LINES, LONGEST_LINE, QUARANTINED, Lines, Prefixes, find_lines

KINDS = table.KINDS
CHUNK = 1 << 20  # bytes a poll: a slice of minutes, so that sources stay together in event time
TIMELESS = 20  # lines of interest in a row without a time, and none with one: an option, no damage
LATENESS_NS = 2_000_000_000  # clocks are stepped back by less than this, or their lines are late; see below
"""Not less: without -logtimemicros (Bitcoin Core's default) times are whole seconds, so what silence promises is wrong
by up to one; the other second is for steps of the node's clock. Rules that no log can feed do not wait for it.
"""


class DebugLogSource:
    """Bitcoin Core's debug.log as events; plain, .gz or .xz, followed through rotation if asked to.

    `counters`: lines read, lines skipped as too long, half lines at the end of rotated files,
    lines with a known beginning and an unknown rest, connections dropped from a full registry, wanted
    lines whose time cannot be true. SourceError at the end when there are lines and none has a plausible time.
    """

    def __init__(self, path: str, options: SourceOptions) -> None:
        self._options = options
        self._name = f"log:{path}"
        selection = table.select(options.wanted)
        self._prefixes = Prefixes.of(selection.heads)
        self._start_code = selection.start_code
        enricher = Enricher(options.asmap_path, options.lists)
        self._facts = LogFacts(options.node, self._name, selection, options.wanted, enricher)
        self._latest_true_ns = options.latest_ns
        self._latest_ns = 0
        self._before_ns = 0  # time of the last line
        self._early = 0  # quarantined lines before the first plausible time
        self._quarantined = 0
        self._skipping = False  # inside a line that is too long
        self._patience = False  # a start was held back once
        self._ended = False
        self._lines = self._long = self._net = 0
        self._timeless = 0  # lines without a time since the last that has one
        self.faults = SourceFaults()  # damage of a log that is not followed
        since_ns = options.since_ns if options.follow else 0
        self._files = LogFiles(path, follow=options.follow, position=options.position, since_ns=since_ns)
        if options.position is not None:
            self._restore(options.position)

    @property
    def name(self) -> str:
        """The source's name, as on the command line."""
        return self._name

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that it can give."""
        return KINDS

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended

    @property
    def progress(self) -> float:
        """Share of the open file that was read."""
        return 1.0 if self._ended else self._files.file.share_read

    @property
    def counters(self) -> Mapping[str, int]:
        """What was read, and what was left out."""
        return {
            "lines": self._lines,
            "long_lines": self._long,
            "torn_lines": self._files.torn_lines,
            "unmatched_lines": self._facts.unmatched,
            "dropped_peers": self._facts.peers.dropped,
            "implausible_times": self._quarantined,
        }

    @property
    def untrue_times(self) -> int:
        """Lines of interest left out because of their time; see `core.source.Dated`."""
        return self._quarantined

    @property
    def line_forms(self) -> Mapping[str, tuple[int, int]]:
        """Lines read and lines unread by form; those without a time under "untimed"."""
        return self._facts.line_forms

    @property
    def net_lines(self) -> int:
        """Lines of Core's category "net"."""
        return self._net

    @property
    def skipped(self) -> Skipped:
        """See `core.source.Skipping`."""
        return self._files.skipped

    def poll(self) -> Slice | None:
        """Return the events of the next megabyte of lines; None when there is no whole new line."""
        if self._ended:
            return None
        while True:
            file = self._files.file
            before = (file.offset, len(file.pending))
            changed = self._files.fill(CHUNK)
            if self._files.file is not file:
                self._skipping = False
            if self._files.finished:
                self._note_tear()
            chunk = self._whole_lines(idle=not changed)
            if chunk:
                self._patience = False
                self._note_zeros(chunk)
                return self._slice(chunk)
            if self._files.finished:
                return self._finish()
            if not changed and before == (file.offset, len(file.pending)):
                return None

    def close(self) -> None:
        """Close the file; no more polls."""
        self._ended = True
        self._files.close()

    def _finish(self) -> Slice:
        """Return the last slice: nothing in it, but the end of time as watermark."""
        file, position = self._files.file, self._position()
        self._files.torn_lines += bool(file.pending)
        self.close()
        if file.torn:
            raise SourceError(self._torn_text())
        if self._early:
            raise SourceError(
                f"log file '{file.path}': none of its {self._early:,} lines of interest has a time between "
                "2009 and tomorrow; is the clock of this machine right?"
            )
        if self._lines and not self._before_ns and self.line_forms[UNTIMED][1]:
            raise SourceError(self._timeless_text())
        if self._lines and not self._before_ns:
            raise SourceError(
                f"log file '{file.path}' is no log of Bitcoin Core: "
                "no line begins with a time such as 2026-01-31T12:00:00Z"
            )
        return Slice(self._name, (), END_OF_TIME_NS, position)

    def _note_tear(self) -> None:
        """Report a log that ends too early before its last lines are given: the missing part may belong to them."""
        file = self._files.file
        half = len(file.pending) - (file.pending.rfind(b"\n") + 1)
        if file.torn:
            self.faults.note(str(file.path), self._torn_text())
        elif half:
            at = file.offset + len(file.pending) - half
            self.faults.note(str(file.path), f"{file.path} at byte {at}: torn line")

    def _note_zeros(self, chunk: bytes) -> None:
        """Report zeros, which a crash leaves: Bitcoin Core (LogEscapeMessage) writes none."""
        at = -1 if self._options.follow else chunk.find(b"\0")
        if at >= 0:
            file = self._files.file
            self.faults.note(str(file.path), f"{file.path} at byte {file.offset + at}: zeros instead of a line")

    def _timeless_text(self) -> str:
        return (
            f"log file '{self._files.file.path}': Bitcoin Core writes its lines without a time; "
            "start it without logtimestamps=0"
        )

    def _torn_text(self) -> str:
        file = self._files.file
        return f"log file '{file.path}' is torn after {file.offset + len(file.pending)} bytes: {file.torn.lower()}"

    def _whole_lines(self, *, idle: bool) -> bytes:
        """Return the pending bytes up to the last newline; hold a start at their end back until more is there."""
        file = self._files.file
        if self._skipping or (len(file.pending) > LONGEST_LINE and file.pending.rfind(b"\n") < 0):
            self._skip_long()
        chunk = file.pending[: file.pending.rfind(b"\n") + 1]
        start = _last_start(chunk)
        if start < 0 or chunk.count(b"\n", start) >= BANNER_LINES + 8 or self._files.finished:
            return chunk
        if start:
            return chunk[:start]
        if (idle and self._patience) or len(file.pending) >= CHUNK:
            return chunk
        self._patience = idle
        return b""

    def _skip_long(self) -> None:
        """Leave out what is pending of a line that is too long."""
        file = self._files.file
        end = file.pending.find(b"\n") + 1
        if not self._skipping:
            self._long += 1
            self._lines += 1
        self._skipping = not end
        file.consume(end or len(file.pending))

    def _slice(self, chunk: bytes) -> Slice:
        lines = find_lines(chunk, self._prefixes, self._latest_true_ns(), self._start_code)
        self._quarantine(lines)
        self._timeless = 0 if lines.first_ns else self._timeless + len(lines.untimed)
        if self._options.follow and self._timeless >= TIMELESS:
            raise SourceError(self._timeless_text())
        self._lines += lines.lines
        self._long += lines.long
        self._net += lines.net
        if self._files.lost and lines.first_ns:
            self._facts.gap(self._latest_ns or lines.first_ns, lines.first_ns, self._files.lost)
            self._files.lost = ""
        self._facts.read(chunk, lines)
        self._latest_ns = max(self._latest_ns, lines.last_ns, int(lines.time_ns.max(initial=0)))
        self._files.file.consume(len(chunk))
        until = max(self._latest_ns - LATENESS_NS, 0)
        return Slice(self._name, self._facts.batches(), until, self._position())

    def _quarantine(self, lines: Lines) -> None:
        """Give quarantined lines the time of the line before; those before any plausible time get the first one."""
        first = (lines.codes == QUARANTINED) & (lines.time_ns == 0)
        self._quarantined += int((lines.codes == QUARANTINED).sum())
        if self._before_ns:
            lines.time_ns[first] = self._before_ns
        else:
            self._early += int(first.sum())
        if self._early and lines.first_ns:
            self._facts.gap(lines.first_ns, lines.first_ns, IMPLAUSIBLE, self._early)
            self._early = 0
        self._before_ns = lines.last_ns or self._before_ns

    def _position(self) -> dict[str, object]:
        return {
            **self._files.state(),
            **self._facts.peers.state(),
            "limits": self._facts.limits.state(),
            "skipping": self._skipping,
            "lost": self._files.lost,
            "latest_ns": self._latest_ns,
            "before_ns": self._before_ns,
            "early": self._early,
            "boot_ns": self._facts.boot_ns,
            "running": self._facts.running,
        }

    def _restore(self, position: Mapping[str, object]) -> None:
        try:
            self._facts.peers.restore(position)
            self._facts.limits.restore(position.get("limits", []))
            self._latest_ns, self._facts.boot_ns = int(str(position["latest_ns"])), int(str(position["boot_ns"]))
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise PositionError(f"cannot resume {self._name!r}: its saved position is damaged ({error!r})") from None
        earlier, early = position.get("before_ns", self._latest_ns), position.get("early", 0)
        self._before_ns = earlier if isinstance(earlier, int) else self._latest_ns
        self._early = early if isinstance(early, int) else 0
        self._skipping = position.get("skipping") is True
        self._facts.running = position.get("running") is True
        self._files.lost = self._files.lost or str(position.get("lost", ""))
        self._forget_after(self._options.believed_ns)

    def _forget_after(self, believed_ns: int) -> None:
        """Forget times that a wrong clock gave; the place in the file stays."""
        if max(self._latest_ns, self._before_ns) > believed_ns:
            self._latest_ns = self._before_ns = 0
        self._facts.peers.forget_after(believed_ns)


def _last_start(chunk: bytes) -> int:
    """Return where the last line of a starting node begins, -1 without one."""
    found = chunk.rfind(b" Bitcoin ")
    if found < 0 or chunk[found - 1 : found] not in (b"Z", b"]", b")"):
        return -1
    return chunk.rfind(b"\n", 0, found) + 1
