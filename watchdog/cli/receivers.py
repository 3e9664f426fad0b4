"""`watchdog receivers`: list the receivers of a configuration, send one a test, show a message, make a secret."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alerts.delivery.answers import Response
from alerts.delivery.formats import misplaced, place_of, signs
from alerts.delivery.ports import SystemDeliveryClock
from alerts.delivery.sender import send_test
from alerts.delivery.signature import new_secret
from alerts.routing import DEFAULTS, Receiver
from watchdog.cli import receivers_preview
from watchdog.cli.exits import WRONG
from watchdog.cli.output import write_output
from watchdog.core.errors import WatchdogError
from watchdog.core.text import printable
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.service.assembly import receiver as receiver_of
from watchdog.service.config.read import DEFAULT_PATH, load_config
from watchdog.service.exec_rights import EXEC_HELP, refuse_exec

SUMMARY = "List the receivers of a configuration, send one a test message, preview a message, make a signing secret."
COLUMNS = ("NAME", "FORMAT", "ABOUT", "SEVERITY", "A MINUTE", "SIGNED", "STATE", "HOST", "EVENTS")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the receivers, without their secrets", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="a JSON array instead of a table")
    _add_config(listing)
    test = actions.add_parser(
        "test", help="send one signed test message; exit code 1 when it was not accepted", allow_abbrev=False
    )
    test.add_argument("name", metavar="NAME", help="the receiver's name")
    test.add_argument("--allow-exec", action="store_true", help=EXEC_HELP)
    _add_config(test)
    showing = actions.add_parser(
        "preview", help="print what receivers would be sent about a case; sends nothing", allow_abbrev=False
    )
    showing.add_argument("name", metavar="NAME", nargs="?", help="the receiver's name (default: all of them)")
    receivers_preview.configure(showing)
    _add_config(showing)
    actions.add_parser("secret", help="print a new signing secret", allow_abbrev=False)


def run(args: argparse.Namespace) -> int:
    """Run one action; ConfigError when the configuration has mistakes."""
    if args.action == "secret":
        print(new_secret())
        return 0
    config = load_config(args.config)
    receivers = [receiver_of(settings) for settings in config.receivers]
    if args.action == "test":
        named = _named(args.name, receivers, args.config)
        if not args.allow_exec:
            own = (
                replace(one, enabled=True) for one in config.receivers if one.name == named.name
            )  # also one that is off
            refuse_exec(own, f"watchdog receivers test {named.name}")
        return _test(named)
    if args.action == "preview":
        shown = receivers if args.name is None else [_named(args.name, receivers, args.config)]
        if not shown:
            raise WatchdogError(f"{args.config}: it names no receiver")
        write_output("-", f"{receivers_preview.preview(shown, config, args.type, args.case)}\n")
        return 0
    if args.json:
        print(json.dumps([as_object(receiver) for receiver in receivers], indent=2))
    else:
        _print_table([as_object(receiver) for receiver in receivers])
    return 0


def as_object(receiver: Receiver) -> dict[str, object]:
    """Return a receiver without secrets: of its URL the host only, as paths of chat services are secret."""
    return {
        "name": receiver.name,
        "format": receiver.format,
        "about": receiver.about,
        "severity": receiver.severity,
        "rate_per_minute": receiver.rate_per_minute,
        "secrets": len(receiver.secrets),
        "enabled": receiver.enabled,
        "host": place_of(receiver),
        "events": list(receiver.events),
    }


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help=f"the configuration (default {DEFAULT_PATH})"
    )


def _named(name: str, receivers: Sequence[Receiver], path: Path) -> Receiver:
    """Return the receiver of that name; WatchdogError with a hint for an unknown name."""
    for receiver in receivers:
        if receiver.name == name:
            return receiver
    names = [receiver.name for receiver in receivers]
    known = f"it names {', '.join(repr(one) for one in names)}" if names else "it names none"
    hint = did_you_mean(name, names) or known
    raise WatchdogError(f"{path}: no receiver {printable(name)!r}; {hint}")


def _test(receiver: Receiver) -> int:
    answer = asyncio.run(send_test(receiver, SystemDeliveryClock()))
    took = f"in {answer.took_s * 1000:.0f} ms"
    if answer.error:
        print(f"{receiver.name}: not delivered: {answer.error}")
        if hint := misplaced(receiver, answer.status):
            print(f"  {hint}")
        return WRONG
    signed = "signed" if receiver.secrets else "not signed: it has no secret"
    print(f"{receiver.name}: {_taken(receiver, answer)} {took}" + (f", {signed}" if signs(receiver.format) else ""))
    return 0


def _taken(receiver: Receiver, answer: Response) -> str:
    """Return how a message was accepted, in the words of its way."""
    if answer.status is None:
        return "delivered"
    return f"exit code {answer.status}" if receiver.format == "exec" else f"answered {answer.status}"


def _print_table(receivers: Sequence[dict[str, object]]) -> None:
    rows = [
        (
            str(one["name"]),
            str(one["format"]),
            str(one["about"]),
            str(one["severity"]),
            str(one["rate_per_minute"] or "no limit"),
            str(one["secrets"] or "no"),
            "on" if one["enabled"] else "off",
            printable(str(one["host"])),
            _events(one),
        )
        for one in receivers
    ]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for row in (COLUMNS, *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _events(receiver: Mapping[str, Any]) -> str:
    """Return the events of a receiver without their `case.` or `incident.`; `default` for the default ones."""
    if tuple(receiver["events"]) == DEFAULTS[receiver["about"]]:
        return "default"
    return " ".join(str(event).rpartition(".")[2] for event in receiver["events"])
