"""The service manager's notification socket (systemd's sd_notify(3)), without a library: a datagram for each word.

systemd restarts a service of `WatchdogSec=` that has not sent `WATCHDOG=1` in time. That word comes from
`Vitals.health`, as `/healthz` does: it stops when a restart would help, because a thread or the event loop is stuck. A
service that is blind for another reason (the node is down, the database does not answer) keeps running: a restart would
not help, and would begin again the waits after which it reports that. `systemctl status` shows the reason.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Final, Protocol

from watchdog.core.episode import Episode
from watchdog.core.text import printable
from watchdog.service.view import Health

STATUS_S: Final = 10.0
"""Between two looks at the vitals without `WatchdogSec=`."""
LEAST_S: Final = 0.05
STATUS_MOST: Final = 500  # characters of the line that `systemctl status` shows
USEC_DIGITS: Final = 20  # of 64 bits, which systemd counts in
_LOG = logging.getLogger("watchdog.service")


class Judge(Protocol):
    """What the notifications are taken from; `Vitals`."""

    def health(self) -> Health:
        """Return whether the service is alive."""
        ...

    def trouble(self) -> str:
        """Return why it is unhealthy, empty when it is not."""
        ...


class Supervisor:
    """Sends to the service manager that started this process; does nothing without one.

    address: `$NOTIFY_SOCKET`: a path, or a name in the abstract namespace after an `@`; empty without a manager.
    watchdog_s: the time within which the manager wants a sign of life, 0 for never. A datagram that cannot be sent is
    logged once an episode and costs nothing else.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_s, self._status, self._fault = watchdog_s, "", Episode()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> Supervisor:
        """Return the supervisor of this process, as systemd describes it in the environment of what it starts."""
        address = environment.get("NOTIFY_SOCKET", "")
        if address[:1] not in {"/", "@"}:
            return cls()
        ours = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        usec = environment.get("WATCHDOG_USEC", "")
        usable = ours and usec.isascii() and usec.isdecimal() and len(usec) <= USEC_DIGITS
        return cls(address, int(usec) / 1e6 if usable else 0.0)

    @property
    def there(self) -> bool:
        """Whether a service manager listens."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Report that the service runs, or that a reload has ended. status: a line for people."""
        self._send("READY=1", self._line(status))

    def reloading(self) -> None:
        """Report that a reload begins."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report that the service ends."""
        self._send("STOPPING=1", self._line("ending"))

    async def keep_alive(self, vitals: Judge, fine: str) -> None:
        """Send signs of life, and the state when it changes, until cancelled. fine: the line of a healthy service."""
        period_s = max(LEAST_S, self._watchdog_s / 2) if self._watchdog_s else STATUS_S
        while True:
            trouble = vitals.trouble()
            status = f"unhealthy: {trouble}" if trouble else fine
            words = [] if status[:STATUS_MOST] == self._status else [self._line(status)]
            if self._watchdog_s and vitals.health().ok:
                words.append("WATCHDOG=1")
            if words:
                self._send(*words)
            await asyncio.sleep(min(period_s, STATUS_S))

    def _line(self, status: str) -> str:
        """Return the word of a status. A line break in it would begin another word, such as `STOPPING=1`."""
        self._status = status[:STATUS_MOST]
        return f"STATUS={printable(status, STATUS_MOST)}"

    def _send(self, *words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(words).encode(), self._address)
        except OSError as error:
            if self._fault.failed(str(error)):
                _LOG.warning("the service manager cannot be notified: %s", (error.strerror or str(error)).lower())
        else:
            self._fault.worked(time.monotonic())


def this_process() -> Supervisor:
    """Return the supervisor of this process."""
    return Supervisor.from_environment(os.environ, os.getpid())
