"""Several incident books as one: rules that wait for different sources have different times, and a book for each time.

An incident belongs to one rule and a rule to one part, so each incident is in exactly one book.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain

from alerts.book import IncidentBook
from alerts.book_record import BookRecord, BooksRecord, decoded, encoded
from alerts.incident import Incident, IncidentChange, Policy
from alerts.incident_table import UnknownIncidentError


class IncidentBooks:
    """The books of all parts of the rules; `books[number]` is the book of one part.

    parts: the rules of each part, by its name. The first part also keeps the incidents of rules that no part has now.
    Caps of the policy apply to each book.
    """

    def __init__(self, parts: Mapping[str, Collection[str]], policy: Policy | None = None) -> None:
        self._names = tuple(parts)
        self._books = [IncidentBook(policy) for _ in parts]
        self._number = {rule: number for number, rules in enumerate(parts.values()) for rule in rules}

    def __len__(self) -> int:
        """Return the number of books."""
        return len(self._books)

    def __getitem__(self, number: int) -> IncidentBook:
        """Return the book of a part."""
        return self._books[number]

    def number_of(self, rule: str) -> int:
        """Return the number of the book that holds a rule's incidents."""
        return self._number.get(rule, 0)

    def holder(self, id_: str) -> int | None:
        """Return the number of the book that has an incident; None when the id is unknown or dropped."""
        return next((number for number, book in enumerate(self._books) if id_ in book.table), None)

    def book_with(self, id_: str) -> IncidentBook:
        """Return the book that has an incident, for an operator's action. UnknownIncidentError: no book has it."""
        number = self.holder(id_)
        if number is None:
            raise UnknownIncidentError(f"no incident {id_!r}")
        return self._books[number]

    def incidents(self) -> list[Incident]:
        """Return all remembered incidents by opening time, then id."""
        incidents = chain.from_iterable(book.table.incidents() for book in self._books)
        return sorted(incidents, key=lambda incident: (incident.opened_ns, incident.id))

    def incident(self, id_: str) -> Incident | None:
        """Return one incident; None when the id is unknown or dropped."""
        number = self.holder(id_)
        return None if number is None else self._books[number].table.incident(id_)

    def clear_others(self, kept: Collection[str]) -> list[IncidentChange]:
        """Clear everything that fires under a rule not in `kept`, in each book at that book's time."""
        return [change for book in self._books for change in book.clear_others(kept)]

    def snapshot(self) -> bytes:
        """Return the whole state as msgpack."""
        books = {name: book.record() for name, book in zip(self._names, self._books, strict=True)}
        return encoded(BooksRecord(books=books))

    @classmethod
    def restore(cls, blob: bytes, parts: Mapping[str, Collection[str]], policy: Policy | None = None) -> IncidentBooks:
        """Return the books of a snapshot. StateError: the bytes are damaged or of another version.

        When the parts have changed, incidents and held findings move to the part that has their rule now.
        """
        saved = decoded(blob, BooksRecord)
        books = cls(parts, policy)
        records = [BookRecord() for _ in books._books]
        for name, record in saved.books.items():
            books._distribute(name, record, records)
        books._books = [IncidentBook(policy, record) for record in records]
        return books

    def _distribute(self, name: str, saved: BookRecord, records: list[BookRecord]) -> None:
        """Move a saved book's content to where it belongs now. No book's time is behind what it receives."""
        own = records[self._names.index(name) if name in self._names else 0]
        for counter, count in saved.counters.items():
            own.counters[counter] = own.counters.get(counter, 0) + count
        if name in self._names:
            own.now_ns = max(own.now_ns, saved.now_ns)
        for life in saved.settled:
            records[self.number_of(life.rule)].settled.append(life)
        for life in saved.live:
            new = records[self.number_of(life.rule)]
            new.live.append(life)
            new.now_ns = max(new.now_ns, saved.now_ns)
        for finding in saved.pending:
            records[self.number_of(finding.rule)].pending.append(finding)
