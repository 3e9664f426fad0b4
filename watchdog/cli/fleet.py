"""Several nodes on the command line: `--fleet alice=SOURCE[,SOURCE] bob=...`, or those of a configuration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from watchdog.core.errors import WatchdogError
from watchdog.core.text import printable
from watchdog.service.config.keys import NODES_NODE
from watchdog.service.config.nodes import NAME_HINT
from watchdog.service.config.read import load_config
from watchdog.service.config.sources import split_several

Fleet = Mapping[str, Sequence[str]]


def add_fleet_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name several nodes instead of the sources of one."""
    parser.add_argument(
        "--fleet",
        nargs="+",
        metavar="NODE=SOURCE[,SOURCE]",
        help="several nodes with their sources; the rules over nodes compare them",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the nodes of this configuration, with their sources"
    )


def fleet_of(args: argparse.Namespace, refused: Mapping[str, object]) -> Fleet | None:
    """Return the nodes with their sources; None when the sources of one node are given.

    refused: options that go with one node only, by name, and their values. WatchdogError when neither or both are
    given, or a node is not written as it should.
    """
    forms = {"SOURCE": args.sources, "--fleet": args.fleet, "--config": args.config}
    given = [name for name, value in forms.items() if value]
    if len(given) != 1:
        both = f"{' and '.join(given)} are alternatives" if given else "no source is named"
        raise WatchdogError(f"{both}; give the sources of one node, or --fleet NODE=SOURCE ..., or --config FILE")
    if args.sources:
        return None
    for name, value in refused.items():
        if value:
            raise WatchdogError(f"{name} is for one node, not for several")
    if args.config:
        return {node.name: node.sources for node in load_config(args.config).nodes}
    return _parsed(args.fleet)


def _parsed(texts: Sequence[str]) -> Fleet:
    nodes: dict[str, list[str]] = {}
    owners: dict[str, str] = {}
    for text in texts:
        name, equals, sources = text.partition("=")
        if not equals or not sources:
            raise WatchdogError(f"'{printable(text)}' is not NODE=SOURCE, such as alice=log:alice/debug.log")
        if not NODES_NODE.fullmatch(name):
            raise WatchdogError(f"bad name of a node '{printable(name)}'; {NAME_HINT}")
        if name in nodes:
            raise WatchdogError(f"node '{name}' is given twice; join its sources with commas")
        nodes[name] = split_several(sources)
        for source in nodes[name]:
            if owners.setdefault(source, name) != name:
                raise WatchdogError(f"source '{printable(source)}' is one of {owners[source]} and of {name}")
    return nodes
