"""The source `nats:` against a real nats-server: restarts, slow readers, refused credentials, nonsense, versions."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.live_taken import has, live_sources, of_kind, reasons, taken
from tests.support.nats_server import NatsServer, nats_server
from tests.support.parts import program
from tests.support.peer_observer import FLAT, HASH, THREADS, event, field, ping, record
from tests.support.waiting import wait_until
from watchdog.core.batch import Batch
from watchdog.core.source import SourceOptions
from watchdog.pipeline.clock import SystemClock
from watchdog.service.feed import Feed
from watchdog.sources.nats import client as nats_client
from watchdog.sources.nats import source as nats_source
from watchdog.sources.nats.settings import NatsSettings, NatsUrl
from watchdog.sources.nats.source import NatsSource


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path) as running:
        yield running


@pytest.fixture
def opened() -> Iterator[Callable[..., NatsSource]]:
    yield from live_sources(NatsSource, "nats:")


CLOSED = "the server closed the connection"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def connected(source: NatsSource, times: int = 1) -> None:
    wait_until(lambda: source.counters["connections"] >= times, lambda: f"no connection: {source.trouble}")


def test_messages_become_events_of_the_catalogue(server: NatsServer, opened: Callable[..., NatsSource]) -> None:
    source = opened(server.url)
    connected(source)
    server.publish([event("message", ping(number), time_ms=now_ms()) for number in range(3)])
    batches = taken(source, has("p2p:ping", 3))
    nonces = [nonce for batch in of_kind(batches, "p2p:ping") for nonce in batch.numbers("nonce").tolist()]
    assert nonces == [0, 1, 2]
    assert {batch.source for batch in batches} == {f"nats:{server.url}"}
    assert source.trouble == ""


def test_both_forms_of_time_are_read(server: NatsServer, opened: Callable[..., NatsSource]) -> None:
    source = opened(server.url)
    connected(source)
    at_ms = now_ms()
    server.publish([event("message", ping(), time_ms=at_ms), event("message", ping(), protocol=FLAT, time_ms=at_ms)])
    batches = taken(source, has("p2p:ping", 2))
    times = {time_ns for batch in of_kind(batches, "p2p:ping") for time_ns in batch.time_ns.tolist()}
    assert times == {at_ms * 1_000_000}


def test_the_version_is_found_and_reported(
    server: NatsServer, opened: Callable[..., NatsSource], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    source = opened(server.url)
    connected(source)
    server.publish([event("message", ping(number), protocol=FLAT, time_ms=now_ms()) for number in range(100)])
    wait_until(lambda: source.protocol)
    assert source.protocol == FLAT
    wait_until(lambda: "protocol 2024-11, found from 100 messages" in caplog.text)
    server.publish([event("message", ping(), time_ms=now_ms())])
    batches = taken(source, lambda found: bool(reasons(found)))
    assert reasons(batches) == [("not-an-event", 1)], "another form than the one that was found is not read"


def test_a_version_that_is_configured_is_not_sought(server: NatsServer, opened: Callable[..., NatsSource]) -> None:
    source = opened(f"{server.url}?protocol={THREADS}")
    connected(source)
    assert source.protocol == THREADS
    server.publish([event("message", ping(), protocol=FLAT, time_ms=now_ms())])
    assert reasons(taken(source, lambda found: bool(reasons(found)))) == [("not-an-event", 1)]


def test_nonsense_is_counted_and_breaks_nothing(server: NatsServer, opened: Callable[..., NatsSource]) -> None:
    source = opened(server.url)
    connected(source)
    whole = event("message", ping(), time_ms=now_ms())
    server.publish([b"", b"\xff" * 400, whole[:-3], whole + b"\x08", b"{}", whole])
    batches = taken(source, has("p2p:ping"))
    assert sum(lost for reason, lost in reasons(batches) if reason == "not-an-event") == 5
    assert source.message_counts == {"netmsg": (1, 5)}
    assert source.counters["unread_messages"] == 5


def test_a_server_that_restarts_is_met_again_and_the_time_between_is_a_gap(
    server: NatsServer, opened: Callable[..., NatsSource]
) -> None:
    source = opened(server.url)
    connected(source)
    server.publish([event("message", ping(1), time_ms=now_ms())])
    taken(source, has("p2p:ping"))
    server.stop()
    wait_until(lambda: source.trouble)
    assert source.trouble in {f"no connection to {server.url}: {why}" for why in (CLOSED, "connection refused")}
    server.start()
    connected(source, 2)
    server.publish([event("message", ping(2), time_ms=now_ms())])
    batches = taken(source, has("p2p:ping"))
    assert reasons(batches) == [("nats-not-connected", 0)]
    away = of_kind(batches, "source:gap")[0]
    assert away.numbers("from_ns")[0] < away.numbers("to_ns")[0]
    assert source.trouble == ""


def test_a_run_that_resumes_reports_the_time_between(server: NatsServer, opened: Callable[..., NatsSource]) -> None:
    source = opened(server.url)
    connected(source)
    position: list[object] = []

    def positioned() -> bool:
        slice_ = source.poll()
        position.extend([slice_.position] if slice_ is not None and slice_.position else [])
        return bool(position)

    wait_until(positioned)
    source.close()
    again = opened(server.url, position={f"nats:{server.url}": position[-1]})
    assert reasons(taken(again, lambda found: bool(reasons(found)))) == [("nats-not-connected", 0)]


def test_messages_beyond_what_can_wait_are_a_gap_with_their_count(
    server: NatsServer, opened: Callable[..., NatsSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_client, "WAITING_MOST", 50)
    source = opened(server.url)
    connected(source)
    server.publish([event("message", ping(number), time_ms=now_ms()) for number in range(5_000)])
    batches: list[Batch] = []

    def all_are_told() -> bool:
        slice_ = source.poll()
        batches.extend(slice_.batches if slice_ is not None else ())
        read = sum(batch.rows for batch in of_kind(batches, "p2p:ping"))
        return read + sum(lost for _, lost in reasons(batches)) == 5_000

    wait_until(all_are_told, lambda: f"{source.counters} {reasons(batches)}")
    assert {reason for reason, _ in reasons(batches)} == {"nats-slow-consumer"}
    assert source.counters["slow_consumer"] == sum(lost for _, lost in reasons(batches)) > 0


@pytest.mark.slow
def test_a_server_that_hangs_is_named(
    server: NatsServer, opened: Callable[..., NatsSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_client, "PING_S", 1)
    source = opened(server.url)
    connected(source)
    server.publish([event("message", ping(), time_ms=now_ms())])
    taken(source, has("p2p:ping"))
    heard_ns = time.time_ns()
    with server.frozen():
        wait_until(lambda: source.trouble)
    assert source.trouble == f"no connection to {server.url}: the server answers no pings"
    connected(source, 2)
    (away,) = of_kind(taken(source, has("source:gap")), "source:gap")
    assert away.numbers("from_ns")[0] <= heard_ns, (
        "what came after the last message may be lost, whenever that was seen"
    )


SECRET = "correct-horse"
USERS = f'authorization {{ user: "watch", password: "{SECRET}" }}'


def test_a_user_with_a_password_file_is_let_in(
    tmp_path: Path, opened: Callable[..., NatsSource], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n", encoding="utf-8")
    with nats_server(tmp_path, USERS) as server:
        source = opened(f"{server.url}?user=watch&password-file={tmp_path}/password")
        connected(source)
        server.credentials = {"user": "watch", "password": SECRET}
        server.publish([event("message", ping(), time_ms=now_ms())])
        taken(source, has("p2p:ping"))
    assert SECRET not in caplog.text


@pytest.mark.parametrize("config", [USERS, f'authorization {{ token: "{SECRET}" }}'])
def test_credentials_that_are_refused_are_named_and_never_shown(
    tmp_path: Path, opened: Callable[..., NatsSource], caplog: pytest.LogCaptureFixture, config: str
) -> None:
    (tmp_path / "secret").write_text("wrong-horse", encoding="utf-8")
    way = "token-file" if "token" in config else "user=watch&password-file"
    with nats_server(tmp_path, config) as server:
        source = opened(f"{server.url}?{way}={tmp_path}/secret")
        wait_until(lambda: source.trouble)
        assert source.trouble == f"no connection to {server.url}: the server refuses the credentials"
        (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
        connected(source)  # a password that was corrected is read without a restart
    assert "horse" not in caplog.text


def test_a_password_that_cannot_be_read_is_named(server: NatsServer, opened: Callable[..., NatsSource]) -> None:
    source = opened(f"{server.url}?token-file=/nonexistent/token")
    wait_until(lambda: source.trouble)
    assert source.trouble == f"no connection to {server.url}: its credentials: no such file or directory"
    assert source.poll() is None, "it tries again by itself"


def test_only_the_subjects_that_are_named_are_read(server: NatsServer, opened: Callable[..., NatsSource]) -> None:
    source = opened(f"{server.url}?subjects=mempool")
    connected(source)
    server.publish([event("message", ping(), time_ms=now_ms())])
    added = record((1, HASH), (2, 200), (3, 400))
    server.publish([event("mempool", field(1, added), time_ms=now_ms())], "mempool")
    batches = taken(source, has("mempool:added"))
    assert {batch.kind for batch in batches} == {"mempool:added"}
    assert "net:inbound_message" not in source.kinds
    assert "mempool:added" in source.kinds


def test_quiet_is_no_fault_and_the_watermark_follows_the_clock(
    server: NatsServer, opened: Callable[..., NatsSource]
) -> None:
    source = opened(server.url)
    connected(source)
    marks: list[int] = []

    def moved() -> bool:
        slice_ = source.poll()
        marks.extend([slice_.until_ns] if slice_ is not None else [])
        return len(marks) > 2 and marks[-1] > marks[0]

    wait_until(moved)
    assert marks == sorted(marks)
    assert source.trouble == ""


def test_nothing_to_connect_to_is_named_and_promises_nothing(opened: Callable[..., NatsSource], tmp_path: Path) -> None:
    with nats_server(tmp_path) as server:
        url = server.url
    source = opened(url)
    wait_until(lambda: source.trouble)
    assert source.trouble == f"no connection to {url}: connection refused"
    assert source.poll() is None


def test_a_subject_that_is_not_permitted_is_named(tmp_path: Path, opened: Callable[..., NatsSource]) -> None:
    allowed = 'permissions: {subscribe: ["mempool"]}'
    with nats_server(tmp_path, f'authorization {{ users: [{{user: "w", password: "x", {allowed}}}] }}') as server:
        (tmp_path / "password").write_text("x", encoding="utf-8")
        source = opened(f"{server.url}?user=w&password-file={tmp_path}/password")
        wait_until(lambda: source.trouble)
    assert "the server does not permit a subject" in source.trouble
    assert "netmsg" in source.trouble


def test_a_server_of_another_kind_is_named(opened: Callable[..., NatsSource]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 4)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        source = opened(f"nats://127.0.0.1:{server.getsockname()[1]}")
        wait_until(lambda: source.trouble)
        server.shutdown(socket.SHUT_RDWR)
    thread.join(60)
    assert "no connection to nats://127.0.0.1:" in source.trouble


@pytest.mark.slow
@pytest.mark.parametrize("was_there", [True, False])
def test_a_server_that_stays_away_holds_nothing_up(
    server: NatsServer, opened: Callable[..., NatsSource], monkeypatch: pytest.MonkeyPatch, was_there: bool
) -> None:
    if not was_there:
        server.stop()
    monkeypatch.setattr(nats_source, "DOWN_S", 0.1)
    monkeypatch.setattr(nats_source, "GAP_STEP_NS", 1)
    source = opened(server.url)
    if was_there:
        connected(source)
    server.stop()
    batches = taken(source, has("source:gap", 3))
    spans = [(int(one.numbers("from_ns")[0]), int(one.numbers("to_ns")[0])) for one in batches]
    assert all(later[0] == earlier[1] - 1 for earlier, later in pairwise(spans)), (
        "no time is left out or reported twice"
    )


def test_an_event_of_the_past_holds_no_rule_up() -> None:
    delay = nats_source.Delay(0)
    delay.note(10**18, 1)
    assert delay.worst_ns == nats_source.MOST_DELAY_NS
    for minute in range(1, 4):
        delay.note(5, minute * nats_source.DELAY_NS + minute)
    assert delay.worst_ns == 5


def test_a_server_with_tls_is_met_when_its_certificate_is_known(
    tmp_path: Path, opened: Callable[..., NatsSource]
) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = (program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
    alternative = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert))
    subprocess.run((*made, *alternative), check=True, capture_output=True)
    with nats_server(tmp_path, f'tls {{ cert_file: "{cert}", key_file: "{key}" }}') as server:
        place = server.url.replace("nats://", "tls://")
        connected(opened(f"{place}?ca={cert}"))
        strange = opened(place)
        wait_until(lambda: strange.trouble)
        assert strange.trouble == f"no connection to {place}: TLS: certificate verify failed"


def test_a_feed_names_a_server_that_is_away_and_goes_on_when_it_is_back(
    server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()
    feed = Feed([f"nats:{server.url}"], SourceOptions(follow=True), SystemClock())
    feed.open({})
    try:
        (channel,) = feed.channels

        def polled(done: Callable[[], bool]) -> bool:
            feed.next()
            return done()

        wait_until(lambda: polled(lambda: bool(channel.error)))
        assert channel.error == f"no connection to {server.url}: connection refused"
        assert (channel.errors, channel.restarts) == (1, 0)
        assert f"no connection to {server.url}: connection refused; retrying" in caplog.text
        server.start()
        wait_until(lambda: polled(lambda: not channel.error and channel.watermark_ns > 0))
        assert channel.heard_s is None, "a server without an extractor is a silent source"
        server.publish([event("message", ping(), time_ms=now_ms())])
        wait_until(lambda: polled(lambda: channel.heard_s is not None))
    finally:
        feed.close()


@pytest.mark.parametrize(("text", "why"), [("nonsense", "the file has no token and seed of a user"), (None, "no such")])
def test_a_credentials_file_that_is_none_is_named(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "user.creds"
    if text is not None:
        path.write_text(text, encoding="utf-8")

    async def begun() -> None:
        session = nats_client.NatsSession(
            NatsUrl.of("nats://127.0.0.1:1"), NatsSettings(creds=path), nats_client.Arrivals()
        )
        with pytest.raises(nats_client.SessionError, match=f"its credentials: {why}"):
            await session.begin()
        await session.end()

    asyncio.run(begun())
