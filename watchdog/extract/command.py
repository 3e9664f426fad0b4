"""The extractor as a program: rights, socket, program, confinement, then serving until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import capnp

from watchdog.extract.extractor import LOOK_S, Extractor
from watchdog.extract.privileges import bind, check_rights, drop
from watchdog.extract.probes import Probes
from watchdog.extract.process import Finder
from watchdog.extract.seccomp import confine

_LOG = logging.getLogger("watchdog.extract")


@dataclass(frozen=True, slots=True)
class ExtractOptions:
    """What the command line says. pid, pid_file: at most one of them. kinds: None for all."""

    socket: Path
    pid: int | None = None
    pid_file: Path | None = None
    binary: Path | None = None
    group: str | None = None
    kinds: frozenset[str] | None = None


def extract(options: ExtractOptions) -> None:
    """Serve until SIGINT or SIGTERM. ExtractError: it cannot start."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    check_rights()
    finder = Finder(options.pid, options.pid_file, options.binary)
    listener = bind(options.socket, options.group)
    try:
        asyncio.run(capnp.run(_serve(options, finder, listener)))
    finally:
        listener.close()
        with contextlib.suppress(
            OSError
        ):  # its folder may be closed to the user that remains; the next start replaces it
            options.socket.unlink()


async def _serve(options: ExtractOptions, finder: Finder, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    before = None if finder.claims else finder.find()
    if before is not None or finder.claims:
        finder.hold(before)
    user = before.user if before is not None else _owner_of_folder(options.pid_file)
    _LOG.info("rights: user %d, CAP_BPF and CAP_PERFMON", drop(user))
    extractor = Extractor(listener, finder, options.kinds, Probes())
    confine()
    await _begin(extractor, options, ending)
    if ending.is_set():
        return
    running = loop.create_task(extractor.run())
    asking = loop.create_task(ending.wait())
    await asyncio.wait([running, asking], return_when=asyncio.FIRST_COMPLETED)
    asking.cancel()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _begin(extractor: Extractor, options: ExtractOptions, ending: asyncio.Event) -> None:
    """Wait for the node."""
    said = False
    while not ending.is_set() and not extractor.begin():
        if not said:
            _LOG.info("waiting for the node: '%s' has no process yet", options.pid_file)
            said = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), LOOK_S)
    if not ending.is_set():
        _LOG.info("serving at '%s'", options.socket)


def _owner_of_folder(pid_file: Path | None) -> int | None:
    """Return the user who will own the node that writes this pid file; None where that is not known."""
    try:
        return pid_file.parent.stat().st_uid if pid_file is not None else None
    except OSError:
        return None
