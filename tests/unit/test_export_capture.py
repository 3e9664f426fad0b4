"""Messages in the layout of -capturemessages: read again by our own source and by Core's parser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.capture_files import START_US, addr_payload, slices_of
from tests.support.parts import lacking
from watchdog.archive.writer import EventsWriter
from watchdog.cli.main import main
from watchdog.core.batch import Batch, Blobs, Column, Slice, Strings
from watchdog.core.errors import WatchdogError
from watchdog.offline.export_capture import export_capture, folder_name

SOURCE = "stream:/run/extract.sock"
Row = tuple[int, str, str, bytes | None, int]
"""Seconds, peer, type, payload as recorded (None: not asked for), size on the wire."""


def messages(kind: str, rows: Sequence[Row], *, payloads: bool = True) -> Batch:
    size = np.array([row[4] for row in rows], np.uint32)
    columns: dict[str, Column] = {
        "time_ns": np.array([START_US * 1_000 + row[0] * 10**9 for row in rows], np.int64),
        "peer": Strings.of([row[1] for row in rows]),
        "type": Strings.of([row[2] for row in rows]),
        "size": size,
    }
    if payloads:
        columns["payload"] = Blobs.of([row[3] or b"" for row in rows])
        columns["payload_size"] = np.array([len(row[3] or b"") for row in rows], np.int32)
    return Batch(kind, "node", SOURCE, columns)


def whole(second: int, peer: str, type_: str, payload: bytes = b"") -> Row:
    return second, peer, type_, payload, len(payload)


def written(path: Path, *batches: Batch) -> Path:
    with EventsWriter(path, (SOURCE,)) as file:
        for batch in batches:
            file.write(Slice(SOURCE, (batch,), int(batch.time_ns.max()), {}))
    return path


IN, OUT = "net:inbound_message", "net:outbound_message"
PEER, OTHER = "8.8.8.8:50000", "[2a01:4f8::2]:8333"
PING = (7).to_bytes(8, "little")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    first = [whole(1, PEER, "ping", PING), whole(2, OTHER, "addr", addr_payload(3)), whole(3, PEER, "verack")]
    second = [whole(4, PEER, "addr", addr_payload(9)), (5, PEER, "tx", bytes(10), 250), (6, PEER, "tx", None, 250)]
    path = tmp_path / "all.events"
    return written(path, messages(IN, first), messages(OUT, [whole(3, PEER, "pong", PING)]), messages(IN, second))


def test_our_own_source_reads_the_same_messages(recording: Path, tmp_path: Path) -> None:
    done = export_capture(str(recording), tmp_path / "out")
    assert (done.messages, done.cut, done.odd, len(done.peers)) == (5, 2, 0, 2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["8.8.8.8_50000", "[2a01_4f8__2]_8333"]
    found = [batch for one in slices_of(tmp_path / "out") for batch in one.batches]
    seen = [
        (batch.kind, peer, type_, time - START_US * 1_000)
        for batch in found
        if batch.kind in (IN, OUT)
        for peer, type_, time in zip(
            batch.strings("peer").tolist(), batch.strings("type").tolist(), batch.time_ns.tolist(), strict=True
        )
    ]
    assert sorted(seen) == [
        (IN, PEER, "addr", 4 * 10**9),
        (IN, PEER, "ping", 10**9),
        (IN, PEER, "verack", 3 * 10**9),
        (IN, OTHER, "addr", 2 * 10**9),
        (OUT, PEER, "pong", 3 * 10**9),
    ]
    assert sum(batch.rows for batch in found if batch.kind == "p2p:addr_entry") == 12


def test_cores_own_parser_reads_it(recording: Path, tmp_path: Path) -> None:
    core = Path(os.environ.get("WATCHDOG_CORE_SOURCE", ""))
    parser = core / "contrib" / "message-capture" / "message-capture-parser.py"
    if not parser.is_file():
        pytest.skip("WATCHDOG_CORE_SOURCE names no copy of Bitcoin Core's source")
    export_capture(str(recording), tmp_path / "out")
    files = sorted(map(str, (tmp_path / "out").glob("*/*.dat")))
    command = [sys.executable, str(parser), "-o", str(tmp_path / "out.json"), *files]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if "No module named" in done.stderr:
        lacking(done.stderr.strip().splitlines()[-1])
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "out.json").read_text())
    shown = [(one["direction"], one["msgtype"], one["time"] - START_US) for one in found]
    assert sorted(shown) == [
        ("recv", "addr", 2 * 10**6),
        ("recv", "addr", 4 * 10**6),
        ("recv", "ping", 10**6),
        ("recv", "verack", 3 * 10**6),
        ("sent", "pong", 3 * 10**6),
    ]
    assert not [one for one in found if "error" in one]
    assert [len(one["body"]["addrs"]) for one in found if one["msgtype"] == "addr"] == [3, 9]


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("8.8.8.8:50000", "8.8.8.8_50000"),
        ("[2a01:4f8::2]:8333", "[2a01_4f8__2]_8333"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("/etc/passwd", "%2Fetc%2Fpasswd"),
        ("..", "%2E."),
        (".", "%2E"),
        ("", "%"),
        ("a\0b\nc", "a%00b%0Ac"),
        ("\udcff", "%5Cudcff"),
    ],
)
def test_no_address_leads_out_of_the_folder(peer: str, name: str) -> None:
    assert folder_name(peer) == name


def test_long_addresses_keep_apart(tmp_path: Path) -> None:
    names = {folder_name("x" * 500 + str(at)) for at in range(10)}
    assert len(names) == 10
    assert max(map(len, names)) <= 120
    rows = [whole(1, "y" * 100_000, "ping", PING), whole(1, "../../../../tmp/evil:1", "ping", PING)]
    done = export_capture(str(written(tmp_path / "x.events", messages(IN, rows))), tmp_path / "deep" / "out")
    assert done.messages == 2
    assert sorted(path.parent for path in tmp_path.rglob("*.dat")) == sorted((tmp_path / "deep" / "out").iterdir())


def test_types_that_cores_parser_does_not_survive_are_left_out(tmp_path: Path) -> None:
    rows = [whole(1, PEER, "\\x01\\x02", PING), whole(1, PEER, "é", PING), whole(1, PEER, "ping", PING)]
    done = export_capture(str(written(tmp_path / "x.events", messages(IN, rows))), tmp_path / "out")
    assert (done.messages, done.odd) == (1, 2)


def test_a_recording_without_payloads_has_only_empty_messages(tmp_path: Path) -> None:
    rows = [whole(1, PEER, "verack"), (1, PEER, "ping", None, 8)]
    path = written(tmp_path / "x.events", messages(IN, rows, payloads=False))
    done = export_capture(str(path), tmp_path / "out")
    assert (done.messages, done.cut) == (1, 1)


def test_a_folder_with_files_is_refused(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(WatchdogError, match="is no empty folder"):
        export_capture(str(recording), tmp_path / "out")


def test_the_command_counts_what_it_leaves_out(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["export", str(recording), "--format", "capture", "--out", out]) == 0
    said = capsys.readouterr().err
    assert "5 messages of 2 peers" in said
    assert "left out: 2 messages, their payload is not whole" in said
    assert main(["export", str(recording), "--format", "capture"]) == 2
    assert "give --out DIR" in capsys.readouterr().err
    assert main(["export", str(recording), "--format", "capture", "--out", out, "--kind", "p2p"]) == 2
    since = str((START_US // 10**6) + 4)
    assert main(["export", str(recording), "--format", "capture", "--out", f"{out}2", "--since", since]) == 0
    assert "1 message of 1 peer" in capsys.readouterr().err
