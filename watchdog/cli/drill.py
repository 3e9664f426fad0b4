"""`watchdog drill`: does an alert reach everyone? One marked case through the running service to every receiver."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from alerts.case.life import WAIT_NS
from alerts.case.why_not import FateObject, fate_lines
from alerts.incident import RANK
from alerts.store.case_fates import fates_of
from alerts.store.database import Database
from alerts.store.drills import Drill, Drills
from watchdog.cli.database import add_database_argument, opened
from watchdog.cli.exits import WRONG
from watchdog.cli.operator import add_who_argument, operator_name
from watchdog.cli.output import json_text, write_output
from watchdog.core.durations import HOUR_NS, SECOND_NS, parse_duration
from watchdog.core.errors import ServiceError
from watchdog.core.finding import Severity
from watchdog.core.text import printable
from watchdog.service.config.attention import CASE_SEVERITIES
from watchdog.service.config.read import DEFAULT_PATH, load_config
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.pid_file import running

SUMMARY = (
    "Test the alerts: send one case that is marked as a DRILL through cases, decisions, every receiver and escalation "
    "of the running service, and report how long each receiver took. It changes no real case and ends by itself. "
    "Exit code 0 when every receiver concerned accepted it, 1 when one did not, 2 when no service runs."
)
TAKEN_S: Final = 15.0  # until a running service has taken it; it looks every second
ESCALATED_S: Final = 10.0  # until its escalations are decided; the service looks every two seconds
ENDED_S: Final = 15.0
SLACK_S: Final = 60.0  # beyond all waits: then the service ends it, should this command be killed
LOOK_S: Final = 0.25
OPENED, ESCALATED = "case.opened", "case.escalated"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog drill`."""
    parser.add_argument(
        "--severity",
        choices=CASE_SEVERITIES,
        default="critical",
        help="of the case (default: critical, which is sent at once; high waits 30 s, warning 60 s, as in real cases)",
    )
    parser.add_argument("--node", default="", metavar="NAME", help="the node it is about (default: the first one)")
    parser.add_argument(
        "--timeout",
        type=_timeout,
        default=60 * SECOND_NS,
        metavar="TIME",
        help="how long receivers may take after the case has opened, 1s to 1h (default: 60s)",
    )
    parser.add_argument("--json", action="store_true", help="the outcome as a JSON object; progress on standard error")
    add_who_argument(parser)
    add_database_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Make the drill; return the exit code."""
    config = _config(args)
    if config is not None and running(config.checkpoint.folder) is None:
        raise ServiceError(
            f"no watchdog service runs with '{config.checkpoint.folder}'; a drill goes through a running one: "
            "start it with 'watchdog run'"
        )
    database = opened(args)
    try:
        return _Command(args, database, config).run()
    finally:
        database.close()


def _timeout(text: str) -> int:
    value = parse_duration(text)
    if value is None or not SECOND_NS <= value <= HOUR_NS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration from 1s to 1h, such as 60s")
    return value


def _config(args: argparse.Namespace) -> ServiceConfig | None:
    """Return the configuration of the service, which names receivers and escalations; None with `--db` alone."""
    if args.config is None and (args.db or not DEFAULT_PATH.exists()):
        return None
    return load_config(args.config or DEFAULT_PATH)


@dataclass
class _Outcome:
    """The result of the drill. arrived: seconds from the request, by receiver and type. held, missing: why."""

    arrived: dict[tuple[str, str], float] = field(default_factory=dict)
    held: dict[tuple[str, str], FateObject] = field(default_factory=dict)
    missing: dict[tuple[str, str], str] = field(default_factory=dict)


class _Command:
    """One run of the command."""

    def __init__(self, args: argparse.Namespace, database: Database, config: ServiceConfig | None) -> None:
        self._args, self._database, self._config = args, database, config
        self._drills = Drills(database)
        self._severity = cast("Severity", args.severity)
        self._outcome = _Outcome()
        self._asked_ns = time.time_ns()

    def run(self) -> int:
        """Ask, follow, end. An interrupt ends the drill, too."""
        wait_s = self._args.timeout / SECOND_NS + WAIT_NS[self._severity] / SECOND_NS
        until_ns = self._asked_ns + int((wait_s + SLACK_S + TAKEN_S) * SECOND_NS)
        id_ = self._drills.ask(self._args.node, self._severity, operator_name(self._args), self._asked_ns, until_ns)
        try:
            drill = self._until_taken(id_)
            self._say(f"drill {id_} of node {printable(drill.node)}, {self._severity}: accepted by the service")
            drill = self._until_open(id_)
            self._say(f"case {drill.case_id} is open")
            self._follow(drill)
        except BaseException:
            self._break_off(id_)
            raise
        self._drills.stop(id_)
        ended = self._wait(lambda: self._row(id_).ended_ns is not None, ENDED_S)
        self._say(
            f"case {drill.case_id} has ended" if ended else f"case {drill.case_id} will end; see the service's log"
        )
        return self._report(drill)

    def _break_off(self, id_: str) -> None:
        """Let the service end it, after an interrupt or a failure."""
        if self._row(id_).ended_ns is None:
            self._drills.stop(id_)
            self._say("the drill was broken off; the service ends its case")

    def _until_taken(self, id_: str) -> Drill:
        if not self._wait(lambda: self._row(id_).begun_ns is not None or bool(self._row(id_).error), TAKEN_S):
            raise ServiceError(f"no service took the drill within {TAKEN_S:g} s; does one run with this database?")
        return self._checked(id_)

    def _until_open(self, id_: str) -> Drill:
        wait_s = WAIT_NS[self._severity] / SECOND_NS
        if wait_s:
            self._say(f"a case of severity {self._severity} waits {wait_s:g} s for what may come with it")
        done = self._wait(lambda: bool(self._row(id_).case_id) or self._row(id_).ended_ns is not None, wait_s + TAKEN_S)
        drill = self._checked(id_)
        if not done or not drill.case_id:
            raise ServiceError("the service opened no case; see its log")
        return drill

    def _checked(self, id_: str) -> Drill:
        drill = self._row(id_)
        if drill.error:
            raise ServiceError(f"the service made no drill: {printable(drill.error, 300)}")
        return drill

    def _follow(self, drill: Drill) -> None:
        """Report receivers as they accept it, until all have or time is up."""
        begun_s = time.monotonic()
        limit_s = self._args.timeout / SECOND_NS
        while (passed_s := time.monotonic() - begun_s) < limit_s:
            if self._look(drill) and (passed_s >= ESCALATED_S or self._escalated()):
                return
            if self._row(drill.id).ended_ns is not None:
                self._say(
                    f"the service has ended the drill: {printable(self._row(drill.id).error) or 'its time is up'}"
                )
                limit_s = passed_s
                break
            time.sleep(LOOK_S)
        self._look(drill)
        for (receiver, type_), why in self._outcome.missing.items():
            self._say(f"  {printable(receiver):<20} {type_:<15} did not arrive within {limit_s:.0f} s: {why}")

    def _look(self, drill: Drill) -> bool:
        """Note what has arrived; return whether nothing is missing of what was decided so far."""
        fates = fates_of(self._database, drill.case_id)
        found = fates.decisions if fates is not None else ()
        outcome = self._outcome
        outcome.missing = {}
        for one in cast("Sequence[FateObject]", found):
            key = (str(one["receiver"]), str(one["type"]))
            if one["type"] not in (OPENED, ESCALATED) or key in outcome.arrived:
                continue
            if one["decision"] == "held":
                self._note_held(key, one)
            elif one["status"] in ("sent", "merged"):
                outcome.arrived[key] = max(one["settled"] - self._asked_ns / SECOND_NS, 0.0)
                self._say(f"  {printable(key[0]):<20} {key[1]:<15} arrived after {outcome.arrived[key]:.1f} s")
            else:
                outcome.missing[key] = printable(str(one["error"] or "no answer yet"), 200)
        for name in self._wanted() if not any(type_ == ESCALATED for _, type_ in self._known()) else ():
            outcome.missing[name, ESCALATED] = "the service has decided nothing yet"
        return bool(found) and not outcome.missing

    def _note_held(self, key: tuple[str, str], one: FateObject) -> None:
        if key not in self._outcome.held:
            self._outcome.held[key] = one
            (_, line) = fate_lines([one], None)
            self._say(f"  {printable(key[0]):<20} {line.strip().partition('  ')[2]}")

    def _known(self) -> set[tuple[str, str]]:
        return {*self._outcome.arrived, *self._outcome.held, *self._outcome.missing}

    def _wanted(self) -> set[str]:
        """Return the receivers to which a case of this severity escalates, as far as a configuration is at hand."""
        plan = self._config.attention.escalations if self._config is not None else ()
        return {name for one in plan if RANK[one.severity] <= RANK[self._severity] for name in one.to}

    def _escalated(self) -> bool:
        """Return whether no escalation is to come that would be awaited."""
        return self._config is not None and self._wanted() <= {
            name for name, type_ in self._known() if type_ == ESCALATED
        }

    def _report(self, drill: Drill) -> int:
        """Print what it came to; return the exit code."""
        outcome = self._outcome
        beside = [one.name for one in self._config.receivers if one.about == "incidents"] if self._config else []
        for name in beside:
            hint = f"hears of incidents, not of cases; test it with 'watchdog receivers test {name}'"
            self._say(f"  {printable(name):<20} {hint}")
        failed = bool(outcome.missing) or not outcome.arrived
        if self._args.json:
            write_output("-", json_text([self._as_object(drill, ok=not failed)], lines=True))
        else:
            write_output("-", self._summary())
        return WRONG if failed else 0

    def _summary(self) -> str:
        outcome = self._outcome
        if not outcome.arrived and not outcome.missing:
            return (
                "no receiver is due to get it: see the reasons above, or 'about', 'severity' and 'nodes' of receivers\n"
            )
        total = len(outcome.arrived) + len(outcome.missing)
        names = ", ".join(dict.fromkeys(printable(name) for name, _ in outcome.missing))
        slowest = f", the slowest after {max(outcome.arrived.values()):.1f} s" if outcome.arrived else ""
        rest = f"; it did not reach: {names}" if names else ""
        return f"{len(outcome.arrived)} of {total} notices arrived{slowest}{rest}\n"

    def _as_object(self, drill: Drill, *, ok: bool) -> dict[str, object]:
        outcome = self._outcome
        arrived = [{"receiver": n, "type": t, "arrived": s, "why": None} for (n, t), s in outcome.arrived.items()]
        missing = [{"receiver": n, "type": t, "arrived": None, "why": w} for (n, t), w in outcome.missing.items()]
        held = [{"receiver": n, "type": t, "reason": one["reason"]} for (n, t), one in outcome.held.items()]
        about = {"drill": drill.id, "case": drill.case_id, "node": drill.node, "severity": drill.severity}
        return {**about, "ok": ok, "notices": [*arrived, *missing], "held": held}

    def _say(self, line: str) -> None:
        """Print a line of progress at once."""
        stream = sys.stderr if self._args.json else sys.stdout
        stream.write(f"{line}\n")
        stream.flush()

    def _row(self, id_: str) -> Drill:
        found = self._drills.one(id_)
        if found is None:
            raise ServiceError("the drill is no longer in the database")
        return found

    def _wait(self, done: Callable[[], bool], limit_s: float) -> bool:
        begun_s = time.monotonic()
        while not done():
            if time.monotonic() - begun_s >= limit_s:
                return False
            time.sleep(LOOK_S)
        return True
