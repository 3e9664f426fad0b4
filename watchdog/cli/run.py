"""`watchdog run`: watch a node until stopped."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import threading
from dataclasses import replace

from watchdog.cli.arguments import add_config_argument
from watchdog.service.callers import raise_descriptor_limit
from watchdog.service.config.read import load_config
from watchdog.service.daemon import Close, Daemon
from watchdog.service.first_start import start_before
from watchdog.service.live_view import LiveView
from watchdog.service.log_form import LogForm
from watchdog.web.app import make_app
from watchdog.web.serving import listen

SUMMARY = (
    "Watch a node until stopped: read sources, store incidents, deliver alerts, serve the page. SIGTERM or SIGINT "
    "drains and ends, SIGHUP (or 'watchdog reload') reloads rules and receivers."
)
HARD_END_S = 4.8  # a hanging database call must not delay the end; a restart computes again what it had
_LOG = logging.getLogger("watchdog.service")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog run`."""
    add_config_argument(parser)
    parser.add_argument(
        "--start",
        type=_start,
        metavar="WHEN",
        help="where sources begin that were never read: now, beginning, or how long ago, as 2h (default: the "
        "configuration's 'start')",
    )
    parser.add_argument("--no-web", action="store_true", help="without page and API")


def run(args: argparse.Namespace) -> int:
    """Run until stopped; return 0 then, 2 when the service cannot start or a part of it failed."""
    config = load_config(args.config)
    raise_descriptor_limit()
    config = replace(config, start=args.start) if args.start else config
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogForm())
    logging.basicConfig(handlers=[handler], level=config.log_level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for warning in config.warnings:
        _LOG.warning("%s", warning.splitlines()[0])

    async def main() -> None:
        daemon = Daemon(config, serve=None if args.no_web else serve, on_end=_end_at_last)
        await daemon.run()

    asyncio.run(main())
    return 0


def _start(text: str) -> str:
    """Check a start as the configuration does; ArgumentTypeError when it is wrong."""
    try:
        start_before(text, 0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


async def serve(daemon: Daemon) -> Close:
    """Start page and API over a service; return how to close them. OSError when the address is taken."""
    api, app = daemon.config.api, make_app(LiveView(daemon))
    listening = await listen(app, api.host, api.port, end_s=0.5, callers=daemon.callers)
    for address in listening.addresses:
        _LOG.info("page and API at http://%s:%s", *address)
    return listening.close


def _end_at_last() -> None:
    """End the process in time from here on, whatever hangs."""
    timer = threading.Timer(HARD_END_S, os._exit, (0,))
    timer.daemon = True
    timer.start()
