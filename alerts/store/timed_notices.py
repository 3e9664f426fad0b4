"""Reminders and escalations in the history: each is stored with its decisions and the clock that says it was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from alerts.escalation import CaseClock
from alerts.notice import Notice
from alerts.store.case_clocks import OpenCase, change_clocks, escalated_to, keep_clock, standing, standing_now
from alerts.store.case_decisions import MadeDecision, store_decisions
from alerts.store.database import Database
from alerts.store.writer import store_notices

CaseJson = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Given:
    """What one look at a case came to."""

    clock: CaseClock
    notices: Sequence[Notice]
    made: Sequence[MadeDecision]


class TimedNotices:
    """Reads and changes the clocks of unresolved cases. Its methods block; StoreUnavailableError: try again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def standing(self) -> list[OpenCase]:
        """Return the unresolved cases that have a clock."""
        return self._database.read(standing)

    def change(self, changed: Callable[[CaseClock], CaseClock]) -> int:
        """Change the clocks of all of them; return how many differ."""
        return self._database.write(lambda connection: change_clocks(connection, changed), durable=True)

    def escalated(self, roots: Collection[str]) -> dict[str, frozenset[str]]:
        """Return the receivers to which these cases have escalated and that must hear their end, by root."""
        return self._database.read(lambda connection: escalated_to(connection, roots))

    def give(self, one: OpenCase, made: Callable[[OpenCase, CaseJson], Given | None]) -> Given | None:
        """Store what `made` returns for a case as it is at this moment, all of it or nothing.

        None: nothing is due, because an operator acted in the meantime.
        """

        def store(connection: Connection) -> Given | None:
            found = standing_now(connection, one)
            given = None if found is None else made(found[0], json.loads(found[1]))
            if given is None:
                return None
            store_notices(self._database, connection, given.notices)
            store_decisions(self._database, connection, given.made)
            keep_clock(connection, one.root, given.clock)
            return given

        return self._database.write(store, durable=True)
