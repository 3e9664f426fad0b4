"""Where new sources begin: input that is skipped unread, incidents not reported, and those reported once."""

from __future__ import annotations

import itertools
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alerts.notice import ChangeRecord
from tests.support.capture_files import append, handshake, plain, record
from watchdog.cli.main import main
from watchdog.engine.source_groups import SourceGroup
from watchdog.pipeline.checkpoint import read_checkpoint, write_checkpoint
from watchdog.service.assembly import ServiceParts, build
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.first_start import Quiet
from watchdog.service.node_start import CHECKPOINT_FILE
from watchdog.sources.capture.seek import CHAIN, place_since
from watchdog.sources.capture.tree import DiskTree
from watchdog.sources.line_seek import log_time, poll_time, seek

SECOND, HOUR, DAY = 10**9, 3_600, 86_400
NOW = 1_768_212_000  # unix seconds
RULES = """
rules:
  misbehaving:
    title: Peers misbehave
    attack: message-anomaly
    severity: warning
    on: log:misbehaving
    by: []
    measure: {lines: count()}
    over: 1m
    pane: 10s
    fire: lines >= 3
    resolve_after: 2m
    escalate: {high: lines >= 12}
    summary: "{lines} lines"
  pings:
    title: A peer pings
    attack: message-anomaly
    severity: warning
    on: p2p:ping
    by: [peer_addr]
    measure: {pings: count()}
    over: 1m
    pane: 10s
    fire: pings >= 3
    resolve_after: 2m
    summary: "{pings} pings"
"""


class FakeClock:
    """Moves when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Service:
    """A service without threads: built as `run` builds it, stepped by the test, on a clock of its own."""

    def __init__(self, folder: Path, sources: str = "log:debug.log", start: str = "", now_s: int = NOW) -> None:
        (folder / "rules.yaml").write_text(RULES)
        more = f"start: {start}\n" if start else ""
        (folder / "watchdog.yaml").write_text(f"sources: [{sources}]\npacks: false\nrules: rules.yaml\n{more}")
        self.folder, self.clock, self.now_s = folder, FakeClock(), now_s
        self.config = load_config(folder / "watchdog.yaml")
        self.core: ServiceParts = build(
            self.config, self.clock, lambda: int((self.now_s + self.clock.now) * SECOND), _nothing
        )
        self.ended = False

    def run(self, silence_s: float = 20.0) -> list[ChangeRecord]:
        """Read everything, with some silence behind; return the reported changes."""
        for _ in range(200):
            self.clock.now += silence_s / 200
            self.core.engine._wake.set()  # it never really waits
            self.core.engine.step()
        return self.told()

    def told(self) -> list[ChangeRecord]:
        found: list[ChangeRecord] = []
        while True:
            try:
                bundle = self.core.engine.out.get_nowait()
            except queue.Empty:
                return found
            found += bundle.records
            if bundle.checkpoint is not None:
                write_checkpoint(self.folder / CHECKPOINT_FILE, bundle.checkpoint)

    def end(self, *, kept: bool = True) -> None:
        """Stop; kept: with a last checkpoint. A second call does nothing."""
        if self.ended:
            return
        self.ended = True
        if kept:
            self.core.engine._keep()
            self.told()
        self.core.engine.feed.close()
        self.core.close()


Services = Callable[..., Service]


def _nothing(_records: Sequence[ChangeRecord]) -> None: ...


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    made: list[Service] = []

    def begun(*, sources: str = "log:debug.log", start: str = "", now_s: int = NOW) -> Service:
        made.append(Service(tmp_path, sources, start, now_s))
        return made[-1]

    yield begun
    for one in made:
        one.end(kept=False)


def stamp(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def line(second: float, mark: str = "") -> str:
    return f"{mark}{stamp(second)} [net] Misbehaving: peer=1: x\n"


def attack(begin: int, end: int) -> str:
    """A line each seven seconds: fires, and never escalates."""
    return "".join(line(second) for second in range(begin, end, 7))


def reasons(records: Sequence[ChangeRecord]) -> list[str]:
    return [one.change.reason.value for one in records]


def test_old_attacks_are_neither_read_nor_told(tmp_path: Path, services: Services) -> None:
    old = attack(NOW - 7 * DAY, NOW - 7 * DAY + 600)
    (tmp_path / "debug.log").write_text(old + line(NOW - 1))
    service = services()
    assert service.run() == []
    skipped = service.core.engine.feed.channels[0].skipped
    assert skipped is not None
    assert (skipped.size, skipped.from_ns) == (len(old), (NOW - 7 * DAY) * SECOND)
    assert service.core.engine.watch.events == 1
    service.end()


def test_an_attack_of_the_hour_before_is_read_and_not_told(tmp_path: Path, services: Services) -> None:
    (tmp_path / "debug.log").write_text(attack(NOW - 1800, NOW - 1200) + line(NOW - 1) + line(NOW + 30))
    service = services()
    assert service.run() == []
    assert service.core.engine.watch.events > 80
    assert [one.state.value for one in service.core.engine.watch.books.incidents()] == ["resolved"]


def test_an_attack_across_the_start_opens_once_with_its_true_time(tmp_path: Path, services: Services) -> None:
    (tmp_path / "debug.log").write_text(attack(NOW - 900, NOW + 30))
    service = services()
    told = service.run()
    assert reasons(told)[0] == "opened"
    assert reasons(told).count("opened") == 1
    first = told[0]
    assert first.change.time_ns == first.incident.opened_ns
    assert NOW - 900 <= first.incident.opened_ns / SECOND <= NOW - 870
    service.end()
    with (tmp_path / "debug.log").open("a") as log:
        log.write(attack(NOW + 30, NOW + 120) + line(NOW + 600))
    again = services(now_s=NOW + 600).run()
    assert "opened" not in reasons(again)
    assert {one.incident.id for one in again} == {first.incident.id}
    assert reasons(again)[-2:] == ["cleared", "resolved"]


def test_one_that_was_quiet_at_the_start_and_fires_again_opens_then(tmp_path: Path, services: Services) -> None:
    (tmp_path / "debug.log").write_text(attack(NOW - 400, NOW - 130) + line(NOW + 5) + attack(NOW + 20, NOW + 90))
    told = services().run()
    assert reasons(told)[0] == "opened"
    assert reasons(told).count("opened") == 1
    assert "reopened" not in reasons(told)
    assert told[0].incident.opened_ns < (NOW - 350) * SECOND


@pytest.mark.parametrize("stop", ["kept", "killed"])
def test_a_restart_before_the_first_event_keeps_the_first_start(tmp_path: Path, services: Services, stop: str) -> None:
    (tmp_path / "debug.log").write_text("")
    service = services()
    assert service.run() == []
    service.end(kept=stop == "kept")
    (tmp_path / "debug.log").write_text(attack(NOW + 600, NOW + 900) + line(NOW + 1800))
    told = services(now_s=NOW + 5 * HOUR).run()
    assert reasons(told)[0] == "opened"
    assert reasons(told)[-1] == "resolved"


@pytest.mark.parametrize("cut", range(0, 240, 16))
def test_a_kill_at_any_time_tells_the_same(tmp_path: Path, services: Services, cut: int) -> None:
    text = attack(NOW - 700, NOW - 400) + attack(NOW - 130, NOW + 60) + line(NOW + 100)
    lines = text.splitlines(keepends=True)
    (tmp_path / "debug.log").write_text("".join(lines[:cut]))
    service = services()
    before = service.run(silence_s=0)
    service.end()
    (tmp_path / "debug.log").write_text(text)
    service = services(now_s=NOW + 600)
    after = service.run(silence_s=0)
    service.end()
    (tmp_path / CHECKPOINT_FILE).unlink()
    whole = services().run(silence_s=0)
    assert reasons(whole).count("opened") == 1
    known = {(one.change.id, one.change.sequence): one.change for one in (*before, *after)}
    assert list(known.values()) == [one.change for one in whole]


def test_beginning_and_durations(tmp_path: Path, services: Services) -> None:
    week, day = attack(NOW - 7 * DAY, NOW - 7 * DAY + 60), attack(NOW - DAY, NOW - DAY + 60)
    (tmp_path / "debug.log").write_text(week + day + line(NOW))
    service = services(start="beginning")
    assert reasons(service.run()).count("opened") == 2
    assert service.core.engine.feed.channels[0].skipped is None
    service.end()
    (tmp_path / CHECKPOINT_FILE).unlink()
    assert reasons(services(start="2d").run()).count("opened") == 1


def test_a_source_that_comes_later_has_its_own_start(tmp_path: Path, services: Services) -> None:
    (tmp_path / "debug.log").write_text(line(NOW - 1))
    service = services()
    service.run()
    service.end()
    with (tmp_path / "debug.log").open("a") as log:  # while no service ran: news of a source that was known before
        log.write(attack(NOW + 600, NOW + 700) + line(NOW + 2 * HOUR))
    root = tmp_path / "captures"
    handshake(root, "1.2.3.4_8333", (NOW - DAY) * 10**6, inbound=False)
    for second in itertools.chain(range(NOW + HOUR, NOW + HOUR + 60, 5), range(NOW + 2 * HOUR, NOW + 2 * HOUR + 90, 5)):
        append(root, "1.2.3.4_8333", True, record(second * 10**6, "ping", bytes(8)))
    service = services(sources="log:debug.log, capture:captures", now_s=NOW + 2 * HOUR)
    told = service.run()
    assert [(one.incident.rule, one.change.reason.value) for one in told if one.change.reason.value == "opened"] == [
        ("misbehaving", "opened"),
        ("pings", "opened"),
    ]
    assert told[-1].incident.opened_ns >= (NOW + 2 * HOUR) * SECOND


def test_connections_that_began_before_the_start_keep_their_direction(tmp_path: Path, services: Services) -> None:
    root = tmp_path / "captures"
    for folder, inbound in (("1.2.3.4_51234", True), ("5.6.7.8_8333", False)):
        handshake(root, folder, (NOW - 3 * DAY) * 10**6, inbound=inbound)
        for second in range(NOW - 3 * DAY, NOW + 30, 600):
            append(root, folder, True, record(second * 10**6 + 10**6, "ping", bytes(8)))
    service = services(sources="capture:captures")
    source = service.core.engine.feed.channels[0].source
    assert source is not None
    found = source.poll()
    assert found is not None
    pings = next(batch for batch in found.batches if batch.kind == "p2p:ping")
    assert pings.time_ns.min() >= (NOW - HOUR) * SECOND
    directions = dict(zip(plain(pings, "peer_addr"), plain(pings, "direction"), strict=True))
    assert directions == {"1.2.3.4": "in", "5.6.7.8": "out"}
    assert not [batch for batch in found.batches if batch.kind.endswith("_connection")]


def test_a_hundred_gigabytes_of_log_are_not_read(tmp_path: Path, services: Services) -> None:
    with (tmp_path / "debug.log").open("wb") as log:
        log.write(attack(NOW - 9 * DAY, NOW - 8 * DAY).encode())
        log.seek(100 << 30)
        log.write(b"the rest of a line\n" + line(NOW - 2 * HOUR, "[*] ").encode() + line(NOW - 60, "[*] ").encode())
    service = services()
    service.run()
    skipped = service.core.engine.feed.channels[0].skipped
    assert skipped is not None
    assert skipped.size > 100 << 30
    file = service.core.engine.feed.channels[0].source._files.file  # type: ignore[union-attr] # of a log
    assert file.offset == (tmp_path / "debug.log").stat().st_size


def test_rotated_logs_are_begun_at_the_one_that_was_written_to_since(tmp_path: Path, services: Services) -> None:
    (tmp_path / "debug.log").write_text(attack(NOW - 20, NOW + 60))
    for name, begin, end in (("debug.log.1", NOW - 2 * HOUR, NOW - 20), ("debug.log.2", NOW - DAY, NOW - 2 * HOUR)):
        (tmp_path / name).write_text(line(begin) + attack(end - 1200, end))
        os.utime(tmp_path / name, (end, end))
    told = services().run()
    assert reasons(told).count("opened") == 1
    assert NOW - 1220 <= told[0].incident.opened_ns / SECOND <= NOW - 1180


@pytest.mark.parametrize("since", [NOW - 10, NOW, NOW + 1, NOW + 77, NOW + 399, NOW + 400, NOW + 999])
def test_the_first_line_of_a_time_is_found(tmp_path: Path, since: int) -> None:
    text = "".join(f"{'untimed' * 30_000}\n{line(NOW + n, '[*] ' * (n % 2))}" for n in range(400)) + "half a"
    (tmp_path / "debug.log").write_text(text)
    with (tmp_path / "debug.log").open("rb") as file:
        spot = seek(file.fileno(), since * SECOND, log_time)
    wanted = text.find(line(since, "[*] " * ((since - NOW) % 2)))
    assert spot.offset == (0 if since <= NOW else wanted if since < NOW + 400 else len(text) - len("half a"))


def test_a_file_without_times_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"result": {}, "kind": "uptime", "time": 5}\n' * 10_000)
    with (tmp_path / "a").open("rb") as file:
        assert seek(file.fileno(), NOW * SECOND, poll_time).offset == 0


def records(count: int, size: int) -> list[bytes]:
    return [record((NOW + n) * 10**6, "tx", bytes(range(256)) * (size // 256)) for n in range(count)]


@pytest.mark.parametrize("size", [0, 512, 1 << 20])
@pytest.mark.parametrize("since", [0, 1, 3, 17, 59, 60, 500])
def test_the_first_record_of_a_time_is_found(tmp_path: Path, size: int, since: int) -> None:
    made = records(60 if size > 512 else 6_000, size)
    append(tmp_path, "1.2.3.4_8333", True, b"".join(made))
    found = place_since(DiskTree(str(tmp_path)), "1.2.3.4_8333", True, (NOW + since) * 10**6, 1 << 62)
    assert (found.offset if found else 0) == sum(map(len, made[:since]))


def test_headers_that_a_peer_wrote_into_its_messages_lead_nowhere(tmp_path: Path) -> None:
    inner = b"".join(record((NOW + 10**6 + n) * 10**6, "ping", bytes(8)) for n in range(CHAIN * 4_000))
    made = [record((NOW + n) * 10**6, "junk", inner[5:] + inner[:7]) for n in range(12)]
    append(tmp_path, "1.2.3.4_8333", True, b"".join(made))
    for since in range(1, 12):
        found = place_since(DiskTree(str(tmp_path)), "1.2.3.4_8333", True, (NOW + since) * 10**6, 1 << 62)
        assert found is not None
        assert found.offset == sum(map(len, made[:since]))


def test_a_hundred_gigabytes_of_capture_are_not_read(tmp_path: Path, services: Services) -> None:
    root = tmp_path / "captures"
    for number in range(25):  # files of peers that are gone, known by the time of their last change
        folder = f"10.0.0.{number}_8333"
        append(root, folder, True, record((NOW - 9 * DAY) * 10**6, "tx", b"x"))
        with (root / folder / "msgs_recv.dat").open("r+b") as file:
            file.truncate(4 << 30)
        os.utime(root / folder / "msgs_recv.dat", (NOW - 8 * DAY, NOW - 8 * DAY))
    append(root, "1.2.3.4_8333", True, b"".join(record((NOW - n) * 10**6, "ping", bytes(8)) for n in range(90, 0, -5)))
    service = services(sources="capture:captures")
    assert reasons(service.run())[:1] == ["opened"]
    skipped = service.core.engine.feed.channels[0].skipped
    assert skipped is not None
    assert skipped.size == 100 << 30


@pytest.mark.parametrize("old", [0, 1, 4_000, 60_000])
@pytest.mark.parametrize("new", [1, 7, 40_000])
def test_a_hole_of_a_hundred_gigabytes_within_a_capture_file_is_not_read(tmp_path: Path, old: int, new: int) -> None:
    append(
        tmp_path,
        "1.2.3.4_8333",
        True,
        b"".join(record((NOW - 9 * DAY) * 10**6 + n, "ping", bytes(8)) for n in range(old + 1)),
    )
    path = tmp_path / "1.2.3.4_8333" / "msgs_recv.dat"
    late = b"".join(record((NOW - 9) * 10**6 + n, "ping", bytes(8)) for n in range(new))
    with path.open("r+b") as file:
        file.seek(100 << 30)
        file.write(late)
    found = place_since(DiskTree(str(tmp_path)), "1.2.3.4_8333", True, (NOW - 60) * 10**6, 1 << 62)
    assert found is not None
    assert found.offset == 100 << 30
    path.unlink()


@pytest.mark.parametrize("start", ["tomorrow", "59s", "366d", "-1h", "[now]", "''"])
def test_a_start_that_is_none_is_a_mistake(tmp_path: Path, start: str) -> None:
    (tmp_path / "watchdog.yaml").write_text(f"sources: log:a\nstart: {start}\n")
    with pytest.raises(ConfigError, match="bad value of 'start'"):
        load_config(tmp_path / "watchdog.yaml")


def test_the_command_line_refuses_a_start_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--start", "soon"]) == 2
    assert "'soon' is no start: now, beginning, or a duration from 1m to 365d" in capsys.readouterr().err


def test_a_checkpoint_of_before_is_taken_over(tmp_path: Path, services: Services) -> None:
    (tmp_path / "debug.log").write_text(attack(NOW - 3 * DAY, NOW - 3 * DAY + 60))
    service = services(start="beginning")
    opened = service.run()
    assert reasons(opened) == ["opened"]
    service.end()
    saved = read_checkpoint(tmp_path / CHECKPOINT_FILE)
    assert (dict(saved.starts), saved.held) == ({}, ())  # as a checkpoint that knows nothing of starts
    with (tmp_path / "debug.log").open("a") as log:
        log.write(attack(NOW - 2 * DAY, NOW - 2 * DAY + 60) + line(NOW - DAY))
    told = services().run()
    assert reasons(told).count("opened") == 1  # what came since the position is news, however old


def test_a_start_that_a_wrong_clock_put_into_the_future_holds_nothing_back_once_the_clock_is_right() -> None:
    group = SourceGroup(("log:a",), (), ())
    quiet = Quiet()
    quiet.begin({"log:a": 12 * HOUR}, (group,))
    quiet.rewind(HOUR, (group,))
    assert quiet.starts == {"log:a": HOUR}
    assert quiet.due(0, HOUR) == HOUR
    quiet.passed(0)
    assert not quiet
