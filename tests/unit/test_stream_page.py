"""docs/STREAM.md: its client runs as it is printed, and its numbers are those of the program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.stream_rig import ADDED, TIME_NS, added
from tests.support.stream_service import StreamService
from tests.support.waiting import wait_until
from watchdog.stream import metered, schema, server, session, where


def page(root: Path) -> str:
    """The text of the page."""
    return (root / "docs" / "STREAM.md").read_text(encoding="utf-8")


def test_the_client_of_the_page_reads_a_server(root: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page(root), re.DOTALL)
    (tmp_path / "client.py").write_text(code)
    shutil.copy(root / "watchdog/core/schema/stream.capnp", tmp_path)
    service = StreamService(tmp_path / "s", (ADDED,))
    client = subprocess.Popen(
        [sys.executable, "client.py", "s", "mempool:added"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: service.subscribers == 1, "the client did not subscribe")
        service.offer([added(3)], TIME_NS)
        service.end()
        said, _ = client.communicate(timeout=300)
    finally:
        client.kill()
        service.stop()
    assert said.splitlines() == [
        "theirs  ['mempool:added']",
        "subscribed",
        "mempool:added 3 ['time_ns', 'txid', 'vsize_vb', 'fee_sat']",
    ]
    assert len(code.splitlines()) <= 36


def test_its_numbers_are_those_of_the_program(root: Path) -> None:
    text = page(root)
    for part in (
        f"`Protocol.major` {schema.MAJOR}.",
        f"{schema.WINDOW_BATCHES} deliveries or {schema.WINDOW_BYTES >> 20} MiB without a return",
        f"nothing for {schema.ACKNOWLEDGE_S:.0f} s is disconnected",
        f"has not subscribed within {session.GREETING_S:.0f} s",
        f"{schema.SUBSCRIBERS_MOST} subscribers and {server.CONNECTIONS_MOST} connections",
        f"a message of at most {schema.MESSAGE_WORDS * 8 >> 20} MiB",
        f"at most {metered.ALLOWANCE >> 20} MiB and {metered.ANSWER_BYTES >> 10} KiB for each call",
        f"more than {where.NODES_MOST:,} parts or {where.DEPTH_MOST} levels",
        f"at most {session.ARGUMENTS_MOST} typed fields",
    ):
        assert part in text, part
