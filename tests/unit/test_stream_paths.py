"""`check` looks at the socket of a `stream:` source without connecting to it."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from tests.support.parts import lacking
from tests.unit.test_source_paths import as_nobody
from watchdog.service.source_paths import path_problems


def told(path: Path) -> list[tuple[str, bool]]:
    """What is said of a path, and whether it is a mistake."""
    return [(one.text, one.mistake) for one in path_problems(f"stream:{path}", {})]


def test_a_socket_is_fine_and_anything_else_is_not(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    assert told(path) == [(f"'{path}' does not exist (yet)", False)]
    path.touch()
    assert told(path) == [(f"'{path}' is no socket", True)]
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert told(path) == []


def test_a_socket_of_another_group_is_a_mistake() -> None:
    if os.geteuid():
        lacking("only root can become another user")
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
        Path(name).chmod(0o755)
        path = Path(name) / "node.sock"
        server.bind(str(path))
        path.chmod(0o660)
        with as_nobody():
            assert told(path) == [(f"user nobody cannot connect to '{path}': it needs write permission", True)]
        Path(name).chmod(0o700)
        with as_nobody():
            ((text, mistake),) = told(path)
        assert mistake
        assert "cannot be reached" in text
