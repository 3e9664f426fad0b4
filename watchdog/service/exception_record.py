"""When each exception of rules matched last, kept in the checkpoint folder for `watchdog check`.

An exception that matches nothing is a needless hole: an attacker may match it one day.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rules.exceptions import RuleException
from watchdog.core.durations import DAY_NS
from watchdog.core.episode import Episode
from watchdog.pipeline.atomic_file import write_whole

NAME: Final = "exceptions.json"
USELESS_NS: Final = 7 * DAY_NS
LARGEST: Final = 1 << 20  # bytes of the file
_LOG = logging.getLogger("watchdog.service")


@dataclass(frozen=True, slots=True)
class ExceptionRecord:
    """Wall clock. since_ns: when a service first had the exception. last_ns: when it last found that it had matched."""

    since_ns: int
    last_ns: int | None = None


def read_records(folder: Path) -> dict[str, ExceptionRecord]:
    """Return what is kept, by the exception's id; empty when there is nothing, or nothing that can be read."""
    try:
        with (folder / NAME).open("rb") as file:
            found = json.loads(file.read(LARGEST))
        return {
            str(id_): ExceptionRecord(int(one["since"]), None if one["last"] is None else int(one["last"]))
            for id_, one in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}  # the file is written again; `check` says nothing of what it does not know


def useless_lines(
    exceptions: Sequence[RuleException], records: Mapping[str, ExceptionRecord], now_ns: int
) -> list[str]:
    """Return a line for each exception that has ended, or has matched nothing for a week of service."""
    lines = []
    for one in exceptions:
        known = records.get(one.id)
        if one.until_ns <= now_ns:
            lines.append(f"{one.place}: this exception has ended ({one.reason}): remove it")
        elif known is not None and now_ns - max(known.since_ns, known.last_ns or 0) >= USELESS_NS:
            days = (now_ns - max(known.since_ns, known.last_ns or 0)) // DAY_NS
            lines.append(f"{one.place}: this exception has matched nothing for {days} days ({one.reason}): remove it?")
    return lines


class ExceptionRecords:
    """Follows the exceptions in force; `note` is called now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._fault = folder, Episode()
        self._records = read_records(folder)
        self._matched: dict[RuleException, int] = {}

    def note(self, exceptions: Sequence[RuleException], now_ns: int, now_s: float) -> None:
        """Note which have matched since the last call, and write the file when anything is new. now_s: monotonic.

        exceptions: of the rules that run, which a reload with equal rules leaves as they are.
        """
        before = dict(self._records)
        fresh: dict[str, ExceptionRecord] = {}
        counts: dict[RuleException, int] = {}
        for one in exceptions:
            known = fresh.get(one.id) or self._records.get(one.id) or ExceptionRecord(now_ns)
            counts[one] = one.use.matched
            if one.use.matched > self._matched.get(one, 0):
                known = ExceptionRecord(known.since_ns, now_ns)
            fresh[one.id] = known
        self._records, self._matched = fresh, counts
        if fresh == before:
            return
        content = {id_: {"since": one.since_ns, "last": one.last_ns} for id_, one in fresh.items()}
        try:
            write_whole(self._folder / NAME, json.dumps(content).encode())
        except OSError as error:
            if self._fault.failed(str(error)):
                _LOG.warning("exceptions: %s cannot be written: %s", NAME, error.strerror)
            self._records = before
        else:
            self._fault.worked(now_s)
