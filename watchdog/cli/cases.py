"""`watchdog cases`: the stored cases, and why an incident belongs to one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from alerts.case.why import why_lines
from alerts.incident_table import IncidentError, UnknownIncidentError
from alerts.render import time_text
from alerts.store.case_fates import fates_of
from alerts.store.cases import MOST_CASES, CaseFilter, CaseQueries
from alerts.store.database import Database
from alerts.store.incidents import IncidentQueries
from watchdog.cli import why_not
from watchdog.cli.case_verbs import add_act_verbs, add_case_filters, add_case_id, case_filter, story_lines
from watchdog.cli.database import add_verb, id_digits, known_case, run_verb
from watchdog.cli.folding import fitted
from watchdog.cli.output import add_json_arguments, json_text, write_output
from watchdog.cli.rule_words import silenced_incident
from watchdog.core.durations import rough_duration
from watchdog.core.text import printable

SUMMARY = (
    "List, show, acknowledge, resolve, annotate, split and export the cases of the stored history, one for each "
    "attack, and say why an incident belongs to one. "
    "'watchdog replay --db' and 'watchdog run' store them."
)
NAMES = 4  # parties in a line
HEADER = f"{'CASE':16}  {'SEVERITY':8}  {'OPENED (UTC)':19}  {'LASTED':8}  {'STATE':12}  NODE"
ROLES = {"leaf": "links nothing"}  # other roles are shown as they are

CaseDocument = dict[str, Any]  # Any: JSON


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog cases`."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = add_verb(verbs, "list", "list the latest cases", _list)
    add_case_filters(listing, 50, MOST_CASES)
    listing.add_argument("--cursor", help="continue after an earlier page, which printed this cursor")
    add_json_arguments(listing)
    showing = add_verb(verbs, "show", "show one case with its parties, claims, links and notices", _show)
    add_case_id(showing)
    showing.add_argument("--json", action="store_true", help="the JSON object")
    why_not.configure(verbs)
    why = add_verb(
        verbs, "why", "show the links from an incident to the first claim of a case, and those not made", _why
    )
    add_case_id(why)
    why.add_argument("incident", metavar="INCIDENT", help="id of an incident, or its first digits (at least 4)")
    add_act_verbs(verbs)


def run(args: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    return run_verb(args)


def _list(args: argparse.Namespace, database: Database) -> int:
    queries = CaseQueries(database)
    page = queries.page(case_filter(args), args.limit, args.cursor)
    if args.json or args.jsonl:
        write_output("-", json_text(page.rows, lines=args.jsonl))
    else:
        lines = [HEADER, *(line for one in page.rows for line in _head(one))]
        write_output("-", fitted("\n".join(lines) + "\n") if page.rows else "no cases\n")
    if not page.rows and args.node is not None and not queries.page(CaseFilter(node=args.node), 1).rows:
        sys.stderr.write(f"watchdog: no case of a node '{printable(args.node)}' is kept; is the name right?\n")
    if page.cursor is not None:
        sys.stderr.write(f"watchdog: there are more; continue with --cursor {page.cursor}\n")
    return 0


def _show(args: argparse.Namespace, database: Database) -> int:
    case = known_case(CaseQueries(database), args.id)
    if args.json:
        write_output("-", json_text([case], lines=True))
        return 0
    lines = [HEADER, *_head(case), *_advice(case), "", "notices:", *([] if case["notices"] else ["  none yet"])]
    lines += [
        f"  {_time(one['time'])}  {one['reason']:<12}  {one['severity']:<8}  {', '.join(one['parties'])}"
        for one in case["notices"]
    ]
    lines += ["", "parties:", *([] if case["parties"] else ["  none: no peer is accused"])]
    for one in case["parties"]:
        lines.append(f"  {one['name']}{_among(one)}  {_time(one['first'])} to {_time(one['last'])}")
        lines.append(f"    {', '.join(one['rules'])}")
    story = story_lines(case)
    lines += ["", "story:", *story] if story else []
    lines += ["", "claims:"]
    lines += _claims(case["claims"])
    write_output("-", fitted("\n".join(lines) + "\n"))
    return 0


def _claims(claims: Sequence[CaseDocument]) -> list[str]:
    """Return a line for each claim, in columns: time, severity, rule, accused party, role and incident."""
    named = [(one["rule"], printable(one["party"])) for one in claims]  # a state of the node accuses no party
    rule_width = max((len(rule) for rule, _ in named), default=0)
    party_width = max((len(party) for _, party in named), default=0)
    return [
        f"  {_time(one['first'])}  {one['severity']:<8}  {rule:<{rule_width}}  {party:<{party_width}}  "
        f"{ROLES.get(one['role'], one['role'])}, incident {one['incident']}"
        for one, (rule, party) in zip(claims, named, strict=True)
    ]


def _advice(case: CaseDocument) -> list[str]:
    """Return what to do, and why it is one case; nothing for cases that an older version stored."""
    advice = case.get("advice", {})
    runbook = [f"Runbook: {advice['runbook']}"] if advice.get("runbook") else []
    steps = [*advice.get("do", []), *runbook]
    lines = ["", "what to do:", *(f"  {one}" for one in steps)] if steps else []
    return [*lines, "", "why it is one case:", f"  {advice['why']}"] if advice.get("why") else lines


def _why(args: argparse.Namespace, database: Database) -> int:
    case = known_case(CaseQueries(database), args.id)
    wanted = id_digits(args.incident, "incident")
    found = sorted({one["incident"] for one in case["claims"] if one["incident"].startswith(wanted)})
    if len(found) > 1:
        raise IncidentError(f"incident {wanted!r}: several start so, for example {' and '.join(found[:2])}")
    lines = why_lines(case, found[0]) if found else None
    lines = lines or silenced_incident(args, database, wanted)
    if not lines:
        raise UnknownIncidentError(_elsewhere(database, str(case["id"]), wanted))
    write_output("-", fitted("\n".join(lines) + "\n"))
    return 0


def _elsewhere(database: Database, case: str, digits: str) -> str:
    """Return where an incident is that is not in this case."""
    ids = IncidentQueries(database).completed(digits)
    fates = fates_of(database, ids[0]) if len(ids) == 1 else None
    if fates is None:
        where = "it is part of no case" if len(ids) == 1 else "'watchdog incidents list' shows ids"
        return f"case {case} has no incident {digits!r}; {where}"
    if fates.case == case:
        return f"case {case} no longer keeps its claims of incident {ids[0]}"
    return f"incident {ids[0]} is in another case: watchdog cases why {fates.case} {ids[0]}"


def _head(case: CaseDocument) -> list[str]:
    names = [one["name"] for one in case["parties"][:NAMES]]
    more = len(case["parties"]) - len(names)
    by = f", by {printable(case['acknowledged_by'], 100)}" if case["state"] == "acknowledged" else ""
    many = "stages" if len(case["stages"]) > 1 else "stage"
    stages = f"; {many} {', '.join(case['stages'])}" if case["stages"] else ""
    seen = max([case["updated"], *(one["last"] for one in case["parties"])])  # an open case is as old as what it saw
    lasted = rough_duration(int(1e9 * ((case["resolved"] or seen) - case["opened"])))
    after = f"; continues {case['continues']}" if case["continues"] else ""
    cells = (case["id"], f"{case['severity']:<8}", _time(case["opened"]), f"{lasted:<8}", f"{case['state']:<12}")
    return [
        "  ".join([*cells, printable(case["node"])]) + by,
        f"    {case['headline']}{stages}{after}",
        *([f"    {', '.join(names)}{f', {more} more' if more > 0 else ''}"] if names else []),
    ]


def _among(party: CaseDocument) -> str:
    """Return the number of addresses of a netblock; a single one is the party's name already."""
    many = len(party["addresses"])
    return f" ({many} addresses)" if many > 1 else ""


def _time(seconds: float) -> str:
    return time_text(int(seconds * 1e9))
