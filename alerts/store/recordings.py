"""Which recorded files belong to which incident. The recorder of a service writes this, everything else reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, insert, select

from alerts.store.database import Database, stored_text
from alerts.store.schema import incidents, recordings

MOST_LISTED = 200


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """One events file with a part of an incident's time. path: where the service put it. size: bytes."""

    path: str
    from_ns: int
    to_ns: int
    size: int

    def as_object(self) -> dict[str, object]:
        """Return the object for API and command line; times in unix seconds."""
        return {"path": self.path, "from": self.from_ns / 1e9, "to": self.to_ns / 1e9, "size": self.size}


class Recordings:
    """The recorded files of incidents in one database, for any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replace(self, incident_id: str, files: Sequence[RecordedFile]) -> bool:
        """Store the files of an incident in place of those before; return whether the incident is stored.

        StoreUnavailableError when the database does not take it.
        """
        id_ = stored_text(incident_id)
        rows = [
            {
                "incident_id": id_,
                "path": stored_text(one.path),
                "from_ns": one.from_ns,
                "to_ns": one.to_ns,
                "size": one.size,
            }
            for one in files
        ]

        def work(connection: Connection) -> bool:
            if not connection.execute(select(exists().where(incidents.c.id == id_))).scalar():
                return False
            connection.execute(delete(recordings).where(recordings.c.incident_id == id_))
            if rows:
                connection.execute(insert(recordings), rows)
            return True

        return self._database.write(work)

    def of(self, incident_id: str) -> list[RecordedFile]:
        """Return the files of an incident by time, at most `MOST_LISTED`."""
        listed = (recordings.c.path, recordings.c.from_ns, recordings.c.to_ns, recordings.c.size)
        wanted = (
            select(*listed)
            .where(recordings.c.incident_id == stored_text(incident_id))
            .order_by(recordings.c.from_ns, recordings.c.path)
            .limit(MOST_LISTED)
        )
        rows = self._database.read(lambda connection: connection.execute(wanted).all())
        return [RecordedFile(row.path, row.from_ns, row.to_ns, row.size) for row in rows]
