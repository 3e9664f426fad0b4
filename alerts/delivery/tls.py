"""TLS contexts: the system's certificates, or those that a receiver names."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from alerts.routing import Receiver, TlsFiles
from watchdog.core.text import printable

KEPT = 100  # contexts; far more than receivers


class TlsFilesError(OSError):
    """The files of a receiver's `tls` cannot be used; the message has no path of them."""


class TlsContexts:
    """Contexts by their files, read again when these change. One event loop uses it.

    usual: for receivers without `tls`; None for the system's certificates.
    """

    def __init__(self, usual: ssl.SSLContext | None = None) -> None:
        self._usual = usual
        self._made: dict[tuple[TlsFiles, tuple[int, ...]], ssl.SSLContext] = {}

    async def prepare(self) -> None:
        """Read the system's certificates, which takes tens of milliseconds, in a thread."""
        if self._usual is None:
            self._usual = await asyncio.to_thread(ssl.create_default_context)

    @property
    def usual(self) -> ssl.SSLContext:
        """The context of receivers without files of their own; `prepare` comes first."""
        assert self._usual is not None
        return self._usual

    async def of(self, receiver: Receiver) -> ssl.SSLContext:
        """Return the context of a receiver. TlsFilesError: its files cannot be used."""
        if receiver.tls == TlsFiles():
            return self.usual
        times = await asyncio.to_thread(_changed, receiver.tls)
        key = (receiver.tls, times)
        if key not in self._made:
            if len(self._made) >= KEPT:
                self._made.clear()
            self._made[key] = await asyncio.to_thread(context_of, receiver.tls)
        return self._made[key]


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """Read the files of a receiver. TlsFilesError: they cannot be used."""
    try:
        context = ssl.create_default_context(cafile=files.ca or None)
        if files.cert:
            context.load_cert_chain(files.cert, files.key or None, password=_no_password)
    except ssl.SSLError as error:
        raise TlsFilesError(f"the files of 'tls' cannot be used: {printable(str(error.reason or error))}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "a key with a password, or not PEM"
        raise TlsFilesError(f"the files of 'tls' cannot be read: {printable(str(reason).lower())}") from None
    return context


def _no_password() -> str:
    """Refuse to wait for a password at a terminal."""
    raise ValueError("the key has a password")


def _changed(files: TlsFiles) -> tuple[int, ...]:
    """Return when each file was changed last; 0 for none."""
    times = []
    for path in (files.ca, files.cert, files.key):
        try:
            times.append(Path(path).stat().st_mtime_ns if path else 0)
        except OSError:
            times.append(0)
    return tuple(times)
