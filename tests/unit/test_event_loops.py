"""The guard of event loops: what it refuses, what it lets pass, and that a swallowed error still fails the test."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.event_loops import ALLOWED, LoopGuard, watched_calls

BLOCKING = """
import asyncio, socket, subprocess, sys, threading, time
from pathlib import Path

import pytest

from alerts.store.database import Database


def swallow(call):
    async def story():
        try:
            call()
        except Exception:
            pass
    asyncio.run(story())


def in_thread(call):
    thread = threading.Thread(target=swallow, args=(call,))
    thread.start()
    thread.join()


CALLS = {
    "sleep": lambda: time.sleep(0),
    "file": lambda: Path(__file__).read_text(),
    "write": lambda: Path(__file__).with_name("out").write_text("x"),
    "lock": lambda: threading.Event().wait(0.001),
    "process": lambda: subprocess.run([sys.executable, "--version"], capture_output=True),
    "name": lambda: socket.getaddrinfo("localhost", 80),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "database": lambda: Database.open(f"sqlite:///{Path(__file__).parent}/x.db"),
    "certificates": lambda: __import__("ssl").create_default_context(),
}


@pytest.mark.parametrize("name", CALLS)
def test_on_a_loop(name):
    swallow(CALLS[name])


@pytest.mark.parametrize("name", CALLS)
def test_on_a_loop_in_a_thread(name):
    in_thread(CALLS[name])


def test_in_a_handler_of_the_service_that_answers_500():
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    async def handler(request):
        time.sleep(0)

    async def story():
        app = web.Application()
        app.router.add_get("/", handler)
        async with TestClient(TestServer(app)) as client:
            assert (await client.get("/")).status == 500
    asyncio.run(story())


def test_fine_in_a_thread():
    async def story():
        await asyncio.to_thread(time.sleep, 0)
        await asyncio.to_thread(Path(__file__).read_text)
    asyncio.run(story())


def test_fine_without_a_loop():
    time.sleep(0)
    Path(__file__).read_text()
"""


@pytest.mark.slow
def test_a_blocking_call_on_a_loop_fails_the_test(tmp_path: Path, root: Path) -> None:
    (tmp_path / "test_blocking.py").write_text(BLOCKING, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", str(root / "pyproject.toml")]
    command += ["--rootdir", str(root), "-W", "default", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert "21 passed, " in run.stdout, run.stdout  # the stories swallow the error
    assert " 19 errors in " in run.stdout, run.stdout
    assert len(re.findall(r"^ERROR .*test_blocking\.py::test_(on_a_loop|in_a_handler)", run.stdout, re.MULTILINE)) == 19
    assert len(re.findall(r"^\S+ blocks an event loop:$", run.stdout, re.MULTILINE)) >= 19


def test_loops_run_in_debug_mode_also_in_threads() -> None:
    seen: list[bool] = []

    async def look() -> None:
        seen.append(asyncio.get_running_loop().get_debug())

    asyncio.run(look())
    thread = threading.Thread(target=lambda: asyncio.run(look()))
    thread.start()
    thread.join()
    assert seen == [True, True]


def test_a_call_that_blocks_raises_and_is_named_with_its_stack(loop_guard: LoopGuard) -> None:
    async def story() -> None:
        with pytest.raises(Exception, match=r"Blocking call to os\.stat"):
            os.stat(__file__)  # noqa: PTH116 (exactly this call)

    asyncio.run(story())
    blocked = loop_guard.take()[0]
    assert blocked.startswith("os.stat blocks an event loop:")
    assert Path(__file__).name in blocked


@pytest.mark.parametrize("name", sorted(watched_calls()))
def test_every_watched_call_exists(name: str) -> None:
    assert watched_calls()[name].original_func is not None


@pytest.mark.parametrize(("call", "file", "function", "reason"), ALLOWED)
def test_allowed_calls_name_a_function_and_a_reason(call: str, file: str, function: str, reason: str) -> None:
    assert call in watched_calls()
    assert reason
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    assert f"def {function}(" in Path(str(module.__file__)).read_text(encoding="utf-8")
