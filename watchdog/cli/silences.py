"""`watchdog silences`: what operators hold back for a while, and what that would have held back."""

from __future__ import annotations

import argparse
import sys
import time
from typing import cast

from alerts.case.house import HOUSE, case_node
from alerts.render import time_text
from alerts.silence import ClaimSilence, checked
from alerts.silence_preview import Previewed, WordsOf, previewed
from alerts.store.database import Database
from alerts.store.silences import PREVIEWED, KeptSilence, Silences
from watchdog.cli.database import add_verb, run_verb
from watchdog.cli.folding import fitted
from watchdog.cli.login import login_name
from watchdog.cli.moments import duration_ns, moment
from watchdog.cli.output import add_json_arguments, json_text, write_output
from watchdog.cli.rule_words import configuration, known_words, word_of
from watchdog.core.durations import DAY_NS, rough_duration
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.text import counted, printable

SUMMARY = (
    "List, add, extend and expire silences, and preview one. A silence holds back claims about a party, of a rule or "
    "of a technique for a while: they open no case, link nothing and notify no one. Incidents are still stored. "
    "A running service applies a change within seconds."
)
BACK_NS = 7 * DAY_NS  # that a preview looks back
SHOWN = 6  # parties in a line


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog silences`."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = add_verb(verbs, "list", "list the silences in force, including those of the configuration", _list)
    listing.add_argument("--all", action="store_true", help="also those that have ended")
    add_json_arguments(listing)
    adding = add_verb(verbs, "add", "hold claims back from now on", _add)
    _add_matchers(adding)
    _add_end(adding, needed=True)
    adding.add_argument(
        "--comment", required=True, metavar="TEXT", help="the reason, shown wherever a claim is silenced"
    )
    _add_who(adding)
    extending = add_verb(verbs, "extend", "move the end of a silence, at most 30 days from now", _extend)
    expiring = add_verb(verbs, "expire", "end a silence now; what still fires opens cases again", _expire)
    for page in (extending, expiring):
        page.add_argument("id", metavar="ID", help="the silence's id, as 'list' prints it")
    _add_end(extending, needed=True)
    for page in (extending, expiring):
        _add_who(page)
    trying = add_verb(
        verbs,
        "preview",
        "the open incidents, and those of the last 7 days, that a silence would have held back",
        _preview,
    )
    _add_matchers(trying)
    trying.add_argument("--comment", help=argparse.SUPPRESS)
    _add_end(trying, needed=False)
    _add_who(trying)
    add_json_arguments(trying)


def run(args: argparse.Namespace) -> int:
    """Run the verb; return the exit code."""
    return run_verb(args)


def _add_matchers(page: argparse.ArgumentParser) -> None:
    page.add_argument("--party", default="", metavar="PARTY", help="an address, a prefix, or an onion or I2P host")
    which = page.add_mutually_exclusive_group()
    which.add_argument("--rule", default="", metavar="ID", help="of this rule")
    which.add_argument("--technique", default="", metavar="NAME", help="of this technique, see 'watchdog rules show'")
    house = "at this node only; '*' for cases of no single node"
    page.add_argument("--node", type=case_node, default="", metavar="NAME", help=house)


def _add_end(page: argparse.ArgumentParser, *, needed: bool) -> None:
    end = page.add_mutually_exclusive_group(required=needed)
    end.add_argument(
        "--for", type=duration_ns, dest="lasting", metavar="DURATION", help="from now on, such as 4h or 7d"
    )
    end.add_argument("--until", type=moment, metavar="TIME", help="a time such as 2026-01-31T12:00 (UTC)")


def _add_who(page: argparse.ArgumentParser) -> None:
    page.add_argument("--who", help="name of the operator (default: your login name)")


def _end(args: argparse.Namespace, now_ns: int) -> int:
    if args.until is None:
        return now_ns + cast("int", args.lasting or DAY_NS)
    value, is_duration = cast("tuple[int, bool]", args.until)
    return now_ns + value if is_duration else value


def _wanted(args: argparse.Namespace, now_ns: int) -> ClaimSilence:
    who = login_name() if args.who is None else args.who
    comment = args.comment or "preview"
    own = {"party": args.party, "rule": args.rule, "technique": args.technique, "node": args.node}
    return ClaimSilence("", now_ns, _end(args, now_ns), who, comment, **own)


def _list(args: argparse.Namespace, database: Database) -> int:
    now_ns = time.time_ns()
    config = configuration(args)
    standing = [KeptSilence(one) for one in ([] if config is None else config.silences)]
    found = [*standing, *Silences(database).listed(now_ns, over=args.all)]
    if not args.all:
        found = [one for one in found if one.state(now_ns) == "active"]
    if args.json or args.jsonl:
        write_output("-", json_text([one.as_object(now_ns) for one in found], lines=args.jsonl))
    else:
        lines = [line for one in found for line in silence_lines(one, now_ns)]
        write_output("-", fitted("\n".join(lines) + "\n") if lines else "no silences\n")
    return 0


def silence_lines(kept: KeptSilence, now_ns: int) -> list[str]:
    """Return two lines for people: id, state, end and matchers; author and comment."""
    one, state = kept.silence, kept.state(now_ns)
    left = f" ({rough_duration(one.until_ns - now_ns)} left)" if state == "active" else ""
    changed = f", changed by {printable(kept.changed_by)}" if kept.changed_by else ""
    wide = "" if one.is_narrow else "; critical, outbound and view still notify"
    place = f" ({one.place})" if one.place else ""
    return [
        f"{one.id:<6}  {state:<8}  until {time_text(one.until_ns)}{left}  {one.matcher}{wide}",
        f"        {printable(one.author)}{changed}: {printable(one.comment, 400)}{place}",
    ]


def _add(args: argparse.Namespace, database: Database) -> int:
    now_ns = time.time_ns()
    wanted = checked(_wanted(args, now_ns))
    _warn_of_unknown(args, wanted)
    kept = Silences(database).add(wanted, now_ns)
    return _tell(kept, now_ns, "added")


def _extend(args: argparse.Namespace, database: Database) -> int:
    now_ns = time.time_ns()
    who = login_name() if args.who is None else args.who
    return _tell(Silences(database).extend(args.id, _end(args, now_ns), who, now_ns), now_ns, "extended")


def _expire(args: argparse.Namespace, database: Database) -> int:
    now_ns = time.time_ns()
    who = login_name() if args.who is None else args.who
    return _tell(Silences(database).expire(args.id, who, now_ns), now_ns, "expired")


def _tell(kept: KeptSilence, now_ns: int, what: str) -> int:
    until = f" until {time_text(kept.silence.until_ns)} (UTC)" if kept.state(now_ns) == "active" else ""
    wide = "" if kept.silence.is_narrow or not until else "; critical, outbound and view still notify"
    write_output("-", f"silence {kept.silence.id} {what}{until}: {kept.silence.matcher}{wide}\n")
    return 0


def _preview(args: argparse.Namespace, database: Database) -> int:
    now_ns = time.time_ns()
    wanted = checked(_wanted(args, now_ns))
    words = _warn_of_unknown(args, wanted)
    incidents = Silences(database).recent_incidents(now_ns - BACK_NS)
    compared = [previewed(wanted, one, words(one["rule"])) for one in incidents]
    found = [one for one in compared if one.extent != "none"]
    if args.json or args.jsonl:
        write_output("-", json_text([one.as_object() for one in found], lines=args.jsonl))
        return 0
    lines = [_preview_line(one) for one in found]
    of = f"{counted(len(incidents), 'incident')}, open or of the last 7 days"
    whole = sum(one.extent == "whole" for one in found)
    lines.append(f"{wanted.matcher}: {whole} held back, {len(found) - whole} in part, of {of}")
    if len(incidents) == PREVIEWED:
        lines.append(f"only the latest {PREVIEWED} were looked at")
    write_output("-", fitted("\n".join(lines) + "\n"))
    return 0


def _preview_line(one: Previewed) -> str:
    incident, extent = one.incident, {"whole": "held back", "part": "in part"}[one.extent]
    named = [printable(party) for party in one.held if party][:SHOWN]
    more = len(one.held) - len(named)
    names = ", ".join([*named, *([f"{more} more"] if named and more > 0 else [])])
    cells = (incident["id"], f"{extent:<9}", f"{incident['severity']:<8}", time_text(int(incident["opened"] * 1e9)))
    return "  ".join([*cells, f"{incident['rule']} {names}".rstrip()])


def _warn_of_unknown(args: argparse.Namespace, silence: ClaimSilence) -> WordsOf:
    """Warn of a rule, technique or node that does not exist; return the words of the rules that are loaded."""
    config = configuration(args)
    known = known_words(config)
    techniques = {one.technique for one in known.values()}
    for what, value, names in (
        ("rule", silence.rule, {*known, *OWN_RULES}),
        ("technique", silence.technique, techniques),
    ):
        if value and value not in names:
            sys.stderr.write(f"watchdog: no {what} {printable(value)!r} is loaded here; is the name right?\n")
    nodes = [HOUSE, *(node.name for node in config.nodes)] if config is not None else []
    if silence.node and nodes and silence.node not in nodes:
        sys.stderr.write(f"watchdog: no node {printable(silence.node)!r} is configured; is the name right?\n")
    return word_of(known)
