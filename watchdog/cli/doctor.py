"""`watchdog doctor`: the nodes of this machine as this user sees them, and which ways to hear them are open."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from alerts.delivery.formats import signs
from alerts.delivery.ports import SystemDeliveryClock
from alerts.delivery.sender import send_test
from rules.load import load
from watchdog.cli.exits import BAD_INPUT, WRONG
from watchdog.cli.first_run import shipped_plans
from watchdog.cli.folding import fitted
from watchdog.core.errors import WatchdogError
from watchdog.core.plan import RulePlan
from watchdog.doctor.configured import configured_reports
from watchdog.doctor.examine import examine, find_deadline, report_of, whole_deadline
from watchdog.doctor.hang_guard import Background, Deadline, ask_all
from watchdog.doctor.judge import judged
from watchdog.doctor.nodes import find_nodes
from watchdog.doctor.report import DoctorReport, ReceiverReport, as_object
from watchdog.doctor.screen import screen
from watchdog.service.assembly import receiver as receiver_of
from watchdog.service.config.read import load_config
from watchdog.service.config.settings import ReceiverSettings, ServiceConfig
from watchdog.service.exec_rights import EXEC_HELP, refuse_exec
from watchdog.service.source_paths import user

SUMMARY = (
    "Look for nodes (/proc, --datadir, the usual folders, every chain), ask each RPC once, and print for each door, a "
    "way to read a node, whether it is open and the lines that open it. Changes nothing, ends within 15 s. Levels: ok; "
    "optional, a closed door and what it would add; problem, something configured or found does not work, or a high "
    "or critical rule cannot fire. Exit code 0 without a problem, 1 with one, 2 for bad arguments or without a node."
)
READ_S: Final = 5.0  # for the configuration and its rules: below one second, several on a busy machine
SEND_S: Final = 3.0  # for the test messages to all receivers together


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="try the sources of a configuration, and its rules")
    parser.add_argument("--datadir", type=Path, metavar="DIR", help="look at the nodes of this datadir only")
    parser.add_argument("--send", action="store_true", help="send each receiver of --config a test message")
    parser.add_argument("--allow-exec", action="store_true", help=f"with --send: {EXEC_HELP}")
    parser.add_argument("--json", action="store_true", help="one JSON object, with the lines that open each door")


def run(args: argparse.Namespace) -> int:
    """Examine and print; the exit code. WatchdogError when the configuration cannot be used."""
    if args.send and args.config is None:
        raise WatchdogError("--send needs --config, which names the receivers")
    report = _examined(args.config, args.datadir, send=args.send, allow_exec=args.allow_exec)
    if args.json:
        sys.stdout.write(json.dumps(as_object(report), indent=2) + "\n")
    else:
        for line in screen(report, user()):
            sys.stdout.write(f"{line.text}\n" if line.whole else fitted(f"{line.text}\n"))
    if not report.nodes:
        return BAD_INPUT
    return WRONG if report.problems else 0


def _examined(path: Path | None, datadir: Path | None, *, send: bool, allow_exec: bool) -> DoctorReport:
    if path is None:
        return examine(shipped_plans, datadir)
    deadline = whole_deadline()
    config, plans = _read(path)
    if send and not allow_exec:
        refuse_exec(config.receivers, "watchdog doctor --send")
    receivers = Background(lambda: _receivers(config.receivers, send=send))
    found = find_nodes(datadir, find_deadline(deadline))
    configured, others = configured_reports(config, found.nodes, deadline)
    rules, nodes = judged(plans, configured)
    return report_of(found, [*nodes, *others], rules, receivers.get(), config.clock_skew / 1e9)


def _read(path: Path) -> tuple[ServiceConfig, Sequence[RulePlan]]:
    """Return a configuration and its rules; WatchdogError for mistakes, and for a disk that does not answer."""

    def read() -> tuple[ServiceConfig, Sequence[RulePlan]]:
        config = load_config(path)
        return config, load(config.rules, packs=config.packs, exceptions=config.exceptions).plans

    answers = ask_all({"configuration": read}, Deadline(READ_S))
    if not answers:
        raise WatchdogError(f"{path}: was not read within {READ_S:g} s: a dead disk, or a machine that is too busy")
    return answers["configuration"].get()


def _receivers(settings: Sequence[ReceiverSettings], *, send: bool) -> list[ReceiverReport]:
    """Return the receivers, those that are on with the outcome of a test message if one was asked for."""
    asked = {one.name: _tester(one) for one in settings if send and one.enabled}
    answers = ask_all(asked, Deadline(SEND_S))
    reports = []
    for one in settings:
        signed = _signed(one)
        if not one.enabled:
            reports.append(ReceiverReport(one.name, "optional", "switched off"))
        elif not send:
            reports.append(ReceiverReport(one.name, "ok", f"{one.format}{signed}; not tried without --send"))
        elif one.name not in answers:
            reports.append(ReceiverReport(one.name, "problem", f"no answer within {SEND_S:g} s"))
        else:
            error = answers[one.name].get()
            text = f"not delivered: {error}" if error else f"took a test message{signed}"
            reports.append(ReceiverReport(one.name, "problem" if error else "ok", text))
    return reports


def _signed(settings: ReceiverSettings) -> str:
    """Return whether requests are signed; empty for a format that is never signed."""
    if not signs(settings.format):
        return ""
    return ", signed" if settings.secrets else ", not signed"


def _tester(settings: ReceiverSettings) -> Callable[[], str]:
    return lambda: asyncio.run(send_test(receiver_of(settings), SystemDeliveryClock())).error
