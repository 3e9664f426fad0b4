"""`watchdog check`: the whole configuration, without node, database or network."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rules.load import RuleSet, load
from watchdog.cli.arguments import add_config_argument, config_hint
from watchdog.cli.exits import BAD_INPUT, WRONG
from watchdog.cli.output import LONGEST, warn
from watchdog.core.text import counted, printable
from watchdog.located_yaml.problem import Problem, RuleSetError
from watchdog.service.capabilities import capabilities, lines
from watchdog.service.config.read import ConfigError, NamedRules, load_config
from watchdog.service.config.schema import config_schema
from watchdog.service.config.settings import ServiceConfig
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
    if config.asmap is not None and not Path(config.asmap).is_file():
        sys.stderr.write(f"watchdog: {config.asmap}: no such file\n")
        return BAD_INPUT
    if not _sources_are_right(config, rules):
        return WRONG
    print(
        f"no mistakes: {counted(len(config.sources), 'source')}, {counted(len(rules.plans), 'rule')} "
        f"(hash {rules.hash}), {counted(len(config.receivers), 'receiver')}"
    )
    return 0


def _sources_are_right(config: ServiceConfig, rules: RuleSet) -> bool:
    """Check the paths as this user; print mistakes, warnings and what rules lack. Return whether all is right."""
    found = check_paths(config)
    warn(one.text for one in found if not one.mistake)
    mistakes = [one.text for one in found if one.mistake]
    judged = capabilities(rules.plans, source_kinds(config.sources), facts_of(config.sources, config.asmap))
    for line in (*mistakes, *lines(judged)):
        print(printable(line, LONGEST))
    return not mistakes


def _read(path: Path) -> tuple[ServiceConfig | None, RuleSet | None, Sequence[Problem]]:
    """Configuration and rules, None for what has mistakes, and all of these: the configuration's, then the rules'."""
    config: ServiceConfig | None = None
    rules: RuleSet | None = None
    problems: list[Problem] = []
    try:
        config = load_config(path)
        named: NamedRules | None = NamedRules(config.rules, config.packs)
    except ConfigError as error:
        problems += error.problems
        named = error.rules
    if named is not None:
        try:
            rules = load(named.paths, packs=named.packs)
        except RuleSetError as error:
            problems += error.problems
    return config, rules, problems
