"""A source that works and cannot give all its kinds is not in force for those that it lacks."""

from __future__ import annotations

from pathlib import Path

from tests.support.fake_node import FakeNode, v30
from tests.support.ipc_node import IpcNode
from tests.support.waiting import wait_until
from watchdog.core.source import SourceOptions
from watchdog.pipeline.clock import SystemClock
from watchdog.service.feed import Feed


def test_an_ipc_source_without_calls_leaves_the_polls_to_rpc(tmp_path: Path) -> None:
    """A node of v30 gives its tip alone over IPC: with rpc beside it the watchdog is not blind."""
    with IpcNode(tmp_path, "v30") as node, FakeNode(tmp_path, v30()) as http:
        texts = [f"ipc:{node.socket}", f"rpc:{http.url}?cookie={http.cookie}"]
        feed = Feed(texts, SourceOptions(follow=True), SystemClock())
        feed.open({})

        def taken() -> bool:
            while feed.next() is not None:
                pass
            return any("rpc:peers" in one.others.get(texts[1], ()) for one in feed.in_force.standings)

        try:
            wait_until(taken, lambda: f"{[one.others for one in feed.in_force.standings]}")
        finally:
            feed.close()
