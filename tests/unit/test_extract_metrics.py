"""What an extractor says of itself reaches /metrics; another server can add neither labels nor nonsense."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from watchdog.core.source import HealthReporting, Source
from watchdog.service.channel import Channel
from watchdog.service.exposition import Exposition
from watchdog.service.extract_metrics import extract_metrics

HEALTH = {
    "records": 1_000.0, "lost": 3.0, "lost_payloads": 2.0, "unreadable": 5.0, "other_processes": 7.0, "late": 0.0,
    "probes": 4.0, "probes_refused": 1.0, "node_runs": 1.0, "cpu_s": 0.25,
    "unreadable net:inbound_message peer": 4.0, "unreadable mempool:removed reason": 1.0,
}  # fmt: skip


def text_of(health: Mapping[str, float]) -> str:
    """The lines of these metrics, for one source."""
    source = cast(Source, SimpleNamespace(server_health=health))
    assert isinstance(source, HealthReporting)
    out = Exposition()
    extract_metrics(out, [Channel("stream:/run/a\x1b.sock", "a", source), Channel("log:a", "b")], {"node": "alice"})
    lines = out.text().splitlines()
    return "\n".join(line for line in lines if line.startswith("watchdog_"))


def test_all_numbers_of_a_heartbeat_are_metrics() -> None:
    text = text_of(HEALTH)
    assert "\x1b" not in text
    assert all('node="alice"' in line for line in text.splitlines())
    values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()]
    assert sorted(values) == sorted([1_000, 3, 2, 7, 0, 4, 1, 1, 0.25, 4, 1])
    assert re.search(r'^watchdog_extract_lost_total{.*what="payloads".*} 2.0$', text, re.MULTILINE)
    (peer,) = re.findall(r"^watchdog_extract_unreadable_total(.*) 4.0$", text, re.MULTILINE)
    assert 'field="peer"' in peer
    assert 'kind="net:inbound_message"' in peer


def test_a_source_without_a_heartbeat_has_none() -> None:
    assert text_of({}) == ""


def test_a_hostile_server_adds_nothing() -> None:
    hostile: dict[str, Any] = {
        "records": math.nan, "lost": math.inf, "evil\x1b": 1.0, "unreadable a b": 1.0, "unreadable": 9.0,
        "unreadable net:inbound_message nothing": 1.0, "unreadable mempool:added txid": -math.inf, "probes": 2.0,
    }  # fmt: skip
    (line,) = text_of(hostile).splitlines()
    assert line.startswith("watchdog_extract_probes{")
    assert line.endswith(" 2.0")


def test_the_page_has_every_metric() -> None:
    page = (Path(__file__).parents[2] / "docs" / "SOURCES.md").read_text(encoding="utf-8")
    written = set(re.findall(r"^(watchdog_\w+){", text_of(HEALTH), re.MULTILINE))
    assert set(re.findall(r"`(watchdog_extract_[a-z_]+)", page)) == written
