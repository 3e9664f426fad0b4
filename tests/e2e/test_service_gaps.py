"""The service as a real process beside a node that was quiet before a part of its log was lost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service_process import WATCHING, ServiceProcess, end_all, until_rows
from tests.support.waiting import wait_until

CONFIG = """
sources: [ "log:{log}" ]
rules: rules.yaml
packs: false
checkpoint: {{every: 5s}}
"""
RULES = """
rules:
  lines-lost:
    title: Lines were lost
    attack: data
    severity: info
    on: source:gap
    by: []
    measure: {gaps: count()}
    over: 1m
    pane: 1s
    fire: gaps >= 1
    resolve_after: 1m
    summary: "{gaps} gaps"
  misbehaving:
    title: A peer misbehaves
    attack: resource
    severity: info
    on: log:misbehaving
    by: []
    measure: {lines: count()}
    over: 1m
    fire: lines > 1000
    resolve_after: 1m
    summary: "{lines} lines"
"""


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    end_all()


def lines(count: int) -> str:
    """Lines of this moment."""
    now = f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return "".join(f"{now} [net] Misbehaving: peer={peer}: x\n" for peer in range(count))


@pytest.mark.slow
def test_a_node_that_was_quiet_before_lines_were_lost_is_told_of(tmp_path: Path) -> None:
    log, checkpoint = tmp_path / "debug.log", tmp_path / "watchdog.checkpoint"
    log.write_text(lines(3))
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "watchdog.yaml").write_text(CONFIG.format(log=log))
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(WATCHING)
    seen: set[int] = set()  # the second is written after 5 s: by then the watermark is past the time of the lines

    def written_twice() -> bool:
        seen.update({checkpoint.stat().st_mtime_ns} if checkpoint.exists() else ())
        return len(seen) == 2

    wait_until(written_twice)
    service.end()
    log.unlink()
    log.write_text(lines(30))
    service = ServiceProcess(tmp_path, "--no-web")
    assert until_rows(tmp_path, "SELECT rule, summary FROM incidents", 1) == [("lines-lost", "1 gaps")]
    service.end()
