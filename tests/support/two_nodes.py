"""A service for several nodes in the test's own process: each node has a file of polls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from alerts.store.incidents import IncidentFilter
from tests.support.daemon import RULES
from tests.support.event_loops import scenery
from tests.support.service_process import mempool_line
from tests.support.waiting import wait_until
from watchdog.service.daemon import Daemon

FULL = (10, 600, 600, 600)  # transactions of the polls, ten seconds apart: the mempool is full from the second on


def _configure(folder: Path, names: Iterable[str], more: str = "") -> None:
    (folder / "rules.yaml").write_text(RULES)
    nodes = "".join(f"  {name}: {{sources: snapshots:{name}.jsonl}}\n" for name in names)
    head = "start: beginning\npacks: false\nrules: rules.yaml\nnodes:\n"
    (folder / "watchdog.yaml").write_text(head + nodes + more)
    for name in names:
        (folder / f"{name}.jsonl").touch()


def _poll(folder: Path, name: str, sizes: Iterable[int] = FULL, second: int = 0) -> None:
    with (folder / f"{name}.jsonl").open("a") as file:
        file.writelines(mempool_line(second + 10 * step, size) for step, size in enumerate(sizes))


def configure_nodes(folder: Path, names: Iterable[str], more: str = "") -> None:
    """Write `watchdog.yaml` with these nodes, and an empty file of polls for each that has none."""
    scenery(lambda: _configure(folder, list(names), more))


def poll(folder: Path, name: str, sizes: Iterable[int] = FULL, second: int = 0) -> None:
    """Append polls of a node, ten seconds apart."""
    scenery(lambda: _poll(folder, name, sizes, second))


async def seen(condition: Callable[[], bool]) -> None:
    """Wait in a thread of its own for a condition that asks the database."""
    await asyncio.to_thread(wait_until, condition, "it did not come", 20)


def stored(daemon: Daemon) -> list[tuple[str, str, str]]:
    """Node, rule and state of each stored incident, by node."""
    page = daemon.store.queries.page(IncidentFilter(), 100)
    return sorted((str(row["node"]), str(row["rule"]), str(row["state"])) for row in page.rows)
