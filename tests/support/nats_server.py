"""A real nats-server for tests, on a free port of loopback; its configuration is the test's."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nats

from tests.support.parts import lacking
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PROGRAM = shutil.which("nats-server", path="/usr/sbin:/usr/local/bin:/usr/bin:/bin")


class NatsServer:
    """One server. `start` and `stop` may be repeated: it keeps its port. config: text of its configuration file."""

    def __init__(self, folder: Path, config: str = "") -> None:
        if PROGRAM is None:
            lacking("not installed: nats-server, Debian's package 'nats-server'")
        self.port = free_port()
        self._config = folder / "nats.conf"
        self._config.write_text(f'listen: "127.0.0.1:{self.port}"\n{config}\n', encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.credentials: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; returns when it accepts connections."""
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            (PROGRAM, "-c", str(self._config)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._accepts, "nats-server did not start")

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(300)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it hang: it keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def publish(self, messages: Sequence[bytes], subject: str = "netmsg") -> None:
        """Publish messages, as an extractor does; returns when the server has them."""
        asyncio.run(self._publish(messages, subject))

    async def _publish(self, messages: Sequence[bytes], subject: str) -> None:
        client = await nats.connect(self.url, **self.credentials)
        for message in messages:
            await client.publish(subject, message)
        await client.flush(30)
        await client.close()

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def nats_server(folder: Path, config: str = "") -> Iterator[NatsServer]:
    """Run one for a test."""
    server = NatsServer(folder, config)
    server.start()
    try:
        yield server
    finally:
        server.stop()
