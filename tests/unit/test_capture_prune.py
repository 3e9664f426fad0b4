"""`prune: {keep: SIZE}`: which capture files are removed, which never are, and what a race with the node leaves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from threading import Thread

import pytest

from tests.support.capture_files import SECOND_US, START_US, append, column, record
from tests.support.waiting import wait_until
from watchdog.cli.main import main
from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.service.config.read import ConfigError, load_config
from watchdog.sources.capture.prune import EVERY_S, QUIET_S, prune_fault
from watchdog.sources.capture.source import CaptureSource

MIB = 1 << 20
PEERS = ("1.1.1.1_8333", "2.2.2.2_8333", "3.3.3.3_8333")


class Pruning:
    """A followed tree of three peers with 1 MiB each, of which 1 MiB may stay, and a clock of its own."""

    def __init__(self, root: Path, keep: int = MIB + 100) -> None:
        self.root, self.now_s = root, 1_000.0
        self.stored: Mapping[str, object] | None = None
        for at, peer in enumerate(PEERS):
            append(root, peer, True, record(START_US + at * SECOND_US, "tx", bytes(MIB)))
            os.utime(self.file(peer), (at, at))
        self.keep = keep
        self.slices: list[Slice] = []
        self.source = self.opened(None)

    def opened(self, position: Mapping[str, object] | None) -> CaptureSource:
        options = SourceOptions(
            follow=True,
            position=position,
            settings={"prune": {"keep": self.keep}},
            stored=lambda name: self.stored if name == f"capture:{self.root}" else None,
        )
        source = CaptureSource(str(self.root), options)
        assert source._pruner is not None
        source._pruner._monotonic = lambda: self.now_s
        return source

    def file(self, peer: str, received: bool = True) -> Path:
        return self.root / peer / ("msgs_recv.dat" if received else "msgs_sent.dat")

    def there(self) -> list[str]:
        return [peer for peer in PEERS if self.file(peer).exists()]

    def read(self) -> None:
        """Poll until nothing is new."""
        for _ in range(6):
            found = self.source.poll()
            if found is not None:
                self.slices.append(found)

    def store(self) -> None:
        """A checkpoint with the position so far is on disk."""
        self.stored = self.slices[-1].position

    def passes(self, seconds: float) -> None:
        """Let time pass, with a look every few seconds."""
        for _ in range(int(seconds / EVERY_S) + 1):
            self.now_s += EVERY_S
            self.read()

    @property
    def messages(self) -> int:
        return sum(batch.rows for one in self.slices for batch in one.batches if batch.kind == "net:inbound_message")

    @property
    def gaps(self) -> list[str]:
        return [str(reason) for reason in column(self.slices, "source:gap", "reason")]


@pytest.fixture
def pruning(tmp_path: Path) -> Pruning:
    return Pruning(tmp_path / "message_capture")


def test_the_oldest_files_go_once_read_stored_and_quiet(pruning: Pruning) -> None:
    pruning.read()
    assert pruning.messages == 3
    pruning.passes(QUIET_S)
    assert pruning.there() == list(PEERS), "no checkpoint has them"
    pruning.store()
    pruning.passes(QUIET_S - EVERY_S)
    assert pruning.there() == list(PEERS), "they are not quiet for long enough"
    pruning.passes(2 * EVERY_S)
    assert pruning.there() == [PEERS[2]], "the youngest fits the limit"
    assert (pruning.root / PEERS[0]).is_dir(), "folders stay for the node"
    assert pruning.source.counters == {"files_removed": 2, "files_not_removable": 0}
    assert pruning.gaps == []


def test_what_the_node_writes_afterwards_is_read_from_the_start_of_the_new_file(pruning: Pruning) -> None:
    pruning.read()
    pruning.store()
    pruning.passes(2 * QUIET_S)
    append(pruning.root, PEERS[0], True, record(START_US + 90 * SECOND_US, "ping", bytes(8)))
    pruning.passes(2 * EVERY_S)
    assert (pruning.messages, pruning.gaps) == (4, [])
    pruning.store()
    pruning.source.close()
    pruning.source = pruning.opened(pruning.stored)
    append(pruning.root, PEERS[0], True, record(START_US + 91 * SECOND_US, "ping", bytes(8)))
    pruning.passes(2 * EVERY_S)
    assert (pruning.messages, pruning.gaps) == (5, []), "neither lost nor doubled by a restart"


def test_an_unread_tail_keeps_a_file(pruning: Pruning) -> None:
    half = record(START_US + 5 * SECOND_US, "tx", bytes(100))[:-1]
    append(pruning.root, PEERS[0], True, half)
    os.utime(pruning.file(PEERS[0]), (0, 0))
    pruning.read()
    pruning.store()
    pruning.passes(3 * QUIET_S)
    assert PEERS[0] in pruning.there()
    assert pruning.file(PEERS[0]).read_bytes().endswith(half), "never truncated"


def test_a_file_that_grows_waits_and_a_younger_one_does_not_go_first(pruning: Pruning) -> None:
    pruning.read()
    for at in range(12):
        append(pruning.root, PEERS[0], True, record(START_US + (20 + at) * SECOND_US, "ping", bytes(8)))
        os.utime(pruning.file(PEERS[0]), (0, at))  # the oldest all the same
        pruning.read()
        pruning.store()
        pruning.passes(EVERY_S)
    assert PEERS[0] in pruning.there()


def test_links_are_neither_followed_nor_removed(
    pruning: Pruning, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    pruning.file(PEERS[0]).rename(precious / "msgs_recv.dat")
    (pruning.root / PEERS[0]).rmdir()
    (pruning.root / PEERS[0]).symlink_to(precious)
    other = tmp_path / "other"
    pruning.file(PEERS[1]).rename(other)
    pruning.file(PEERS[1]).symlink_to(other)
    os.link(pruning.file(PEERS[2]), tmp_path / "hard")
    for path in (precious / "msgs_recv.dat", other, pruning.file(PEERS[2])):
        os.utime(path, (1, 1))
    pruning.source.close()
    pruning.keep = 1
    pruning.source = pruning.opened(None)
    pruning.read()
    pruning.store()
    pruning.passes(3 * QUIET_S)
    assert pruning.there() == list(PEERS)
    assert (precious / "msgs_recv.dat").exists()
    assert other.exists()
    assert (tmp_path / "hard").exists()
    assert pruning.source._pruner is not None
    assert pruning.source._pruner.refused == 3
    assert [line.message.partition(": ")[2] for line in caplog.records] == ["not a directory (1 files so far)"]


def test_another_file_of_the_same_size_and_time_is_not_removed(
    pruning: Pruning, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruning.read()
    pruning.store()
    pruning.passes(QUIET_S - 2 * EVERY_S)
    about = pruning.file(PEERS[0]).stat()
    new = pruning.file(PEERS[0]).with_name("new")
    new.write_bytes(record(START_US + 50 * SECOND_US, "tx", b"x" * MIB))
    os.utime(new, ns=(about.st_atime_ns, about.st_mtime_ns))
    new.replace(pruning.file(PEERS[0]))
    pruning.passes(EVERY_S)
    assert PEERS[0] in pruning.there(), "its number is another, and so are its last bytes"
    pruning.passes(3 * QUIET_S)
    assert PEERS[0] in pruning.there(), "it was never read"


def test_a_message_that_comes_while_the_file_is_removed_is_a_gap(
    pruning: Pruning, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruning.read()
    pruning.store()
    unlink = os.unlink

    def race(name: str, *, dir_fd: int) -> None:
        """The node has the file open while it is unlinked, and writes then."""
        file = os.open(name, os.O_WRONLY | os.O_APPEND, dir_fd=dir_fd)
        unlink(name, dir_fd=dir_fd)
        os.write(file, record(START_US + 70 * SECOND_US, "ping", bytes(8)))
        os.close(file)

    monkeypatch.setattr("watchdog.sources.capture.prune.os.unlink", race)
    pruning.passes(2 * QUIET_S)
    append(pruning.root, PEERS[2], True, record(START_US + 80 * SECOND_US, "ping", bytes(8)))
    pruning.passes(2 * EVERY_S)
    assert pruning.gaps == ["file-pruned", "file-pruned"]


def held_below(folder: Path) -> list[str]:
    """Return the files below `folder` that this process has open."""
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(entry.readlink()))
        except FileNotFoundError:  # the descriptor of this listing itself
            continue
    return [name for name in names if name.startswith(str(folder))]


def test_a_descriptor_is_held_for_one_pass_only(pruning: Pruning) -> None:
    pruning.read()
    before = held_below(pruning.root)
    pruning.store()
    pruning.passes(3 * QUIET_S)
    assert pruning.there() == [PEERS[2]]
    assert [name for name in held_below(pruning.root) if name not in before] == []


def test_files_that_were_skipped_at_the_first_start_stay(tmp_path: Path) -> None:
    pruning = Pruning(tmp_path / "message_capture")
    pruning.source.close()
    options = SourceOptions(
        follow=True,
        since_ns=(START_US + 60 * SECOND_US) * 1_000,
        settings={"prune": {"keep": MIB}},
        stored=lambda _: pruning.stored,
    )
    pruning.source = CaptureSource(str(pruning.root), options)
    assert pruning.source._pruner is not None
    pruning.source._pruner._monotonic = lambda: pruning.now_s
    append(pruning.root, "9.9.9.9_8333", True, record(START_US + 61 * SECOND_US, "tx", bytes(MIB)))
    pruning.read()
    pruning.store()
    pruning.passes(3 * QUIET_S)
    assert pruning.there() == list(PEERS)


@pytest.mark.parametrize(
    ("prune", "text"),
    [
        ("{keep: 1}", "'keep' is not a size: '1'"),
        ("{keep: 1KiB}", "'keep' must be 1MiB to 1024TiB"),
        ("{}", "'prune' lacks 'keep'"),
        ("{kep: 1GiB}", "unknown key 'kep' in 'prune'"),
        ("1GiB", "'prune' must be a table"),
        ("{keep: [1GiB]}", "'keep' must be a size such as 1GiB, not a list"),
    ],
)
def test_a_wrong_limit_is_a_mistake_with_its_place(tmp_path: Path, prune: str, text: str) -> None:
    with pytest.raises(ConfigError, match=r"watchdog\.yaml:") as caught:
        load_config(tmp_path / "watchdog.yaml", {}, text=f"sources:\n  - capture: x\n    prune: {prune}\n")
    assert text in str(caught.value)


def test_a_limit_reaches_the_source_and_is_off_by_default(tmp_path: Path) -> None:
    text = "sources:\n  - capture: x\n    prune: {keep: 2GiB}\n  - capture:y\n"
    config = load_config(tmp_path / "watchdog.yaml", {}, text=text)
    assert config.source_settings == {f"capture:{tmp_path}/x": {"prune": {"keep": 2 << 30}}}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_the_right_to_write_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.unit.test_source_paths import as_nobody

    root = Path("/tmp") / f"watchdog-prune-{os.getpid()}"
    try:
        append(root, PEERS[0], True, record(START_US, "ping", bytes(8)))
        (root / "watchdog.yaml").write_text(
            f"sources: [{{capture: {root}, prune: {{keep: 1GiB}}}}]\ncheckpoint: {{folder: /dev/shm}}\n"
        )
        main(["check", "--config", str(root / "watchdog.yaml")])  # imports all that it needs, as root
        capsys.readouterr()
        with as_nobody():
            assert "cannot be written by this user" in prune_fault(root)
            code = main(["check", "--config", str(root / "watchdog.yaml")])
            with pytest.raises(SourceError, match=r"prune: .* cannot be written by this user"):
                CaptureSource(str(root), SourceOptions(follow=True, settings={"prune": {"keep": MIB}}))
        assert code == 1
        assert "prune: " in capsys.readouterr().out
        assert prune_fault(root) == ""
    finally:
        (root / PEERS[0] / "msgs_recv.dat").unlink()
        (root / PEERS[0]).rmdir()
        (root / "watchdog.yaml").unlink()
        root.rmdir()


def test_a_node_that_writes_all_the_time_loses_nothing_unreported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread opens, writes and closes as the node does, while files are removed as soon as they are read."""
    monkeypatch.setattr("watchdog.sources.capture.prune.QUIET_S", 0.0)
    pruning = Pruning(tmp_path / "message_capture", keep=1)
    pruning.read()
    written: list[int] = []

    def node() -> None:
        at = 0
        while at < 6_000 or (pruning.source._pruner is not None and pruning.source._pruner.removed <= 3):
            message = record(START_US + (100 + at) * SECOND_US, "ping", bytes(8))
            append(pruning.root, PEERS[at // 300 % 3], True, message)
            written.append(at)
            at += 1

    thread = Thread(target=node)
    thread.start()
    while thread.is_alive():
        pruning.now_s += EVERY_S
        pruning.read()
        pruning.store()
        # a write that was under way during the pass is over before the next one, as it is after ten seconds
        before = len(written)
        wait_until(lambda before=before: len(written) > before + 1 or not thread.is_alive())  # type: ignore[misc]
    thread.join()
    after_us = START_US + (100 + len(written)) * SECOND_US
    append(pruning.root, "9.9.9.9_8333", True, record(after_us, "ping", bytes(8)))
    pruning.passes(3 * EVERY_S)  # a late write shows in the pass after
    assert pruning.source._pruner is not None
    assert pruning.source._pruner.removed > 3
    lost = 3 + len(written) + 1 - pruning.messages
    assert lost >= 0, "none is read twice"
    assert (lost > 0) == ("file-pruned" in pruning.gaps), (lost, pruning.gaps)
