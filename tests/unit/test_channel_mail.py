"""E-mail against a real SMTP server: STARTTLS, passwords, threads, refusals, and servers that do not end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from alerts.delivery.answers import Response
from alerts.delivery.courier import Courier
from alerts.delivery.formats import notice_bodies
from alerts.delivery.schedule import RetryDecision
from alerts.notice import Notice
from alerts.routing import Receiver, TlsFiles
from tests.support.channels import MAIL_PASSWORD as PASSWORD
from tests.support.channels import START_NS, Mailbox, case_notice, channel, hostile_notice
from tests.support.parts import program
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for `localhost` that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("pem")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    more = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key)]
    command = [program("openssl"), *words, *more, "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@contextmanager
def server(
    box: Mailbox, pem: tuple[Path, Path] | None = None, *, whole: bool = False, auth: bool = False
) -> Iterator[int]:
    """A running server; its port. whole: TLS from the first byte on."""
    context = None
    if pem is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*pem)
    words: dict[str, Any] = {"ssl_context": context} if whole else {"tls_context": context}
    if auth:
        words |= {"authenticator": box.authenticate, "auth_required": True, "auth_require_tls": True}
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, **words)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def mailer(port: int, tls: str = "none", **own: Any) -> Receiver:
    """A receiver at a server on this machine."""
    keys = {"smtp_host": "localhost", "smtp_port": str(port), "smtp_tls": tls, "from": "watchdog@example.org"}
    return channel("email", **(keys | {"to": ("ops@example.org", "lead@example.org")} | own))


def sent(receiver: Receiver, *notices: Notice, kept: str = "") -> list[Response]:
    """Send notices one after the other."""

    async def story() -> list[Response]:
        async with Courier() as courier:
            return [
                await courier.send(receiver, one.id, 0, notice_bodies(one, receiver, START_NS, kept)) for one in notices
            ]

    return asyncio.run(story())


def test_a_mail_arrives_and_later_ones_answer_it() -> None:
    box = Mailbox()
    with server(box) as port:
        (first,) = sent(mailer(port), case_notice())
        sent(mailer(port), case_notice("stage", 2), kept=first.kept)
    one, two = box.mails
    assert (first.status, first.error) == (250, "")
    assert first.kept == one["Message-ID"] == f"<{case_notice().id}@example.org>"
    assert (two["In-Reply-To"], two["References"]) == (first.kept, first.kept)
    assert one["Auto-Submitted"] == "auto-generated"
    assert box.recipients[0] == ["ops@example.org", "lead@example.org"]
    assert one["Subject"].startswith("HIGH alice: ")
    assert "https://watch.example.com/cases/" in str(one.get_payload(decode=True))


def test_a_hostile_case_makes_no_header() -> None:
    box = Mailbox()
    with server(box) as port:
        (answer,) = sent(mailer(port), hostile_notice())
    assert answer.error == ""
    assert box.mails[0].get_all("To") == ["ops@example.org, lead@example.org"]
    assert not set(box.mails[0].keys()) & {"Bcc", "X-Evil"}


@pytest.mark.parametrize(("tls", "whole"), [("starttls", False), ("tls", True)])
def test_passwords_go_over_tls_that_the_ca_of_the_receiver_signed(
    pem: tuple[Path, Path], tls: str, whole: bool
) -> None:
    box = Mailbox()
    with server(box, pem, whole=whole, auth=not whole) as port:
        own = {} if whole else {"smtp_user": "watchdog", "smtp_password": PASSWORD}
        known = replace(mailer(port, tls, **own), tls=TlsFiles(ca=str(pem[0])))
        (answer,) = sent(known, case_notice())
        (stranger,) = sent(mailer(port, tls, **own), case_notice("stage"))
        wrong = replace(mailer(port, tls, smtp_user="watchdog", smtp_password="no"), tls=known.tls)
        (refused,) = sent(wrong, case_notice("stage")) if not whole else (answer,)
    assert (answer.error, len(box.mails)) == ("", 1)
    assert stranger.error == "tls: self-signed certificate"
    if not whole:
        assert box.tls == [True]
        assert refused.error == "answered 535: user or password refused"
        assert box.users[0] == "watchdog"
        assert PASSWORD not in f"{stranger.error}{refused.error}{known!r}"


def test_a_server_without_starttls_gets_no_mail() -> None:
    box = Mailbox()
    with server(box) as port:
        (answer,) = sent(mailer(port, "starttls"), case_notice())
    assert answer.error.startswith("the server lacks what is configured")
    assert box.mails == []


def test_refusals_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    box = Mailbox()
    with server(box) as port:
        box.refuses = {"lead@example.org"}
        assert sent(mailer(port), case_notice())[0].error == ""
        assert "mail-partly-refused receiver=ops refused=1 of=2" in caplog.text
        box.refuses.add("ops@example.org")
        (none,) = sent(mailer(port), case_notice())
        box.refuses.clear()
        box.says = "451 try later"
        (later,) = sent(mailer(port), case_notice())
        box.says = "552 too large"
        (large,) = sent(mailer(port), case_notice())
    assert (none.status, none.meaning) == (550, RetryDecision.FAILED)
    assert none.error == "answered 550: all recipients refused: no such user"
    assert (later.status, later.meaning) == (451, RetryDecision.FAILED)
    assert (large.status, large.meaning) == (552, RetryDecision.REFUSED)


def test_a_private_server_needs_leave() -> None:
    box = Mailbox()
    with server(box) as port:
        (answer,) = sent(replace(mailer(port), allow_private=False), case_notice())
    assert answer.error.startswith("target refused: ")
    assert "loopback" in answer.error


@pytest.mark.parametrize("tls", ["none", "tls"])
def test_a_server_that_drips_for_ever_costs_the_deadline_only(pem: tuple[Path, Path], tls: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pem)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def drip() -> None:
            talk, _ = listening.accept()
            talk = context.wrap_socket(talk, server_side=True) if tls == "tls" else talk
            with talk:
                while not ended.is_set():
                    try:
                        talk.sendall(b"2")
                    except OSError:
                        return
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        receiver = replace(mailer(listening.getsockname()[1], tls), timeout_s=0.6, tls=TlsFiles(ca=str(pem[0])))
        (answer,) = sent(receiver, case_notice())
        ended.set()
        thread.join()
    assert answer.error == "no whole answer in 0.6 s"
    assert time.monotonic() - began < 30
