"""Peers, their messages and the message metrics of a running service over a capture that grows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from tests.support.capture_files import append, handshake, record
from tests.support.daemon import MovedClock, configure, serve, until
from tests.support.event_loops import scenery
from watchdog.service.daemon import Daemon
from watchdog.service.live_view import LiveView
from watchdog.web.app import make_app

INBOUND, OUTBOUND = "8.8.8.8_50000", "[2a01_4f8__2]_8333"


def write(folder: Path, peer: str, received: bool, *messages: tuple[str, int]) -> None:
    now_us = int(time.time() * 1e6)
    append(folder / "capture", peer, received, b"".join(record(now_us, type_, bytes(size)) for type_, size in messages))


def found(view: LiveView) -> dict[str, Any]:
    peers: Any = view.peers("alice")["peers"]
    return {one["peer"]: one for one in peers}


def test_a_peer_its_messages_and_the_metrics(tmp_path: Path) -> None:
    now_us = int((time.time() - 1) * 1e6)
    handshake(tmp_path / "capture", INBOUND, now_us, inbound=True)
    handshake(tmp_path / "capture", OUTBOUND, now_us, inbound=False)
    write(tmp_path, INBOUND, True, ("inv", 37), ("inv", 73), ("x\x1b[2J", 5))
    configure(tmp_path, sources="capture:capture")

    async def story(daemon: Daemon, clock: MovedClock) -> None:
        view = LiveView(daemon)
        await until(lambda: "8.8.8.8:50000" in found(view))
        one = found(view)["8.8.8.8:50000"]
        assert (one["direction"], one["connection_type"]) == ("in", "inbound")
        counted = {type_: (one["count"], one["bytes"]) for type_, one in one["messages"]["received"].items()}
        assert counted == {"version": (1, 85), "inv": (2, 110), "other": (1, 5)}
        metrics = view.metrics()
        labels = 'connection_type="inbound",direction="received",node="alice"'
        assert f'watchdog_node_messages_total{{{labels},type="inv"}} 2.0' in metrics
        assert f'watchdog_node_message_bytes_total{{{labels},type="other"}} 5.0' in metrics
        async with TestClient(TestServer(scenery(lambda: make_app(view)))) as client:
            path = f"/api/v1/nodes/alice/peers/{one['conn']}/messages"
            first = await (await client.get(path)).json()
            assert (first["watched"], first["messages"]) == (False, [])
            scenery(lambda: write(tmp_path, INBOUND, True, ("ping", 8)))
            scenery(lambda: write(tmp_path, INBOUND, False, ("pong", 8)))
            await until(lambda: len(view.messages("alice", one["conn"])["messages"]) == 2)  # type: ignore[arg-type]
            kept = (await (await client.get(path)).json())["messages"]
            assert [(one["type"], one["flow"], one["size"]) for one in kept] == [
                ("ping", "received", 8),
                ("pong", "sent", 8),
            ]
            assert (await client.get("/api/v1/nodes/alice/peers/99/messages")).status == 404
            assert (await client.get("/api/v1/nodes/bob/peers")).status == 404
        clock.ahead += 61
        assert view.messages("alice", one["conn"])["messages"] == [], "they were not asked for within a minute"

    serve(tmp_path, story)
