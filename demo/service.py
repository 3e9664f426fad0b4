"""The demo's service: a receiver, and `watchdog run` in this process, both on loopback; nothing leaves the machine."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from alerts.delivery.inbox import Arrival, WebhookInbox
from alerts.delivery.ports import SystemDeliveryClock
from alerts.delivery.signature import new_secret, secret_key
from alerts.incident import Reason
from demo.chat import TOKEN, DemoChat, chatting
from watchdog.cli.run import serve
from watchdog.core.errors import ServiceError
from watchdog.offline.replay import ReplayResult
from watchdog.service.config.read import load_config
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.daemon import Daemon
from watchdog.service.log_form import LogForm
from watchdog.web.serving import listen

HOST = "127.0.0.1"
NAME = "demo-service"
"""The folder of configuration, secret, database, checkpoint and log, beside the JSON lines."""
CONFIG = """\
# The demo overwrites this file.
sources: [{source}]
start: beginning
database: sqlite:///watchdog.db
log_level: info
api:
  listen: {host}:{port}
receivers:
  demo:
    url: http://{host}:{receiver}/
    secret: {{file: demo.secret}}
    severity: info
    allow_private: true
    rate_per_minute: 0
  chat:
    format: slack
    url: http://{host}:{chat}
    token: {{file: chat.token}}
    channel: demo
    severity: info
    allow_private: true
    rate_per_minute: 0
"""


@contextmanager
def claimed(parent: Path) -> Iterator[Path]:
    """Create a fresh folder for the service in `parent`, for one demo at a time. Raises ServiceError."""
    parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(f"'{parent}': another demo runs there; end it, or give --out another folder") from None
        folder = parent / NAME
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        yield folder
    finally:
        os.close(handle)


def configured(folder: Path, source: Path, ports: tuple[int, int], secret: str) -> ServiceConfig:
    """Write the service's configuration to `folder` and read it as `watchdog run` does. ports: of receiver and chat."""
    receiver, chat = ports
    for name, value in (("demo.secret", secret), ("chat.token", TOKEN)):
        key = folder / name
        key.touch(mode=0o600)
        key.write_text(value, encoding="ascii")
    path = folder / "watchdog.yaml"
    quoted = json.dumps(f"recording:{source}")
    text = CONFIG.format(source=quoted, host=HOST, port=free_port(), receiver=receiver, chat=chat)
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def free_port() -> int:
    """Return a free port; alerts contain the page's address, so it must be known beforehand."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Send the service's log to a file: the terminal belongs to the demo."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(LogForm())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


@asynccontextmanager
async def receiver(secret: str, arrivals: list[Arrival]) -> AsyncIterator[int]:
    """Start a receiver that verifies signatures and adds each request to `arrivals`; return its port."""
    inbox = WebhookInbox((secret_key(secret),), SystemDeliveryClock(), arrivals.append)
    listening = await listen(inbox.app(), HOST, 0, end_s=0.5)
    try:
        yield listening.addresses[0][1]
    finally:
        await listening.close()


class Running:
    """A service that runs, and what its receiver and its chat got. It ends by itself on a signal or a failure."""

    def __init__(self, daemon: Daemon, task: asyncio.Task[None], arrivals: list[Arrival], chat: DemoChat) -> None:
        self.daemon, self.arrivals, self.chat, self._task = daemon, arrivals, chat, task

    @property
    def url(self) -> str:
        """The page's address."""
        return self.daemon.config.api.url

    @property
    def opened(self) -> int:
        """Incidents opened so far."""
        return self.daemon.engine.counts.changes.get(Reason.OPENED.value, 0)

    async def pause(self, seconds: float) -> bool:
        """Wait; whether the service has ended meanwhile. Raises what it failed with."""
        done, _ = await asyncio.wait((self._task,), timeout=seconds)
        if done:
            self._task.result()
        return bool(done)

    async def delivered(self) -> bool:
        """Whether everything was read, judged, stored and sent."""
        engine = self.daemon.engine
        counts = self.daemon.writer.counts
        if not engine.finished or counts.records < sum(engine.counts.changes.values()):
            return False
        if counts.case_changes < engine.watch.case_rows.given:
            return False
        waiting = await self.daemon.ask(self.daemon.store.outbox.counts)
        return not self.daemon.sender.unstored and not any(status == "waiting" for _, status in waiting)

    def result(self) -> ReplayResult:
        """Return the engine's result for the recording, once it has finished."""
        watch = self.daemon.engine.watch
        titles = {plan.id: plan.title for plan in watch.rules.plans}
        incidents = watch.books.incidents()
        first_ns, last_ns = watch.pipeline.first_event_ns, watch.last_event_ns
        cases = watch.pipeline.cases
        pictures = () if cases is None else cases.pictures()
        return ReplayResult(incidents, titles, watch.events, first_ns, last_ns, finished=True, cases=pictures)


@asynccontextmanager
async def running(folder: Path, recording: Path) -> AsyncIterator[Running]:
    """Receiver, chat and service over a recording; all have ended afterwards, the service first."""
    secret, arrivals, chat = new_secret(), list[Arrival](), DemoChat()
    async with receiver(secret, arrivals) as port, chatting(chat, HOST) as chat_port:
        ports = port, chat_port
        daemon = await asyncio.to_thread(lambda: Daemon(configured(folder, recording, ports, secret), serve=serve))
        task = asyncio.create_task(daemon.run())
        ready = asyncio.create_task(daemon.ready.wait())
        try:
            await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
            # a terminal that goes away ends the demo; for the service alone it would be a reload
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, daemon.stop)
            yield Running(daemon, task, arrivals, chat)
        finally:
            ready.cancel()
            daemon.stop()
            await asyncio.wait((task,))
