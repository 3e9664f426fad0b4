"""Source `peer-observer:FILE`: an archive that peer-observer's archiver wrote, plain (`.bin`) or packed (`.bin.zst`).

Records are in the order in which the archiver received them; extractors publish beside each other, so the watermark
stays a little behind. A plain file may be followed while it grows; the next file of a rotation is another source.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.source import END_OF_TIME_NS, SourceOptions
from watchdog.sources.faults import SourceFaults
from watchdog.sources.nats.decoder import EventDecoder
from watchdog.sources.nats.descriptors import parsed
from watchdog.sources.nats.framing import RecordFile
from watchdog.sources.nats.offered import KINDS

__all__ = ["KINDS", "ArchiveSource"]

RECORDS, JOINED_RECORDS = 5_000, 50_000  # of one slice; the latter where no reader waits for a single one
SLICE_BYTES = 32 << 20
LATENESS_NS = 2_000_000_000
_SUBJECT = "records"  # under which messages are counted
_TORN = "archive-torn"


class ArchiveSource:
    """An archive of peer-observer as a source; see `watchdog.core.source.Source`.

    SourceError: it cannot be opened, is no archive, holds no event of peer-observer, or the position does not fit it.
    A file that is cut off, or damaged, gives what is before the damage, a `source:gap` and a fault.
    """

    def __init__(self, path: str, options: SourceOptions) -> None:
        self.name = f"peer-observer:{path}"
        self.faults = SourceFaults()
        self._path, self._options = path, options
        position = dict(options.position or {})
        offset, until_ns = position.pop("offset", 0), position.pop("until_ns", 0)
        protocol = options.settings.get("protocol")
        self._decoder = EventDecoder(self.name, options, position, protocol if isinstance(protocol, str) else "")
        if not isinstance(offset, int) or not isinstance(until_ns, int) or offset < 0:
            raise PositionError(f"{self.name}: cannot resume: the position is of another form")
        self._until_ns = until_ns if until_ns <= options.believed_ns else 0
        self._ended = self._begun = False
        self._file = RecordFile(Path(path), grows=options.follow)
        if offset:
            self._resume(offset)

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
        """Share of the file that was read."""
        return 1.0 if self._ended else self._file.progress

    @property
    def counters(self) -> Mapping[str, int]:
        """Records by outcome."""
        read, unread = self._counts
        return {"messages": read, "unread_messages": unread, "other_messages": self._decoder.others}

    @property
    def message_counts(self) -> Mapping[str, tuple[int, int]]:
        """Records read and unread; see `watchdog.core.source.MessageCounting`."""
        return dict(self._decoder.counts)

    @property
    def untrue_times(self) -> int:
        """Events left out because of their time; see `watchdog.core.source.Dated`."""
        return self._decoder.untrue

    def poll(self) -> Slice | None:
        """Return the events of the next records; the last slice has the watermark END_OF_TIME_NS."""
        if self._ended or not self._begin():
            return None
        records = self._records()
        if records or not (self._file.whole or self._file.torn):
            return self._slice(self._decoder.read(records, self._until_ns)) if records else None
        return self._last()

    def close(self) -> None:
        """Close the file; no more polls."""
        self._ended = True
        self._file.close()

    @property
    def _counts(self) -> tuple[int, int]:
        return self._decoder.counts.get(_SUBJECT, (0, 0))

    def _begin(self) -> bool:
        """Read the head once; return whether it is there. SourceError when the file is no archive."""
        if self._begun:
            return True
        head = self._file.begin()
        if head is None and not self._file.torn and self._options.follow and not self._file.whole:
            return False
        if head is None or (head and parsed("watchdog.nats.ArchiveHead", head) is None):
            why = self._file.torn or "it does not begin with the head of one"
            raise SourceError(f"'{self._path}' is no archive of peer-observer: {why}")
        self._begun = True
        return True

    def _records(self) -> list[tuple[str, bytes]]:
        most = JOINED_RECORDS if self._options.at_once and not self._options.follow else RECORDS
        found: list[tuple[str, bytes]] = []
        size = 0
        while len(found) < most and size < SLICE_BYTES and (record := self._file.next()) is not None:
            found.append((_SUBJECT, record.data))
            size += len(record.data)
        return found

    def _slice(self, batches: list[Batch], until_ns: int | None = None) -> Slice:
        self._until_ns = max(self._until_ns, self._decoder.latest_ns - LATENESS_NS) if until_ns is None else until_ns
        caught_up = self._options.follow and self._file.progress >= 1.0
        behind_ns = max(0, self._decoder.latest_ns - LATENESS_NS)  # an ended file may have grown when it is resumed
        position = {**self._decoder.state(), "offset": self._file.offset, "until_ns": min(self._until_ns, behind_ns)}
        return Slice(self.name, tuple(batches), self._until_ns, position, caught_up)

    def _last(self) -> Slice:
        """Return the last slice, with the damage that ended it."""
        read, unread = self._counts
        if unread and not read:
            self.close()
            raise SourceError(f"'{self._path}': none of its {unread:,} records is an event of peer-observer")
        if self._decoder.untrue and not self._decoder.latest_ns:
            self.close()
            raise SourceError(
                f"'{self._path}': none of its {self._decoder.untrue:,} events has a time between 2009 and tomorrow; "
                "is the clock of this machine right?"
            )
        batches: list[Batch] = []
        if self._file.torn:
            at = f"{self._path}: torn at byte {self._file.offset}: {self._file.torn}"
            self.faults.note(self._path, at)
            latest_ns = self._decoder.latest_ns
            if latest_ns and self._options.wants("source:gap"):
                batches.append(self._decoder.gap(latest_ns, latest_ns, _TORN))
        last = self._slice(batches, END_OF_TIME_NS)
        self.close()
        return last

    def _resume(self, offset: int) -> None:
        """Go to the place of the position. PositionError when the file is shorter: it is another one."""
        self._begin()
        if not self._file.skip(offset):
            self.close()
            raise PositionError(f"'{self._path}' is not the archive that was read before: it is shorter")
