"""`watchdog check`: the whole configuration, without node, database or network."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rules.problem import RuleSetError
from watchdog.cli.arguments import config_hint
from watchdog.cli.run import add_config_argument
from watchdog.core.text import counted
from watchdog.service.config import ConfigError, load_config
from watchdog.service.config_schema import config_schema
from watchdog.service.parts import load_rules

SUMMARY = (
    "Read the configuration, its rules and its secrets, and print every mistake. Touches neither node, database nor "
    "network. Exit code 0 when all is right, 1 for mistakes, 2 when a file cannot be read."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `watchdog check`."""
    add_config_argument(parser)
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of the configuration instead")


def run(args: argparse.Namespace) -> int:
    """Check; the exit code."""
    if args.schema:
        print(json.dumps(config_schema(), indent=2))
        return 0
    try:
        config = load_config(args.config)
        rules = load_rules(config)
    except (ConfigError, RuleSetError) as error:
        for problem in error.problems:
            if problem.unreadable:
                hint = config_hint(args.config) if isinstance(error, ConfigError) else ""
                sys.stderr.write(f"watchdog: {problem.render()}{hint}\n")
            else:
                sys.stdout.write(f"{problem.render()}\n")
        return 2 if any(problem.unreadable for problem in error.problems) else 1
    for warning in (*config.warnings, *(problem.render() for problem in rules.warnings)):
        sys.stderr.write(f"warning: {warning}\n")
    if config.asmap is not None and not Path(config.asmap).is_file():
        sys.stderr.write(f"watchdog: {config.asmap}: no such file\n")
        return 2
    print(
        f"no mistakes: {counted(len(config.sources), 'source')}, {counted(len(rules.plans), 'rule')} "
        f"(hash {rules.hash}), {counted(len(config.receivers), 'receiver')}"
    )
    return 0
