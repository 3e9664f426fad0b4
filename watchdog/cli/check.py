"""`watchdog check`: the whole configuration, without node, database or network."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rules.load import RuleSet, load
from watchdog.cli.arguments import add_config_argument, config_hint
from watchdog.cli.exits import BAD_INPUT, WRONG
from watchdog.cli.folding import fitted
from watchdog.cli.output import LONGEST, warn
from watchdog.core.asmap import Asmap
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.text import counted, printable
from watchdog.located_yaml.problem import Problem, RuleSetError
from watchdog.service.capabilities import capabilities, lines
from watchdog.service.config.holds import ended_silences, unknown_names
from watchdog.service.config.read import ConfigError, NamedRules, load_config
from watchdog.service.config.schema import config_schema
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.exception_record import read_records, useless_lines
from watchdog.service.source_paths import check_paths, facts_of, source_kinds

SUMMARY = (
    "Read the configuration, its rules and its secrets, and print every mistake; try the paths of its sources with the "
    "rights of this user, and name the rules that cannot fire. Touches neither node, database nor network. Exit code 0 "
    "when all is right, 1 for mistakes, 2 when a file cannot be read."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog check`."""
    add_config_argument(parser)
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the configuration instead")


def run(args: argparse.Namespace) -> int:
    """Check; the exit code."""
    if args.schema:
        print(json.dumps(config_schema(), indent=2))
        return 0
    config, rules, problems = _read(args.config)
    if config is None or rules is None:
        for problem in problems:
            if problem.unreadable:
                hint = config_hint(args.config) if problem.place.source.name == str(args.config) else ""
                sys.stderr.write(f"watchdog: {problem.render()}{hint}\n")
            else:
                sys.stdout.write(f"{problem.render()}\n")
        return BAD_INPUT if any(problem.unreadable for problem in problems) else WRONG
    warn((*config.warnings, *(problem.render() for problem in rules.warnings)))
    if config.asmap is not None:
        Asmap.load(config.asmap)  # what it raises is printed by the command line, with exit code 2
    warn(_needless(config, rules))
    if not _sources_are_right(config, rules):
        return WRONG
    print(
        f"no mistakes: {_nodes_text(config)}{counted(len(config.sources), 'source')}, "
        f"{counted(len(rules.plans), 'rule')} "
        f"(hash {rules.hash}), {counted(len(config.receivers), 'receiver')}"
    )
    return 0


def _sources_are_right(config: ServiceConfig, rules: RuleSet) -> bool:
    """Check the paths as this user; print mistakes, warnings and what rules lack. Return whether all is right."""
    found = check_paths(config)
    warn(one.text for one in found if not one.mistake)
    mistakes = [one.text for one in found if one.mistake]
    for line in (*mistakes, *_lacks(config, rules)):
        sys.stdout.write(fitted(f"{printable(line, LONGEST)}\n"))
    return not mistakes


def _needless(config: ServiceConfig, rules: RuleSet) -> list[str]:
    """Return a line for each silence, window and exception that has ended, names nothing, or has not matched lately."""
    now_ns = time.time_ns()
    records = read_records(config.checkpoint.folder)
    techniques = {**dict.fromkeys(OWN_RULES, ""), **{plan.id: plan.technique for plan in rules.plans}}
    nodes = [node.name for node in config.nodes]
    return [
        *ended_silences(config.silences, now_ns),
        *unknown_names(config.silences, config.maintenance, nodes, techniques),
        *useless_lines(rules.exceptions, records, now_ns),
    ]


def _lacks(config: ServiceConfig, rules: RuleSet) -> Iterator[str]:
    """Yield a line for each thing that rules lack, at each node."""
    for node in config.nodes:
        facts = replace(facts_of(node.sources, config.asmap), nodes=len(config.nodes))
        judged = capabilities(rules.plans, source_kinds(node.sources), facts)
        yield from (f"node {node.name}: {line}" if config.several else line for line in lines(judged))


def _nodes_text(config: ServiceConfig) -> str:
    return f"{counted(len(config.nodes), 'node')}, " if config.several else ""


def _read(path: Path) -> tuple[ServiceConfig | None, RuleSet | None, Sequence[Problem]]:
    """Return configuration and rules, None for each that has mistakes, and the mistakes in this order."""
    config: ServiceConfig | None = None
    rules: RuleSet | None = None
    problems: list[Problem] = []
    try:
        config = load_config(path)
        named: NamedRules | None = NamedRules(config.rules, config.packs, config.exceptions)
    except ConfigError as error:
        problems += error.problems
        named = error.rules
    if named is not None:
        try:
            rules = load(named.paths, packs=named.packs, exceptions=named.exceptions)
        except RuleSetError as error:
            problems += error.problems
    return config, rules, problems
