"""`watchdog record rpc:...` in a process of its own: a file of answers for `snapshots:`, or an events file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.children import killed_on_failure
from tests.support.fake_node import FakeNode, v30
from tests.support.snapshot_polls import events_of
from tests.support.waiting import wait_until
from watchdog.archive.reader import EventsFile
from watchdog.core.source import SourceOptions
from watchdog.sources.rpc.snapshots_source import SnapshotsSource

ROUND = 2_000  # bytes; the head of a file has fewer, a round of answers more


def recorded(node: FakeNode, out: Path, *arguments: str, enough: str = "getrawaddrman") -> str:
    """Record until the node was asked for this, and interrupt; what the command wrote on standard error."""
    command = [sys.executable, "-m", "watchdog", "record", f"rpc:{node.url}?cookie={node.cookie}"]
    with killed_on_failure(
        subprocess.Popen([*command, "--out", str(out), *arguments], stderr=subprocess.PIPE, text=True)
    ) as process:
        before = node.count(enough)
        wait_until(lambda: node.count(enough) > before or process.poll() is not None, "the node was not asked")
        wait_until(lambda: (out.exists() and out.stat().st_size > ROUND) or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return told


def test_answers_are_recorded_for_snapshots(tmp_path: Path) -> None:
    out = tmp_path / "polls.jsonl"
    with FakeNode(tmp_path, v30()) as node:
        told = recorded(node, out)
        secret = node.cookie.read_text().partition(":")[2]
    source = SnapshotsSource(str(out), SourceOptions())
    kinds = {event["kind"] for event in events_of(source)}
    assert {"rpc:peer", "rpc:peers", "rpc:chain", "rpc:network", "rpc:mempool", "rpc:addrman", "rpc:uptime"} <= kinds
    assert "source:gap" not in kinds
    assert secret not in told
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(set(line) == {"time", "kind", "result"} for line in lines)
    assert secret not in out.read_text()


def test_an_earlier_file_is_extended_only_on_request(tmp_path: Path) -> None:
    out = tmp_path / "polls.jsonl"
    with FakeNode(tmp_path, v30()) as node:
        recorded(node, out)
        before = out.read_bytes()
        command = [
            sys.executable,
            "-m",
            "watchdog",
            "record",
            f"rpc:{node.url}?cookie={node.cookie}",
            "--out",
            str(out),
        ]
        again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert again.returncode == 2
        assert "--append" in again.stderr
        assert out.read_bytes() == before
        recorded(node, out, "--append")
        assert out.read_bytes().startswith(before)


def test_other_names_are_events_files(tmp_path: Path) -> None:
    out = tmp_path / "node.events"
    with FakeNode(tmp_path, v30()) as node:
        recorded(node, out)
    with EventsFile(out, ("rpc:peer", "source:gap")) as file:
        found = file.next_slice()
    assert found is not None
    assert sum(batch.rows for batch in found.batches if batch.kind == "rpc:peer") == 10


def test_a_password_in_the_url_is_refused_and_not_shown(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "watchdog", "record", "rpc:http://alice:geheim@127.0.0.1:8332", "--out"]
    told = subprocess.run([*command, str(tmp_path / "x")], capture_output=True, text=True, check=False, timeout=300)
    assert told.returncode == 2
    assert "holds a user or a password" in told.stderr
    assert "geheim" not in told.stderr + told.stdout
