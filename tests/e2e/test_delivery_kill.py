"""kill -9 of a process that stores and delivers, at random moments, with a real receiver beside it."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.delivery import SECRET
from tests.support.delivery_process import INCIDENTS, KILLS, openings, receiver_for, story, told
from tests.support.waiting import wait_until


@contextmanager
def receive(root: Path, out: Path, *more: str) -> Iterator[str]:
    """`watchdog receive` as a process; its URL."""
    secret = out.with_suffix(".secret")
    secret.write_text(SECRET + "\n", encoding="ascii")
    command = [sys.executable, "-m", "watchdog", "receive", "--listen", "127.0.0.1:0", "--secret-file", str(secret)]
    process = subprocess.Popen(
        [*command, "--out", str(out), *more], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", first)
        assert found, first
        yield found[0]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()


def arrivals(out: Path) -> list[dict[str, Any]]:
    """What the receiver noted; any JSON."""
    return [json.loads(line) for line in out.read_text(encoding="ascii").splitlines()]


def killed_after(command: list[str], root: Path, out: Path, arrived: int) -> bool:
    """Run until `arrived` more messages are there, then kill -9 at once; False when it had ended before."""
    process, until = subprocess.Popen(command, cwd=root), lines(out) + arrived
    wait_until(lambda: process.poll() is not None or lines(out) >= until, "nothing arrives", look_s=0.001)
    process.kill()
    return process.wait() == -signal.SIGKILL


def lines(out: Path) -> int:
    """Messages so far."""
    return out.read_bytes().count(b"\n")


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_nothing_and_gives_no_notice_two_ids(root: Path, tmp_path: Path) -> None:
    chance, out = random.Random(20), tmp_path / "seen.jsonl"
    with receive(root, out, "--delay", "0.01") as url:
        command = [sys.executable, "-m", "tests.support.delivery_process", f"sqlite:///{tmp_path}/watchdog.db", url]
        killed = 0
        while killed < KILLS and killed_after(command, root, out, chance.randrange(1, 24)):
            killed += 1
        subprocess.run(command, cwd=root, check=True, timeout=600)
    seen = arrivals(out)
    expected = told(story(), receiver_for(url), 0)
    assert killed >= 2 * KILLS // 3, "most kills came when everything was done"
    assert len(expected) == len({one.id for one in expected}) >= 3 * INCIDENTS
    assert all(one["verified"] for one in seen)
    assert {one["id"] for one in seen} == {one.id for one in expected}, "nothing lost, nothing invented"
    texts = defaultdict(set)
    for one in seen:
        texts[one["id"]].add(json.dumps(one["body"], sort_keys=True))
    assert all(len(bodies) == 1 for bodies in texts.values()), "the same body each time"
    whats = {(text, one) for one, bodies in texts.items() for text in bodies}
    assert len({text for text, _ in whats}) == len(expected), "no notice under two ids"
    assert first_arrivals(seen) == {one.incident_id: order for one, order in orders(expected)}


@pytest.mark.slow
def test_kills_while_openings_merge_lose_none_and_tell_none_under_two_ids(root: Path, tmp_path: Path) -> None:
    chance, out = random.Random(21), tmp_path / "seen.jsonl"
    with receive(root, out, "--delay", "0.02") as url:
        command = [sys.executable, "-m", "tests.support.delivery_process", f"sqlite:///{tmp_path}/watchdog.db", url]
        command.append("openings")
        for _ in range(4):
            killed_after(command, root, out, chance.randrange(1, 40))
        subprocess.run(command, cwd=root, check=True, timeout=600)
    seen = arrivals(out)
    texts = defaultdict(set)
    named = defaultdict(set)
    for one in seen:
        texts[one["id"]].add(json.dumps(one["body"], sort_keys=True))
        for incident in one["body"]["data"].get("incidents", [one["body"]["data"]]):
            named[incident["id"]].add(one["id"])
    assert all(one["verified"] for one in seen)
    assert all(len(bodies) == 1 for bodies in texts.values()), "the same body each time"
    assert set(named) == {one.incident.id for one in openings()}, "none is lost"
    assert all(len(ids) == 1 for ids in named.values()), "none is told under two ids"
    assert any(id_.startswith("mrg_") for id_ in texts)


def first_arrivals(seen: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The ids of each incident in the order in which they arrived first."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in seen:
        ids = found[one["body"]["data"]["id"]]
        if one["id"] not in ids:
            ids.append(one["id"])
    return dict(found)


def orders(expected: list[Any]) -> Iterator[tuple[Any, list[str]]]:
    """Each notice with all ids of its incident in order."""
    for one in expected:
        yield one, [other.id for other in expected if other.incident_id == one.incident_id]
