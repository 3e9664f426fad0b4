"""`watchdog tap` on recordings made by hand: lines, JSON, tables, and what ends it."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.children import killed_on_failure
from tests.support.tapped import START_S, message, peer, rows, written
from watchdog.archive.reader import EventsFile
from watchdog.cli.main import main
from watchdog.core.batch import Batch, Blobs
from watchdog.tap.events import as_hex
from watchdog.tap.query import Asked
from watchdog.tap.run import Screen, TapOptions, tap

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Twelve messages of two peers in 12 s, a transaction that entered the mempool, and a gap."""
    inbound = [message(second, "inv", 37 + second, peer(1)) for second in range(8)]
    outbound = [message(second, "tx", 250, peer(2, "out")) for second in (1, 6, 11)]
    ping = [message(2.5, "ping", 8, peer(1))]
    return written(
        tmp_path / "made.events",
        [
            (6, [rows("net:inbound_message", *inbound[:6], *ping), rows("net:outbound_message", outbound[0])]),
            (
                12,
                [
                    rows("net:inbound_message", *inbound[6:]),
                    rows("net:outbound_message", *outbound[1:]),
                    rows("mempool:added", {"at": 7, "txid": b"\1" * 32, "vsize_vb": 141, "fee_sat": 282}),
                    rows(
                        "source:gap",
                        {
                            "at": 9,
                            "from_ns": START_S * 10**9,
                            "to_ns": START_S * 10**9 + 5,
                            "lost": 3,
                            "reason": "full",
                        },
                    ),
                ],
            ),
        ],
    )


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[list[str], str]:
    """Tap well; the lines of standard output, and standard error."""
    assert main(["tap", *words]) == 0
    out, err = capfd.readouterr()
    return out.splitlines(), err


def objects(capfd: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(capfd, *words, "--format", "json")[0]]


def test_every_event_is_a_line_in_the_order_of_time(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    lines, err = run(capfd, source)
    assert len(lines) == 14
    assert (
        lines[0]
        == "2026-09-21T14:13:20.000000Z net:inbound_message #1 in inbound 192.0.2.1:8333 type=inv size=37 known=yes"
    )
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    (lost,) = [line for line in lines if " LOST " in line]
    start = "2026-09-21T14:13:20.000000Z"
    assert lost.endswith(f" LOST of=stream:node.sock from={start} to={start} events=3 reason=full")
    assert not err


def test_json_is_the_object_of_export_with_its_kind_first(
    source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = objects(capfd, source)
    assert all(next(iter(one)) == "kind" for one in found)
    assert main(["export", source.removeprefix("events:"), "--format", "jsonl"]) == 0
    exported = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    key = json.dumps
    assert sorted(key(one, sort_keys=True) for one in found) == sorted(key(one, sort_keys=True) for one in exported)


def test_kinds_and_filter_choose_but_lost_events_are_always_shown(
    source: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found = objects(capfd, source, "--kinds", "net", "--where", 'type in ["tx", "ping"]')
    assert [(one["kind"], one.get("type")) for one in found] == [
        ("net:outbound_message", "tx"),
        ("net:inbound_message", "ping"),
        ("net:outbound_message", "tx"),
        ("source:gap", None),
        ("net:outbound_message", "tx"),
    ]


def test_a_filter_leaves_out_kinds_that_lack_its_fields_and_says_so(
    source: str, capfd: pytest.CaptureFixture[str]
) -> None:
    lines, err = run(capfd, source, "--kinds", "net:inbound_message", "mempool", "--where", "fee_sat > 100")
    assert [line.split()[1] for line in lines] == ["mempool:added", "LOST"]
    assert "left out, without a field of the expressions: mempool:rejected, net:inbound_message\n" in err


def test_kinds_that_no_source_has_are_named(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines, err = run(capfd, f"log:{log}", "--kinds", "p2p,log", "mempool:added")
    assert len(lines) == 1
    assert "no source gives p2p, mempool:added" in err
    for words, said in (
        (["p2p"], "no source gives p2p"),
        (["log:tipp"], "did you mean 'log:tip'?"),
        ([","], "unknown kind"),
    ):
        assert main(["tap", f"log:{log}", "--kinds", *words]) == 2
        assert said in capfd.readouterr().err


def test_a_table_at_each_interval_and_at_the_end(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    words = [
        "--kinds",
        "net",
        "--measure",
        "n=count()",
        "--measure",
        "bytes=sum(size)",
        "--measure",
        "p=quantile(size, 0.5)",
    ]
    found = [one for one in objects(capfd, source, *words, "--by", "type", "--every", "5s") if "by" in one]
    assert [(one["from"] - START_S, one["to"] - START_S, one["by"], one["measures"]) for one in found] == [
        (0, 5, {"type": "inv"}, {"n": 5, "bytes": 195, "p": 39}),
        (0, 5, {"type": "ping"}, {"n": 1, "bytes": 8, "p": 8}),
        (0, 5, {"type": "tx"}, {"n": 1, "bytes": 250, "p": 251}),
        (5, 10, {"type": "inv"}, {"n": 3, "bytes": 129, "p": 43}),
        (5, 10, {"type": "tx"}, {"n": 1, "bytes": 250, "p": 251}),
        (10, 15, {"type": "tx"}, {"n": 1, "bytes": 250, "p": 251}),
    ]


def test_one_table_over_everything_with_a_histogram(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--kinds", "net", "--measure", "sizes=histogram(size)", "--measure", "n=count()", "--every", "end"]
    (found,) = [one for one in objects(capfd, source, *words) if "by" in one]
    assert found["measures"] == {"sizes": [[8, 16, 1], [32, 64, 8], [128, 256, 3]], "n": 12}
    lines, _ = run(capfd, source, *words)
    assert [line.split("|")[0].split() for line in lines if "|" in line] == [
        ["[8,", "16)", "1"], ["[16,", "32)", "0"], ["[32,", "64)", "8"], ["[64,", "128)", "0"], ["[128,", "256)", "3"],
    ]  # fmt: skip


def test_count_ends_after_the_first_events_in_time(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = objects(capfd, source, "--count", "3")
    assert [(one["time_ns"] // 10**9 - START_S, one["type"]) for one in found] == [(0, "inv"), (1, "inv"), (1, "tx")]


def test_for_is_event_time_of_files(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = objects(capfd, source, "--kinds", "net", "--for", "2s")
    assert [one["time_ns"] // 10**9 - START_S for one in found if one["kind"] != "source:gap"] == [0, 1, 1]


def test_what_passes_is_recorded(source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "kept.events"
    lines, err = run(capfd, source, "--where", 'type == "ping"', "--kinds", "net", "--record", str(out))
    assert ": 1 event, " in err
    with EventsFile(out, strict=True) as file:
        kept = [batch for piece in file.slices() for batch in piece.batches]
    assert [(batch.kind, batch.rows) for batch in kept] == [("net:inbound_message", 1), ("source:gap", 1)]
    assert len(lines) == 2
    for again, said in ((out, "exists already"), (source.removeprefix("events:"), "cannot be recorded into itself")):
        assert main(["tap", source, "--record", str(again)]) == 2
        assert said in capfd.readouterr().err


def test_of_a_torn_recording_the_readable_part_is_shown(source: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = Path(source.removeprefix("events:"))
    path.write_bytes(path.read_bytes()[:-200])
    for command in ("tap", "top"):
        assert main([command, source]) == 2
        out, err = capfd.readouterr()
        assert "192.0.2.1:8333" in out
        assert "torn at byte" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--where", "sise > 3"], "did you mean 'size'?"),
        (["--where", "size >"], "--where: expected a value at the end"),
        (["--measure", "count()"], "expected NAME=EXPR"),
        (["--measure", "n=histogram(size) + 1"], "a histogram cannot be part of an expression"),
        (["--measure", "n=anomalous(count())"], "judges a window of a rule"),
        (["--measure", "n=count()", "--measure", "n=sum(size)"], "given twice"),
        (["--measure", "n=rate(count())", "--every", "end"], "needs the length of the interval"),
        (["--by", "type"], "--by needs a --measure"),
        (["--measure", "n=count()", "--by", "flavour"], "has no field 'flavour'"),
        (["--every", "5"], "is not a duration above 0"),
        (["--count", "0"], "is not a whole number above 0"),
        (["--payload", "addr"], "is not TYPE=SIZE"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(
    source: str, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["tap", source, "--kinds", "net:inbound_message", *words]) == 2
    out, err = capfd.readouterr()
    assert said in err
    assert not out
    assert err.count("\n") == 1


def test_text_of_peers_moves_no_cursor(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    odd = "inv\x1b[2J\r\nfake"
    made = written(tmp_path / "odd.events", [(1, [rows("net:inbound_message", message(0, odd, 1, peer(1)))])])
    for words in ([], ["--format", "json"], ["--measure", "n=count()", "--by", "type"]):
        lines, _ = run(capfd, made, "--kinds", "net", *words)
        assert "\x1b" not in "".join(lines)
        assert not any(line.startswith("fake") for line in lines)


def test_keys_beyond_the_most_are_counted_and_reported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchdog.tap.table.MOST_KEYS", 5)
    many = [message(0, "inv", 1, peer(number)) for number in range(9)]
    made = written(tmp_path / "many.events", [(1, [rows("net:inbound_message", *many)])])
    lines, err = run(capfd, made, "--measure", "n=count()", "--by", "peer", "--kinds", "net", "--format", "json")
    assert len(lines) == 5
    assert "4 events not measured: 5 keys are the most" in err


def test_a_reader_that_leaves_is_no_failure(tmp_path: Path) -> None:
    many = [message(number / 1000, "inv", 1, peer(1)) for number in range(20_000)]
    made = written(tmp_path / "long.events", [(30, [rows("net:inbound_message", *many)])])
    command = f"'{sys.executable}' -m watchdog tap '{made}' --format json"
    script = f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}"  # 5 MB: more than a pipe holds
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    first, code = done.stdout.splitlines()
    assert json.loads(first)["kind"] == "net:inbound_message"
    assert code == "0"
    assert not done.stderr


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A debug.log with a connection of long ago."""
    path = tmp_path / "debug.log"
    path.write_text("2026-09-21T14:13:20Z [net] New inbound v2 peer connected: version: 70016, blocks=1, peer=1\n")
    return path


def grow(log: Path, number: int) -> None:
    """Another connection, now."""
    with log.open("a") as file:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        file.write(f"{now} [net] New inbound v2 peer connected: version: 70016, blocks=1, peer={number}\n")


def test_a_followed_file_shows_what_is_new_until_an_interrupt(log: Path) -> None:
    command = [sys.executable, "-m", "watchdog", "tap", f"log:{log}", "--follow"]
    with killed_on_failure(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    ) as process:
        assert process.stdout is not None
        number = 1
        while not select.select([process.stdout], [], [], 0.2)[0]:  # it may not have opened the file yet
            number += 1
            assert number < 300, "nothing came in a minute"
            grow(log, number)
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    assert "log:peer_connected #" in line
    assert "#1 " not in line, "what was written before"


def test_an_interrupt_gives_the_last_table(log: Path) -> None:
    shown: list[str] = []
    rounds = iter(range(1, 6))
    stopped: list[bool] = []

    def wait(_seconds: float) -> None:
        number = next(rounds, 0)
        if number == 1:
            grow(log, 7)
        if not number:
            stopped.append(True)

    screen = Screen(shown.append, pytest.fail, lambda: bool(stopped), wait=wait)
    asked = Asked(measures=("n=count()",), by=("kind",), every_ns=86_400 * 10**9)
    tap([f"log:{log}"], TapOptions(asked=asked, follow=True), screen)
    (table,) = shown
    assert ["log:peer_connected", "1"] in [line.split() for line in table.splitlines()]


def test_bytes_of_messages_beside_their_text() -> None:
    made = rows(
        "net:inbound_message", *(message(at, "tx", size, peer(1)) for at, size in enumerate((18, 18, 18, 18, 0)))
    )
    payloads = Blobs.of([b"0123456789abcdef\x1b\xff", b"01", b"", b"", b""])
    columns = {**made.columns, "payload": payloads, "payload_size": np.array([18, 2, -1, 0, 0], np.int64)}
    text = [text for _, text in as_hex(Batch(made.kind, made.node, made.source, columns))]
    assert text[0].splitlines()[1:] == [
        "  00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|",
        "  00000010  1b ff                                             |..|",
    ]
    assert text[1].splitlines()[1:] == [
        "  00000000  30 31                                             |01|",
        "  (2 of 18 bytes are present)",
    ]
    assert "could not be read" in text[2]
    assert "was not asked for" in text[3]
    assert text[4].count("\n") == 1
    assert "payload" not in text[0].splitlines()[0]
