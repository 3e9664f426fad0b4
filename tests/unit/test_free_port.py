"""Ports for programs of tests: free, and outside the range that the system hands to others."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support import ports


def test_a_free_port_is_none_that_the_system_gives_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ports, "GIVEN_OUT", tmp_path / "range")
    (tmp_path / "range").write_text("20000\t30000\n")
    found = {ports.free_port() for _ in range(50)}
    assert len(found) > 40
    assert min(found) >= ports.LEAST
    assert max(found) < 20_000


@pytest.mark.parametrize("given_out", [None, "1024 65535\n"])
def test_without_such_ports_the_system_chooses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given_out: str | None
) -> None:
    monkeypatch.setattr(ports, "GIVEN_OUT", tmp_path / "range")
    if given_out:
        (tmp_path / "range").write_text(given_out)
    with socket.create_server(("127.0.0.1", ports.free_port())) as server:
        assert server.getsockname()[1] >= 1_024


def test_a_port_in_use_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert not ports._is_free(taken.getsockname()[1])
