"""Several incident books as one: rules that wait for different sources have different times, and a book for each time.

An incident is of one rule, and a rule of one part, so it lies in one book; actions and questions by id go to that one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain

import msgspec

from alerts.book import BOOK_VERSION, TAKEN_OVER, BookRecord, IncidentBook, UnknownIncidentError, plain
from alerts.incident import Incident, IncidentChange, Policy
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding


@dataclass(slots=True)
class _Saved:
    """A snapshot: books by the names of their parts."""

    version: int
    books: dict[str, BookRecord] = field(default_factory=dict)


class IncidentBooks:
    """The books of all parts of the rules, by number; what each promises is said at `IncidentBook`.

    parts: the rules of each part, by its name. The first part also keeps the incidents of rules that are in none (any
    more). Caps of the policy are those of each book.
    """

    def __init__(self, parts: Mapping[str, Collection[str]], policy: Policy | None = None) -> None:
        self._names = tuple(parts)
        self._books = [IncidentBook(policy) for _ in parts]
        self._number = {rule: number for number, rules in enumerate(parts.values()) for rule in rules}

    def number_of(self, rule: str) -> int:
        """The book of a rule."""
        return self._number.get(rule, 0)

    def holder(self, id_: str) -> int | None:
        """The book that has an incident; None when it is not known (any more)."""
        return next((number for number, book in enumerate(self._books) if book.knows(id_)), None)

    def __len__(self) -> int:
        """How many books there are."""
        return len(self._books)

    def now_ns(self, number: int) -> int:
        """Up to when a book was advanced, far in the past before that."""
        return self._books[number].now_ns

    def apply(self, finding: Finding) -> list[IncidentChange]:
        """Take a finding into the book of its rule."""
        return self._books[self.number_of(finding.rule)].apply(finding)

    def advance(self, number: int, watermark_ns: int) -> list[IncidentChange]:
        """No finding of this part before `watermark_ns` is expected."""
        return self._books[number].advance(watermark_ns)

    def firing(self, number: int) -> frozenset[tuple[str, str]]:
        """Rules and members (keys as text) of a part that have fired and not cleared."""
        return self._books[number].firing

    def rewind(self, number: int, now_ns: int, *, clears: bool = True) -> list[IncidentChange]:
        """A clock was ahead: the part begins anew at `now_ns`, see `IncidentBook.rewind`."""
        return self._books[number].rewind(now_ns, clears=clears)

    def drain(self, number: int) -> list[IncidentChange]:
        """The input of this part has ended."""
        return self._books[number].drain()

    def incidents(self) -> list[Incident]:
        """All remembered incidents by opening time, then id."""
        found = chain.from_iterable(book.incidents() for book in self._books)
        return sorted(found, key=lambda one: (one.opened_ns, one.id))

    def incident(self, id_: str) -> Incident | None:
        """One incident, or None when it is not known (any more)."""
        number = self.holder(id_)
        return None if number is None else self._books[number].incident(id_)

    def acknowledge(self, id_: str, who: str, time_ns: int) -> list[IncidentChange]:
        """An operator has seen it. IncidentError when it is unknown or resolved."""
        return self._known(id_).acknowledge(id_, who, time_ns)

    def resolve(self, id_: str, who: str, time_ns: int) -> list[IncidentChange]:
        """An operator says it is over. IncidentError when it is unknown."""
        return self._known(id_).resolve(id_, who, time_ns)

    def clear_others(self, kept: Collection[str]) -> list[IncidentChange]:
        """Of rules that are not kept nothing is known to fire any more; each book says so at its own time."""
        return [change for book in self._books for change in book.clear_others(kept)]

    def snapshot(self) -> bytes:
        """The whole state as msgpack."""
        books = {name: book.record() for name, book in zip(self._names, self._books, strict=True)}
        return msgspec.msgpack.encode(_Saved(BOOK_VERSION, books), enc_hook=plain)

    @classmethod
    def restore(cls, blob: bytes, parts: Mapping[str, Collection[str]], policy: Policy | None = None) -> IncidentBooks:
        """The books of a snapshot; StateError when the bytes are of another version or damaged.

        When the parts are others than they were, incidents and findings move to the part that has their rule now.
        """
        try:
            saved = msgspec.msgpack.decode(blob, type=_Saved)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StateError(f"incident books: not a snapshot of this version ({error})") from None
        if saved.version not in TAKEN_OVER:
            raise StateError(f"incident books: version {saved.version}, this program reads {BOOK_VERSION}")
        books = cls(parts, policy)
        records = [BookRecord() for _ in books._books]
        for name, record in saved.books.items():
            books._deal(name, record, records)
        books._books = [IncidentBook.of(record, policy) for record in records]
        return books

    def _known(self, id_: str) -> IncidentBook:
        number = self.holder(id_)
        if number is None:
            raise UnknownIncidentError(f"no incident {id_!r}")
        return self._books[number]

    def _deal(self, name: str, saved: BookRecord, records: list[BookRecord]) -> None:
        """Put what a saved book holds where it belongs now. A book is never behind what it got."""
        own = records[self._names.index(name) if name in self._names else 0]
        for counter, count in saved.counters.items():
            own.counters[counter] = own.counters.get(counter, 0) + count
        if name in self._names:
            own.now_ns = max(own.now_ns, saved.now_ns)
        for case in saved.settled:
            records[self.number_of(case.rule)].settled.append(case)
        for case in saved.live:
            new = records[self.number_of(case.rule)]
            new.live.append(case)
            new.now_ns = max(new.now_ns, saved.now_ns)
        for finding in saved.pending:
            records[self.number_of(finding.rule)].pending.append(finding)
