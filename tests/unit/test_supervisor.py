"""Notifications to a service manager, over a real datagram socket in its place."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.daemon import MovedClock, configure
from tests.support.service_process import ServiceProcess, end_all
from tests.support.waiting import reached, wait_until
from watchdog.service.config.read import load_config
from watchdog.service.daemon import Daemon
from watchdog.service.supervisor import Supervisor
from watchdog.service.view import Check, Health


@dataclass
class Manager:
    """The socket of a service manager, and the words that arrived."""

    socket: socket.socket
    words: list[str] = field(default_factory=list)

    def heard(self) -> list[str]:
        while True:
            try:
                self.words += self.socket.recv(4_096).decode().split("\n")
            except BlockingIOError:
                return self.words

    def has(self, word: str) -> bool:
        return any(one.startswith(word) for one in self.heard())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield Manager(listening)


@dataclass
class Vital:
    """Vitals that a test sets."""

    alive: bool = True
    why: str = ""

    def health(self) -> Health:
        return Health((Check("engine", self.alive, ""),))

    def trouble(self) -> str:
        return self.why


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_all()


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(folder / "notify"), **more}


def test_a_service_says_that_it_runs_reloads_and_ends(tmp_path: Path, manager: Manager) -> None:
    (tmp_path / "debug.log").touch()
    configure(tmp_path)
    service = ServiceProcess(tmp_path, "--no-web", environment=environment(tmp_path, WATCHDOG_USEC="400000"))
    wait_until(lambda: manager.has("READY=1"), service.text)
    assert manager.words[:2] == ["READY=1", "STATUS=watching 1 source of node alice"]
    wait_until(lambda: manager.heard().count("WATCHDOG=1") > 2)
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: manager.heard().count("READY=1") == 2)
    begin = manager.words.index("RELOADING=1")
    assert re.fullmatch(r"MONOTONIC_USEC=\d+", manager.words[begin + 1])
    service.end()
    wait_until(lambda: manager.has("STOPPING=1"))


def test_without_a_watchdog_only_the_state_is_sent(tmp_path: Path, manager: Manager) -> None:
    (tmp_path / "debug.log").touch()
    configure(tmp_path)
    service = ServiceProcess(
        tmp_path, "--no-web", environment=environment(tmp_path, WATCHDOG_USEC="400000", WATCHDOG_PID="1")
    )
    wait_until(lambda: manager.has("READY=1"), service.text)
    service.end()
    wait_until(lambda: manager.has("STOPPING=1"))
    assert not manager.has("WATCHDOG=1")


def test_a_stuck_service_gives_no_sign_of_life_and_a_blind_one_says_why(tmp_path: Path, manager: Manager) -> None:
    vital = Vital()
    supervisor = Supervisor(str(tmp_path / "notify"), 0.1)

    async def story() -> None:
        task = asyncio.create_task(supervisor.keep_alive(vital, "fine"))
        await reached(lambda: manager.has("WATCHDOG=1"))
        vital.why = "the database does not answer"
        await reached(lambda: manager.has("STATUS=unhealthy: the database does not answer"))
        count = manager.heard().count("WATCHDOG=1")
        await reached(lambda: manager.heard().count("WATCHDOG=1") > count + 1)  # a restart would not help
        vital.alive, vital.why = False, "the engine is stuck"
        await reached(lambda: manager.has("STATUS=unhealthy: the engine is stuck"))
        count = manager.heard().count("WATCHDOG=1")
        vital.why = "the engine is still stuck"
        await reached(lambda: manager.has("STATUS=unhealthy: the engine is still stuck"))
        assert manager.heard().count("WATCHDOG=1") == count
        task.cancel()

    asyncio.run(story())


def test_an_engine_that_does_not_move_stops_the_signs_of_life(tmp_path: Path, manager: Manager) -> None:
    (tmp_path / "debug.log").touch()
    configure(tmp_path)

    clock = MovedClock()
    supervisor = Supervisor(str(tmp_path / "notify"), 0.2)
    daemon = Daemon(load_config(tmp_path / "watchdog.yaml"), clock=clock, supervisor=supervisor)

    async def story() -> None:
        running = asyncio.create_task(daemon.run())
        await reached(lambda: manager.has("WATCHDOG=1"))
        hold = asyncio.Event()
        loop = asyncio.get_running_loop()

        def block() -> None:
            asyncio.run_coroutine_threadsafe(hold.wait(), loop).result()

        daemon.engine.orders.put(block)
        await reached(lambda: len(daemon.engine.orders) == 0)
        clock.ahead = 60.0
        await reached(lambda: manager.has("STATUS=unhealthy: the engine is stuck"))
        before = manager.heard().count("WATCHDOG=1")
        manager.words.clear()
        assert before
        assert not manager.has("WATCHDOG=1")
        hold.set()
        await reached(lambda: manager.has("WATCHDOG=1"))
        daemon.stop()
        await running

    asyncio.run(story())


@pytest.mark.parametrize("address", ["", "nowhere", "unix:/run/x", "-"])
def test_an_address_of_another_form_is_no_manager(address: str) -> None:
    assert not Supervisor.from_environment({"NOTIFY_SOCKET": address}, os.getpid()).there
    assert not Supervisor.from_environment({}, os.getpid()).there


def test_an_abstract_address_is_reached() -> None:
    name = f"watchdog-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        Supervisor(f"@{name}").ready("fine")
        assert listening.recv(100) == b"READY=1\nSTATUS=fine"


def test_a_manager_that_is_gone_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor(str(tmp_path / "gone"))
    supervisor.ready("fine")
    supervisor.stopping()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the service manager cannot be notified: no such file or directory" in caplog.text


@pytest.mark.parametrize("usec", ["", "soon", "-1", "1e6", "²"])
def test_an_interval_that_is_no_number_asks_for_no_signs_of_life(usec: str) -> None:
    supervisor = Supervisor.from_environment({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": usec}, os.getpid())
    assert (supervisor.there, supervisor._watchdog_s) == (True, 0.0)


def test_a_trouble_with_line_breaks_is_one_word_of_the_notification(manager: Manager) -> None:
    Supervisor(str(manager.socket.getsockname())).ready("source a\nSTOPPING=1\nMAINPID=1: \udcff")
    words = manager.heard()
    assert [word.partition("=")[0] for word in words] == ["READY", "STATUS"]


@pytest.mark.parametrize("usec", ["9" * 5_000, "9" * 400, "\u0663", "-1", "", "1e9"])
def test_a_watchdog_time_that_systemd_never_gives_counts_as_none(usec: str) -> None:
    environment = {"NOTIFY_SOCKET": "@name", "WATCHDOG_USEC": usec}
    assert vars(Supervisor.from_environment(environment, 1))["_watchdog_s"] == 0.0


@pytest.mark.parametrize("name", ["@" + "x" * 200, "/" + "x" * 200, "@", "/\udcff"])
def test_a_socket_that_cannot_be_reached_is_logged_and_ends_nothing(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor.from_environment({"NOTIFY_SOCKET": name}, 1)
    with caplog.at_level(logging.WARNING, "watchdog.service"):
        supervisor.ready("watching")
        supervisor.stopping()
    assert caplog.text.count("the service manager cannot be notified") == 1
