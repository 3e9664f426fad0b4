"""`watchdog run`: watch a node until stopped."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import stat
import sys
import threading
from dataclasses import replace
from pathlib import Path

from watchdog.cli.first_run import first_config
from watchdog.core.errors import ServiceError
from watchdog.service.callers import raise_descriptor_limit
from watchdog.service.config.read import DEFAULT_PATH, load_config
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.daemon import Close, Daemon
from watchdog.service.exec_rights import EXEC_HELP, check_exec
from watchdog.service.first_start import start_before
from watchdog.service.live_view import LiveView
from watchdog.service.log_form import form_named
from watchdog.service.supervisor import this_process
from watchdog.web.app import make_app
from watchdog.web.serving import listen

SUMMARY = (
    "Watch a node until stopped: read sources, store incidents, deliver alerts, serve the page. SIGTERM or SIGINT "
    "shuts down in order, SIGHUP (or 'watchdog reload') reloads rules and receivers."
)
HARD_END_S = 4.8  # a hanging database call must not delay the end; a restart computes again what it had
_LOG = logging.getLogger("watchdog.service")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watchdog run`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"default: {DEFAULT_PATH}, and without one the nodes of this machine whose RPC answers",
    )
    parser.add_argument(
        "--start",
        type=_start,
        metavar="WHEN",
        help="where to start in sources that were never read: now, beginning, or a duration ago such as 2h (default: "
        "the configuration's 'start')",
    )
    parser.add_argument("--allow-exec", action="store_true", help=EXEC_HELP)
    parser.add_argument("--no-web", action="store_true", help="run without page and API")


def run(args: argparse.Namespace) -> int:
    """Run until stopped; return 0 then, 2 when the service cannot start or a part of it failed."""
    config, lines = _config(args)
    raise_descriptor_limit()
    config = replace(config, start=args.start or config.start, allow_exec=args.allow_exec)
    check_exec(config)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(form_named(config.log_format))
    logging.basicConfig(handlers=[handler], level=config.log_level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for line in lines:
        _LOG.warning("%s", line)
    for warning in config.warnings:
        _LOG.warning("%s", warning.splitlines()[0])

    serving = None if args.no_web else serve
    daemon = Daemon(config, serve=serving, on_end=_end_at_last, supervisor=this_process())  # before the loop: it reads

    async def main() -> None:
        settling = asyncio.create_task(_settle(daemon.ready))
        try:
            await daemon.run()
        finally:
            settling.cancel()

    asyncio.run(main())
    return 0


async def _settle(ready: asyncio.Event) -> None:
    """Exempt the objects of the start from garbage collection: modules and rules live as long as the process.

    Without this, full collections walk all of them again and again, a tenth of the engine's time at rest (py-spy).
    """
    await ready.wait()
    gc.collect()
    gc.freeze()


def _config(args: argparse.Namespace) -> tuple[ServiceConfig, list[str]]:
    """Return the configuration, and lines to log about it: --config, else the file here, else what is found."""
    if args.config is None and not DEFAULT_PATH.exists():
        return first_config()
    if args.config is None:
        _refuse_foreign(DEFAULT_PATH)
    args.config = args.config or DEFAULT_PATH
    return load_config(args.config), []


def _refuse_foreign(path: Path) -> None:
    """Raise ServiceError for a file that was not asked for and that another user wrote or can write.

    In a shared folder it would make this user's service read and send whatever its author names.
    """
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise ServiceError(f"{path} here belongs to another user; if it is meant, name it: --config {path}")
    if found.st_mode & stat.S_IWOTH:
        raise ServiceError(f"{path} here can be written by everybody; if it is meant, name it: --config {path}")


def _start(text: str) -> str:
    """Check a start as the configuration does; ArgumentTypeError when it is wrong."""
    try:
        start_before(text, 0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


async def serve(daemon: Daemon) -> Close:
    """Start page and API over a service; return how to close them. OSError when the address is taken."""
    api, app = daemon.config.api, await asyncio.to_thread(make_app, LiveView(daemon))  # reads the page's files
    listening = await listen(app, api.host, api.port, end_s=0.5, callers=daemon.callers)
    for address in listening.addresses:
        _LOG.info("page and API at http://%s:%s", *address)
    return listening.close


def _end_at_last() -> None:
    """End the process in time from here on, whatever hangs."""
    timer = threading.Timer(HARD_END_S, os._exit, (0,))
    timer.daemon = True
    timer.start()
