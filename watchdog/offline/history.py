"""The history of a replay: its incidents, stored in a database and never sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from alerts.books import IncidentBooks
from alerts.case.document import StoredCase
from alerts.incident import IncidentChange
from alerts.notice import ChangeRecord
from alerts.store.database import Database
from alerts.store.writer import IncidentWriter

BATCH = 500
"""Changes in one transaction."""


class History:
    """Collects the changes of a run and stores them in batches. A repeated run stores nothing new."""

    def __init__(self, database: Database, titles: Mapping[str, str]) -> None:
        self._writer, self._titles = IncidentWriter(database), titles
        self._records: list[ChangeRecord] = []
        self._latest: dict[str, IncidentChange] = {}
        self.stored = 0  # changes that were new
        self.held = False  # whether to store no more: a later run will have better input

    def take(self, changes: Sequence[IncidentChange], books: IncidentBooks) -> None:
        """Collect changes just made, and the books that made them. StoreError when a batch cannot be stored."""
        if self.held:
            return
        for change in changes:
            self._latest[change.id] = change
            self._add(change, books)
        if len(self._records) >= BATCH:
            self._flush()

    def settle(self, books: IncidentBooks, cases: Sequence[StoredCase] = ()) -> None:
        """Store the changes, each changed incident's present state (its counts grow between changes too), and cases."""
        if self.held:
            return
        for change in self._latest.values():
            self._add(change, books)
            if len(self._records) >= BATCH:
                self._flush()
        self._flush()
        self._writer.record((), (), cases)

    def _add(self, change: IncidentChange, books: IncidentBooks) -> None:
        incident = books.incident(change.id)
        if incident is not None:  # forgotten at once where a policy remembers none
            self._records.append(ChangeRecord(incident, change, self._titles.get(incident.rule, "")))

    def _flush(self) -> None:
        self.stored += self._writer.record(self._records, ()).new
        self._records.clear()


@contextmanager
def opened_history(url: str | None, titles: Mapping[str, str]) -> Iterator[History | None]:
    """Open a history in the database of `url`, created if missing; None without a URL."""
    if url is None:
        yield None
        return
    database = Database.open(url)
    try:
        yield History(database, titles)
    finally:
        database.close()
