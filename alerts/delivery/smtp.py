"""One e-mail over SMTP, in a thread: guarded, encrypted as configured, and ended at its deadline."""

from __future__ import annotations

import contextlib
import errno
import logging
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Self

from alerts.delivery.answers import Response, shown
from alerts.delivery.blocking import EndSignal
from alerts.delivery.journal import line
from alerts.delivery.mail import message_id
from alerts.delivery.schedule import RetryDecision
from alerts.delivery.targets import TargetRefusedError, refusal
from alerts.routing import Receiver

PORTS = {"starttls": 587, "tls": 465, "none": 25}
_LOG = logging.getLogger("watchdog.delivery")
_TOO_LARGE = frozenset({552, 554})  # answers to the message itself: another try says the same


def send_mail(receiver: Receiver, raw: bytes, tls: ssl.SSLContext, ending: EndSignal) -> Response:
    """Make one attempt; blocks until the deadline at most. It returns the Message-ID to keep."""
    began = time.monotonic()
    link = _Link(receiver, tls)

    def answer(error: str, status: int | None = None, meaning: RetryDecision = RetryDecision.FAILED) -> Response:
        return Response(status, None, error, time.monotonic() - began, meaning)

    try:
        with link, ending.reaching(link.cut), link.deadline(receiver.timeout_s):
            refused = link.deliver(raw)
    except (OSError, smtplib.SMTPException, ValueError) as error:  # ValueError: what smtplib makes of odd answers
        if link.is_cut:
            return answer(f"no whole answer in {receiver.timeout_s:g} s")
        status, text = _error(error)
        meaning = RetryDecision.REFUSED if status in _TOO_LARGE else RetryDecision.FAILED
        return answer(text, status, meaning)
    if refused:
        text = line("mail-partly-refused", receiver=receiver.name, refused=refused, of=len(receiver.several("to")))
        _LOG.warning(text)
    return Response(250, None, "", time.monotonic() - began, RetryDecision.ACCEPTED, message_id(raw))


class _Link:
    """One connection, which another thread may cut."""

    def __init__(self, receiver: Receiver, tls: ssl.SSLContext) -> None:
        self._receiver, self._tls = receiver, tls
        self._socket: socket.socket | None = None
        self.is_cut = False

    def cut(self) -> None:
        """End the connection under the thread that uses it."""
        self.is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # closed already
                self._socket.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Cut the connection after this time: smtplib's own limit begins again with each byte."""
        timer = threading.Timer(seconds, self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def deliver(self, raw: bytes) -> int:
        """Send the message; return how many recipients were refused, while others were accepted."""
        own = self._receiver
        way = own.text("smtp.tls") or "starttls"
        with self._session(way) as session:
            if way == "starttls":
                session.starttls(context=self._tls)
            if own.text("smtp.user"):
                _log_in(session, own.text("smtp.user"), own.text("smtp.password"))
            return len(session.sendmail(own.text("from"), list(own.several("to")), raw))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        """Close our hold on the connection."""
        if self._socket is not None:
            self._socket.close()

    def _session(self, way: str) -> smtplib.SMTP:
        own = self._receiver
        host, port = own.text("smtp.host"), int(own.text("smtp.port") or PORTS[way])
        raw = self._connected(host, port)
        if way == "tls":
            raw = self._tls.wrap_socket(raw, server_hostname=host)
        return _Session(raw, host, port, own.timeout_s)

    def _connected(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of a host that the receiver may use."""
        failure: OSError = OSError(errno.EHOSTUNREACH, "no address")
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            reason = None if self._receiver.allow_private else refusal(str(place[0]))
            if reason is not None:
                failure = TargetRefusedError(errno.EACCES, reason)
                continue
            made = socket.socket(family, kind, protocol)
            made.settimeout(self._receiver.timeout_s)
            self._release()
            self._socket = made.dup()  # TLS takes the first one over; this one ends the connection in every state
            if self.is_cut:
                made.close()
                raise TimeoutError
            try:
                made.connect(place)
            except OSError as error:
                made.close()
                failure = error
            else:
                return made
        raise failure


class _Session(smtplib.SMTP):
    """SMTP over a socket that is connected already."""

    def __init__(self, connected: socket.socket, host: str, port: int, timeout_s: float) -> None:
        self._connected = connected
        super().__init__(host, port, local_hostname=socket.gethostname() or "localhost", timeout=timeout_s)

    def _get_socket(self, *_: object) -> socket.socket:
        return self._connected


def _log_in(session: smtplib.SMTP, user: str, password: str) -> None:
    """Log in, with one try where the server takes PLAIN: others with a wrong password would lock the account sooner."""
    session.ehlo_or_helo_if_needed()
    if "PLAIN" not in session.esmtp_features.get("auth", "").upper().split():
        session.login(user, password)
        return
    session.user, session.password = user, password
    session.auth("PLAIN", session.auth_plain)


def _error(error: BaseException) -> tuple[int | None, str]:
    """Return status and error as one harmless line: neither password nor address is in it."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()), (None, b""))
        return code, f"answered {code}: all recipients refused: {_said(text)}"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return error.smtp_code, f"answered {error.smtp_code}: user or password refused"
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code, f"answered {error.smtp_code}: {_said(error.smtp_error)}"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return None, "the connection was closed without an answer"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return None, f"the server lacks what is configured: {shown(str(error))}"
    if isinstance(error, TargetRefusedError):
        return None, f"target refused: {error.strerror}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return None, f"tls: {shown(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return None, f"tls: {shown(str(error.reason or 'handshake failed'))}"
    if isinstance(error, socket.gaierror):
        return None, "the name cannot be resolved"
    if isinstance(error, TimeoutError):
        return None, "no answer in time"
    if isinstance(error, OSError):
        return None, f"cannot connect: {shown(error.strerror or type(error).__name__)}"
    return None, f"no answer: {type(error).__name__}"


def _said(text: object) -> str:
    return shown(text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text))
