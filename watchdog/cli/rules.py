"""`watchdog rules`: check rule files, list and show the rules in force, print the schema for editors."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rules.digest import rule_hash
from rules.load import RuleSet, load, pack_names
from rules.schema import json_schema
from rules.show import show_rule
from watchdog.cli.arguments import add_declaring_argument, declare_kinds
from watchdog.cli.exits import BAD_INPUT, WRONG
from watchdog.cli.folding import fitted
from watchdog.cli.output import warn
from watchdog.core.errors import RuleError
from watchdog.core.own_rules import OWN_RULES, OwnRule
from watchdog.core.plan import RulePlan
from watchdog.core.river_classes import river_installed
from watchdog.core.text import printable
from watchdog.located_yaml.problem import RuleSetError, plain
from watchdog.service.budget_facts import fact_line, fact_object, learnt_facts
from watchdog.service.capabilities import ALONE, WITHOUT_RIVER, Capability, Facts, capabilities, lines
from watchdog.service.config.read import DEFAULT_PATH, ConfigError, load_config
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.node_start import checkpoint_path
from watchdog.service.source_paths import facts_of, source_kinds

SUMMARY = "Check rule files, list and describe the rules in force, print the JSON Schema of rule files."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the four actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="read rule files and print every mistake", allow_abbrev=False)
    check.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file, or a folder of *.yaml")
    check.add_argument("--no-packs", action="store_true", help="without the shipped rules, which are read first")
    add_declaring_argument(check)
    listing = actions.add_parser("list", help="list the rules in force", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="a JSON array instead of a table")
    _add_rules(listing)
    show = actions.add_parser(
        "show", help="show one rule after overrides, with the place of each key", allow_abbrev=False
    )
    show.add_argument("id", metavar="ID", help="the rule's id")
    show.add_argument("--json", action="store_true", help="a JSON object: that of 'list', and the place of each key")
    show.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="a service's checkpoint: what the rule's budgets have learnt (default: the configuration's, if any)",
    )
    _add_rules(show)
    schema = actions.add_parser("schema", help="print the JSON Schema of rule files", allow_abbrev=False)
    add_declaring_argument(schema)


def run(args: argparse.Namespace) -> int:
    """Run one action; the exit code. RuleError when list or show meet a rule set with mistakes."""
    declare_kinds(args.config)
    if args.action == "schema":
        print(json.dumps(json_schema(), indent=2))
        return 0
    if args.action == "check":
        return _check(args.paths, packs=not args.no_packs)
    config = _configuration(args)
    found = _loaded(args, config)
    warn(problem.render() for problem in found.warnings)
    if args.action == "show":
        _show(found, args, config)
    else:
        _list(found, config, as_json=args.json)
    if config is not None and args.config is None:
        sys.stderr.write(f"watchdog: these are the rules of {DEFAULT_PATH} in this folder\n")
    return 0


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the rules in force: those of a service, and those of `watchdog replay`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"a service's configuration: its rules and sources (default: {DEFAULT_PATH}, where it exists)",
    )
    parser.add_argument("--rules", action="append", default=[], type=Path, metavar="PATH", help="rules or overrides")
    parser.add_argument("--no-packs", action="store_true", help="without the shipped rules")


def _check(paths: Sequence[Path], *, packs: bool) -> int:
    """Print every mistake of these files on standard output; unreadable files on standard error."""
    try:
        found = load(paths, packs=packs)
    except RuleSetError as error:
        for problem in error.problems:
            if problem.unreadable:
                sys.stderr.write(f"watchdog: {problem.render()}\n")
            else:
                sys.stdout.write(f"{problem.render()}\n")
        unreadable = any(problem.unreadable for problem in error.problems)
        return BAD_INPUT if unreadable else WRONG
    warn(problem.render() for problem in found.warnings)
    count = len(found.plans)
    print(f"{count} {'rule' if count == 1 else 'rules'}, no mistakes, hash {found.hash}")
    return 0


def _configuration(args: argparse.Namespace) -> ServiceConfig | None:
    """Return the configuration that is named, else that of this folder; None without one.

    ConfigError: the one that is named has mistakes. With mistakes in that of this folder, a warning and None.
    """
    if args.config is not None:
        return load_config(args.config)
    if not DEFAULT_PATH.is_file():
        return None
    try:
        return load_config(DEFAULT_PATH)
    except ConfigError as error:
        warn([f"{error.in_one_line()}; the shipped rules are shown, and it is not known which of them can fire"])
        return None


def _loaded(args: argparse.Namespace, config: ServiceConfig | None) -> RuleSet:
    """Load the rules of the command line, after those of a configuration."""
    if config is None:
        return load(args.rules, packs=not args.no_packs)
    packs = () if args.no_packs else config.packs
    return load([*config.rules, *args.rules], packs=packs, exceptions=config.exceptions)


def _judged(found: RuleSet, config: ServiceConfig | None) -> dict[str, Capability]:
    """Return whether each rule can fire with the sources of a configuration; without one, only what it needs."""
    if config is None:
        judged = capabilities(found.plans, {}, Facts(river=river_installed()))
        return {name: one if one == WITHOUT_RIVER else one._replace(can_fire=None) for name, one in judged.items()}
    facts = replace(facts_of(config.sources, config.asmap), nodes=len(config.nodes))
    return capabilities(found.plans, source_kinds(config.sources), facts)


def _list(found: RuleSet, config: ServiceConfig | None, *, as_json: bool) -> None:
    """Print a line for each rule."""
    if as_json:
        judged = _judged(found, config)
        print(json.dumps([_facts(plan, judged.get(plan.id, ALONE)) for plan in found.plans], indent=2))
        return
    rows = [(plan.id, plan.severity, plan.maturity, plan.attack, plan.title) for plan in found.plans]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        sys.stdout.write(fitted("  ".join([*cells, plain(row[4])]) + "\n"))
    if not river_installed():
        warn(lines({plan.id: WITHOUT_RIVER for plan in found.plans if plan.drifts or plan.model}))


def _facts(plan: RulePlan, judged: Capability) -> dict[str, object]:
    """Return a rule in the form of `list --json`; durations in seconds."""
    return {
        "id": plan.id,
        "title": plan.title,
        "attack": plan.attack,
        "severity": plan.severity,
        "maturity": plan.maturity,
        "technique": plan.technique,
        "role": plan.role,
        "names": plan.names,
        "kinds": plan.kinds,
        "by": plan.by,
        "scope": plan.scope,
        "over_s": plan.over_ns / 1e9,
        "pane_s": plan.pane_ns / 1e9,
        "incident": plan.incident,
        "place": plan.place,
        "hash": rule_hash(plan),
        "can_fire": judged.word,
        "lacks": judged.lacks,
        **plan.metadata,
    }


def _states(args: argparse.Namespace, config: ServiceConfig | None) -> dict[str, Path]:
    """Return the checkpoint that is named, else by node those of the configuration, as far as there are any."""
    if args.state is not None:
        return {"": args.state}
    if config is None:
        return {}
    paths = {node.name: checkpoint_path(config, node.name) for node in config.nodes}
    return {node: path for node, path in paths.items() if path.is_file()}


def _show_own(own: OwnRule, *, as_json: bool) -> None:
    """Print a built-in finding."""
    if as_json:
        print(json.dumps({**asdict(own), "own": True}, indent=2))
        return
    print(f"{own.id}: {own.title} (built in, {own.severity})\n\n{own.about}\n")
    print("\n".join(["Causes:", *(f"- {cause}" for cause in own.causes), "", own.remedy]))


def _show(found: RuleSet, args: argparse.Namespace, config: ServiceConfig | None) -> None:
    """Print one rule or built-in finding; RuleError, with the nearest id, for an unknown id."""
    rule_id = args.id
    if (own := OWN_RULES.get(rule_id)) is not None:
        _show_own(own, as_json=args.json)
        return
    plan = next((plan for plan in found.plans if plan.id == rule_id), None)
    if plan is None:
        raise RuleError(_no_rule(found, rule_id))
    states = _states(args, config)
    learnt = [(node, fact) for node, path in states.items() for fact in learnt_facts(path, [plan])]
    if args.json:
        source = found.sources[rule_id]
        places = {name: f"{one.key.place.source.name}:{one.key.place.line}" for name, one in source.entries.items()}
        facts = {
            **_facts(plan, _judged(found, config)[rule_id]),
            "places": places,
            "text": "\n".join(show_rule(plan, source)),
            "detectors": [fact_object(fact, node) for node, fact in learnt],
        }
        print(json.dumps(facts, indent=2))
        return
    for node, fact in learnt:
        print(f"# {f'{printable(node)}: ' if len(states) > 1 else ''}{fact_line(fact)}")
    for line in show_rule(plan, found.sources[rule_id], {fact.name for _, fact in learnt}):
        print(line)


def _no_rule(found: RuleSet, rule_id: str) -> str:
    """Return what is wrong with the id of a rule: it is in a pack that is not used, or there is no such rule."""
    packs = [name for name in pack_names() if any(one.id == rule_id for one in load((), packs=[name]).plans)]
    if packs:
        cure = f"give a configuration with 'packs: [default, {packs[0]}]': --config {DEFAULT_PATH}"
        return f"rule '{rule_id}' is in the pack '{packs[0]}', which is not in use here; {cure}"
    near = difflib.get_close_matches(rule_id, [*(plan.id for plan in found.plans), *OWN_RULES], n=1)
    return f"no rule '{rule_id}'" + (f", did you mean '{near[0]}'" if near else "") + "; see 'watchdog rules list'"
