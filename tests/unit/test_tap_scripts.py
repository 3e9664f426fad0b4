"""docs/SOURCES.md: each command beside a tracing script of Core, on events that tracepoints give."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.tapped import message, peer, rows, written
from watchdog.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "SOURCES.md"
ROW = re.compile(r"^\| (.+?) \| `(watchdog tap SOURCE .+)` \|$", re.MULTILINE)
COMMANDS: dict[str, str] = dict(ROW.findall(PAGE.read_text(encoding="utf-8")))
TXID = b"\xab" * 32


def command(script: str) -> str:
    """The only command beside a row that begins so."""
    (found,) = [text for name, text in COMMANDS.items() if name.startswith(script)]
    return found


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A recording of 40 s of a node, with what each script wants."""
    inbound, outbound = peer(7), peer(11, "out")
    coin = {"txid": TXID, "index": 1, "height": 900_000, "value_sat": 5_000, "coinbase": False}
    block = {"hash": TXID, "transactions": 3_000, "inputs": 7_000, "sigops": 9_000}
    replaced = {"txid": TXID, "vsize_vb": 100, "fee_sat": 500, "replacement_txid": TXID, "by_transaction": True}
    batches = [
        rows("net:inbound_message", message(1, "ping", 8, inbound), message(2, "inv", 37, outbound)),
        rows("net:outbound_message", message(1.5, "pong", 8, inbound)),
        rows("net:inbound_connection", {"at": 0.5, "connections": 9, **inbound}),
        rows("net:outbound_connection", {"at": 0.6, "connections": 3, **outbound}),
        rows("net:evicted_inbound_connection", {"at": 3, **inbound}),
        rows("net:misbehaving_connection", {"at": 2.9, "reason": "headers do not connect", **inbound}),
        rows("net:closed_connection", {"at": 3.1, **inbound}),
        rows("utxocache:add", {"at": 4, **coin}),
        rows("utxocache:spent", {"at": 5, **coin}),
        rows("utxocache:uncache", {"at": 6, **coin}),
        rows("utxocache:flush", {"at": 7, "duration_us": 80_000, "mode": "periodic", "coins": 9, "memory_bytes": 20}),
        rows(
            "validation:block_connected",
            {"at": 8, "height": 800_000, "duration_ns": 90_000_000, **block},
            {"at": 9, "height": 800_001, "duration_ns": 700_000_000, **block},
            {"at": 19, "height": 800_002, "duration_ns": 80_000_000, **block},
        ),
        rows("mempool:added", *({"at": 20 + at, "txid": TXID, "vsize_vb": 141, "fee_sat": 282} for at in range(5))),
        rows("mempool:removed", {"at": 21, "txid": TXID, "reason": "block", "vsize_vb": 141, "fee_sat": 282}),
        rows("mempool:rejected", {"at": 22, "txid": TXID, "reason": "min relay fee not met"}),
        rows(
            "mempool:replaced",
            {"at": 23, "replacement_vsize_vb": 120, "replacement_fee_sat": 1_200, **replaced},
            {"at": 24, "replacement_vsize_vb": 90, "replacement_fee_sat": 800, **replaced},
        ),
    ]  # fmt: skip
    return written(tmp_path / "node.events", [(40, batches)])


@pytest.fixture
def tapped(source: str, capfd: pytest.CaptureFixture[str]) -> Callable[[str], list[str]]:
    """Runs the command beside a script; the lines that it prints."""

    def run(script: str) -> list[str]:
        words = shlex.split(command(script).replace("SOURCE", source))
        assert main(words[1:]) == 0
        out, err = capfd.readouterr()
        assert not err
        return out.splitlines()

    return run


def test_every_script_has_its_command() -> None:
    scripts = [
        "log_p2p_traffic.bt", "log_p2p_connections.bt", "log_raw_p2p_msgs.py", "log_utxos.bt", "log_utxocache_flush.py",
        "connectblock_benchmark.bt", "mempool_monitor.py",
    ]  # fmt: skip
    assert all(command(f"`{script}`") for script in scripts)


@pytest.mark.parametrize("script", ["`log_p2p_traffic.bt`", "`log_raw_p2p_msgs.py`"])
def test_messages_with_their_peers(tapped: Callable[[str], list[str]], script: str) -> None:
    lines = [line.split(" ", 2)[1:] for line in tapped(script) if line.startswith("2026")]
    assert lines == [
        ["net:inbound_message", "#7 in inbound 192.0.2.7:8333 type=ping size=8 known=yes"],
        ["net:outbound_message", "#7 in inbound 192.0.2.7:8333 type=pong size=8 known=yes"],
        ["net:inbound_message", "#11 out outbound-full-relay 192.0.2.11:8333 type=inv size=37 known=yes"],
    ]


def test_connections(tapped: Callable[[str], list[str]]) -> None:
    lines = tapped("`log_p2p_connections.bt`")
    assert [line.split()[1] for line in lines] == [
        "net:inbound_connection",
        "net:outbound_connection",
        "net:misbehaving_connection",
        "net:evicted_inbound_connection",
        "net:closed_connection",
    ]
    assert 'reason="headers do not connect"' in lines[2]


def test_coins_and_flushes(tapped: Callable[[str], list[str]]) -> None:
    coins = tapped("`log_utxos.bt`")
    assert [line.split()[1] for line in coins] == ["utxocache:add", "utxocache:spent", "utxocache:uncache"]
    assert all(f"txid={TXID.hex()} index=1 height=900000 value_sat=5000 coinbase=no" in line for line in coins)
    (flush,) = tapped("`log_utxocache_flush.py`")
    assert "duration_us=80000 mode=periodic coins=9 memory_bytes=20 for_prune=no" in flush


def test_blocks(tapped: Callable[[str], list[str]]) -> None:
    lines = tapped("`connectblock_benchmark.bt`")
    cells = [line.split() for line in lines]
    assert cells[1] == ["blocks", "tx_per_s", "inputs_per_s", "ms_per_block"]
    assert cells[2] == ["2", "600.0", "1,400.0", "395.0"]
    assert any(line.split()[:3] == ["[512M,", "1G)", "1"] for line in lines)
    (slow,) = tapped("the same: blocks")
    assert "height=800001" in slow


def test_mempool(tapped: Callable[[str], list[str]]) -> None:
    lines = [line.split() for line in tapped("`mempool_monitor.py`")]
    assert lines[1:6] == [
        ["kind", "n", "per_s"],
        ["mempool:added", "5", "0.500"],
        ["mempool:replaced", "2", "0.200"],
        ["mempool:rejected", "1", "0.100"],
        ["mempool:removed", "1", "0.100"],
    ]


def test_replacements(tapped: Callable[[str], list[str]]) -> None:
    lines = [line.split() for line in tapped("research on replacements")]
    assert lines[2] == ["true", "2", "10.00", "5.000"]
    assert [line[:3] for line in lines if line[:1] in (["[256,"], ["[512,"])] == [
        ["[256,", "512)", "1"],
        ["[512,", "1K)", "1"],
    ]
