"""`watchdog serve-stream`: who may connect, several readers, changes of what is wanted, and how it ends."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.capture_files import PEER, START_US, append, handshake, ping, record
from tests.support.children import killed_on_failure
from tests.support.stream_service import batches_of, slices_until
from tests.support.waiting import wait_until
from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.offline.record import RecordOptions
from watchdog.offline.record import record as record_events
from watchdog.offline.serve_stream import Served, ServeOptions, serve_stream
from watchdog.sources.registry import kinds_of
from watchdog.sources.stream.source import StreamSource
from watchdog.stream.listener import listen_at


class Serving:
    """A server of sources in a thread."""

    def __init__(self, sources: list[str], options: ServeOptions) -> None:
        self.served: Served | None = None
        self.failed: BaseException | None = None
        self.stopping = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(sources, options), daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    def _run(self, sources: list[str], options: ServeOptions) -> None:
        try:
            self.served = serve_stream(sources, options, ready=lambda _: self._ready.set(), stopping=self.stopping)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.failed = error
        self._ready.set()

    def ended(self) -> Served:
        """Wait for its end."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.failed is None
        assert self.served is not None
        return self.served


@pytest.fixture
def capture(tmp_path: Path) -> str:
    """A capture of a handshake and 500 pings."""
    folder = tmp_path / "capture"
    handshake(folder, PEER, START_US, inbound=True)
    append(folder, PEER, True, b"".join(ping(START_US + 100_000 + 1_000 * at, at) for at in range(500)))
    return f"capture:{folder}"


@pytest.fixture
def opened() -> Iterator[list[StreamSource]]:
    """Sources to be closed at the end."""
    sources: list[StreamSource] = []
    yield sources
    for source in sources:
        source.close()


def reader(path: Path, opened: list[StreamSource], *kinds: str) -> StreamSource:
    source = StreamSource(str(path), SourceOptions("n", frozenset(kinds)))
    opened.append(source)
    return source


def nonces(slices: list[Slice]) -> list[int]:
    return [value for batch in batches_of(slices, "p2p:ping") for value in batch.numbers("nonce").tolist()]


def test_the_socket_is_for_its_user_and_group_and_goes_with_the_server(tmp_path: Path, capture: str) -> None:
    path = tmp_path / "s"
    serving = Serving([capture], ServeOptions(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with pytest.raises(SourceError, match="a program serves there"):
        listen_at(path)
    serving.stopping.set()
    serving.ended()
    assert not path.exists()


def test_a_socket_that_a_killed_server_left_is_replaced_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with listen_at(path):
        pass
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SourceError, match="exists and is no socket"):
        listen_at(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(SourceError, match="there is no group 'absent-group'"):
        listen_at(path, "absent-group")
    with pytest.raises(SourceError, match="at most 107 bytes"):
        listen_at(tmp_path / ("x" * 110))
    with pytest.raises(SourceError, match="no such file or directory"):
        listen_at(tmp_path / "absent" / "s")


def test_every_event_reaches_the_reader_once_and_both_end(
    tmp_path: Path, capture: str, opened: list[StreamSource]
) -> None:
    serving = Serving([capture], ServeOptions(tmp_path / "s", node="theirs"))
    source = reader(tmp_path / "s", opened, "p2p:ping")
    found = slices_until(source, lambda _: source.ended)
    assert nonces(found) == list(range(500))
    assert serving.ended() == Served(500, 1, [])


def test_a_reader_that_wants_more_gets_it_and_the_first_loses_nothing(
    tmp_path: Path, capture: str, opened: list[StreamSource]
) -> None:
    """The sources are opened again for what is wanted now, at the place where they were."""
    serving = Serving([capture], ServeOptions(tmp_path / "s", follow=True))
    first = reader(tmp_path / "s", opened, "p2p:ping")
    found = slices_until(first, lambda some: len(nonces(some)) == 500)
    second = reader(tmp_path / "s", opened, "p2p:ping", "net:inbound_message")
    assert wait_until(lambda: second.counters["batches"] == 0 and second.server_health)
    folder = tmp_path / "capture"
    append(folder, PEER, True, b"".join(ping(START_US + 10_000_000 + at, 1_000 + at) for at in range(100)))
    more = slices_until(first, lambda some: len(nonces(some)) == 100)
    assert nonces(found) == list(range(500))
    assert nonces(more) == list(range(1_000, 1_100))
    theirs = slices_until(second, lambda some: bool(batches_of(some, "net:inbound_message")))
    assert nonces(theirs) == list(range(1_000, 1_100))
    assert sum(batch.rows for batch in batches_of(theirs, "net:inbound_message")) == 100
    serving.stopping.set()
    serving.ended()


def test_payloads_come_as_far_as_they_are_asked_for(tmp_path: Path, opened: list[StreamSource]) -> None:
    append(tmp_path / "capture", PEER, True, record(START_US, "addr", b"abcdef") + record(START_US + 1, "tx", b"xyz"))
    serving = Serving([f"capture:{tmp_path / 'capture'}"], ServeOptions(tmp_path / "s"))
    options = SourceOptions("n", frozenset({"net:inbound_message"}), payloads={"addr": 4})
    source = StreamSource(str(tmp_path / "s"), options)
    opened.append(source)
    (batch,) = batches_of(slices_until(source, lambda _: source.ended), "net:inbound_message")
    assert batch.columns["payload"].tolist() == [b"abcd", b""]
    assert batch.numbers("payload_size").tolist() == [4, 0]
    serving.ended()


def test_events_are_paced_by_their_own_time(tmp_path: Path, opened: list[StreamSource]) -> None:
    folder = tmp_path / "capture"
    append(folder, PEER, True, b"".join(ping(START_US + 1_000_000 * at, at) for at in (0, 901, 1_802)))
    begun = time.monotonic()
    serving = Serving([f"capture:{folder}"], ServeOptions(tmp_path / "s", speed=901.0))
    source = reader(tmp_path / "s", opened, "p2p:ping")
    found = slices_until(source, lambda _: source.ended)
    assert nonces(found) == [0, 901, 1_802]
    assert time.monotonic() - begun > 0.9
    serving.ended()


def test_recorded_as_it_was_served(tmp_path: Path, capture: str) -> None:
    serving = Serving([capture], ServeOptions(tmp_path / "s"))
    done = record_events([f"stream:{tmp_path / 's'}"], tmp_path / "r.events", RecordOptions(follow=True))
    assert done.events == serving.ended().events > 500


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_command_well(tmp_path: Path, capture: str, number: signal.Signals) -> None:
    path = tmp_path / "s"
    command = [sys.executable, "-m", "watchdog", "serve-stream", capture, "--socket", str(path)]
    with killed_on_failure(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(number)
        _, said = process.communicate(timeout=300)
    kinds = len(kinds_of(capture))
    assert first == f"watchdog: serving {kinds} kinds of events at '{path}'\n"
    assert process.returncode == 0
    assert said == f"{path}: 0 events, 0 readers at most at one time\n"
    assert not path.exists()


def test_a_source_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    serving = Serving([f"capture:{tmp_path / 'absent'}"], ServeOptions(tmp_path / "s"))
    assert isinstance(serving.failed, SourceError)
    assert not (tmp_path / "s").exists()
