"""`capture:DIR`: the files that Bitcoin Core writes with -capturemessages, read once or followed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from watchdog.core.batch import Batch, Slice
from watchdog.core.enrich import Enricher
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.source import END_OF_TIME_NS, Skipped, SourceOptions
from watchdog.sources.capture.batches import BatchMaker
from watchdog.sources.capture.connections import ConnectionTracker
from watchdog.sources.capture.cut import Cut
from watchdog.sources.capture.files import HEADER_BYTES
from watchdog.sources.capture.merge import CaptureMerge
from watchdog.sources.capture.new_blocks import NewBlocks
from watchdog.sources.capture.prune import Pruner, prune_fault, stored_place
from watchdog.sources.capture.rows import message_rows
from watchdog.sources.capture.tree import ArchiveTree, CaptureTree, DiskTree
from watchdog.sources.faults import SourceFaults

ARCHIVE_ENDINGS: Final = (".tar", ".tar.xz", ".tar.gz")
KINDS: Final[frozenset[str]] = frozenset(
    [
        "net:inbound_message",
        "net:outbound_message",
        "net:inbound_connection",
        "net:outbound_connection",
        "net:closed_connection",
        "p2p:version",
        "p2p:addr",
        "p2p:addr_entry",
        "p2p:inv",
        "p2p:getdata",
        "p2p:notfound",
        "p2p:headers",
        "p2p:getheaders",
        "p2p:getblocks",
        "p2p:ping",
        "p2p:pong",
        "p2p:feefilter",
        "p2p:sendcmpct",
        "p2p:cmpctblock",
        "p2p:getblocktxn",
        "p2p:blocktxn",
        "p2p:tx",
        "p2p:tx_input",
        "p2p:block",
        "p2p:new_block",
        "chain:block_age",
        "p2p:getaddr",
        "p2p:mempool",
        "p2p:reject",
        "p2p:filter",
        "p2p:cf",
        "p2p:unknown",
        "p2p:malformed",
        "source:gap",
    ]
)


class CaptureSource:
    """A -capturemessages tree (or a tar of one) as slices, all files merged by time.

    A finite read gives slices of about 20,000 messages and at most 15 minutes; when following, what is there. The
    last slice of a finite read has the watermark END_OF_TIME_NS. A resumed source gives exactly what
    was not given yet.
    """

    def __init__(self, path: str, options: SourceOptions, name: str = "", tree: CaptureTree | None = None) -> None:
        """path: the folder of peer folders, or an archive (see ARCHIVE_ENDINGS).

        name: `capture:PATH` unless given. tree: read this instead of the files at path. SourceError when there is
        nothing to read, StateError when options.position is damaged.
        """
        self._name = name or f"capture:{path}"
        archive = path.endswith(ARCHIVE_ENDINGS)
        position = options.position
        self._tracker = ConnectionTracker() if position is None else ConnectionTracker.resumed(_part(position, "who"))
        self._follow = options.follow and not archive
        self._since_ns = 0 if position is not None else options.since_ns
        files = None if position is None else _part(position, "read")
        chosen = tree or (ArchiveTree(path) if archive else DiskTree(path))
        self._tracker.forget_after(options.believed_ns // 1_000)
        self._merge = CaptureMerge(
            chosen,
            self._follow,
            options.latest_ns,
            files,
            path,
            believed_ns=options.believed_ns,
            since_us=self._since_ns // 1_000,
        )
        self._pruner = self._prepared(path, options) if self._follow else None
        self._merge.open()
        if position is None:
            self._enter(chosen)
        if not self._follow and not self._merge.files.bytes_total:
            raise SourceError(f"no capture files in {path!r}; expected folders <address>_<port> with msgs_recv.dat")
        blocks = NewBlocks(None if position is None else position.get("blocks"))
        self._maker = BatchMaker(self._name, options, Enricher(options.asmap_path, options.lists), blocks)
        self._until_ns = 0
        self._ended = position is not None and bool(position.get("ended")) and not self._follow

    @property
    def name(self) -> str:
        """As given on the command line."""
        return self._name

    @property
    def faults(self) -> SourceFaults:
        """Damaged files of a finite read."""
        return self._merge.damage.faults

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that it can give."""
        return KINDS

    @property
    def ended(self) -> bool:
        """Whether a finite read is over."""
        return self._ended

    @property
    def progress(self) -> float:
        """Share of the known bytes that was given, 0.0 to 1.0."""
        if self._ended:
            return 1.0
        return min(1.0, max(0, self._merge.files.bytes_taken) / max(1, self._merge.files.bytes_total))

    @property
    def given_ago_s(self) -> float | None:
        """See `core.source.Waiting`: a large tree is looked at in turn, and early records wait for the rest."""
        return self._merge.given_ago_s

    @property
    def untrue_times(self) -> int:
        """Records left out because of their time; see `core.source.Dated`."""
        return self._merge.damage.left_out

    @property
    def counters(self) -> Mapping[str, int]:
        """Files that `prune` removed, and those that this user may not remove; empty without `prune`."""
        pruner = self._pruner
        return {} if pruner is None else {"files_removed": pruner.removed, "files_not_removable": pruner.refused}

    @property
    def skipped(self) -> Skipped:
        """See `core.source.Skipping`."""
        if self._since_ns and not self._follow:
            return Skipped(note="an archive cannot be passed over: it is read from its start")
        passed = self._merge.files.passed
        return Skipped(passed.size, passed.first_us * 1_000 if passed.first_us else None)

    def _enter(self, tree: CaptureTree) -> None:
        """Enter the connections that began before the first record that is read, by the first records of each."""
        for folder in sorted(self._merge.files.passed.entered):
            sent, received = (tree.read(folder, received, 0, HEADER_BYTES) for received in (False, True))
            self._tracker.enter(folder, sent, received, self._since_ns // 1_000)

    def poll(self) -> Slice | None:
        """Return the next slice, None when nothing is new (for good if `ended`)."""
        if self._ended:
            return None
        if self._pruner is not None and self._pruner.due:
            self._merge.files.prune(self._pruner)
        cut = self._merge.cut()
        if not self._follow and self._merge.empty:
            return self._last(cut)
        return self._slice(self._batches(cut), cut.until_us * 1000) if cut else None

    def close(self) -> None:
        """Close the kernel's notices of a followed folder; no file is open between polls."""
        self._merge.close()
        if self._pruner is not None:
            self._pruner.close()

    def _prepared(self, path: str, options: SourceOptions) -> Pruner | None:
        """Return what removes files, if that is wanted; SourceError when this user may not remove any."""
        limits = options.settings.get("prune")
        keep = limits.get("keep") if isinstance(limits, Mapping) else None
        if not isinstance(keep, int):
            return None
        if fault := prune_fault(Path(path)):
            raise SourceError(f"{self._name!r}: prune: {fault}")
        marks = self._merge.files.marks.__contains__
        return Pruner(path, keep, lambda file: stored_place(file, options.stored(self._name), marks))

    def _last(self, cut: Cut | None) -> Slice:
        batches = self._batches(cut, ended=True) if cut else []
        self._ended = True
        tails = self._merge.tails()
        if tails:
            batches.append(self._maker.damage(tails))
        undated = self._merge.nothing_plausible()
        if undated and not len(self.faults):
            self.faults.note("", undated)
        return self._slice(batches, END_OF_TIME_NS)

    def _batches(self, cut: Cut, ended: bool = False) -> list[Batch]:
        batches = [self._maker.damage(cut.damage)] if cut.damage else []
        if cut.folders:
            batches += self._maker.batches(message_rows(cut, self._tracker, ended))
        return batches

    def _slice(self, batches: list[Batch], until_ns: int) -> Slice:
        self._until_ns = max(self._until_ns, until_ns)
        position = {
            "read": self._merge.position(),
            "who": self._tracker.position(),
            "blocks": self._maker.blocks.saved(),
            "ended": self._ended,
        }
        return Slice(self._name, tuple(batches), self._until_ns, position, self._merge.caught_up)


def _part(position: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = position.get(name)
    if not isinstance(part, Mapping):
        raise PositionError(f"position of a capture source is damaged: expected {name!r}")
    return part
