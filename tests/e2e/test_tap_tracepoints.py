"""The commands of docs/SOURCES.md beside Core's tracing scripts, and the FIBRE pack, on real tracepoints."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.children import killed_on_failure
from tests.support.extraction import Extraction, public_folder
from tests.support.service_process import ROOT
from tests.support.traced_node import TracedNode
from tests.support.waiting import wait_until
from watchdog.cli.main import main

pytestmark = pytest.mark.slow
PAGE = ROOT / "docs" / "SOURCES.md"
COMMANDS = re.findall(r"^\| .+? \| `(watchdog tap SOURCE .+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
ADDRESS, HASH, OTHER = "203.0.113.5:8333", bytes(range(32)), b"\xab" * 32
CALLS: dict[str, tuple[str | int | bytes, ...]] = {
    "net:inbound_message": (7, ADDRESS, "inbound", "ping", b"\x01\x02\x03\x04\x05\x06\x07\x08"),
    "net:outbound_message": (7, ADDRESS, "inbound", "pong", b"\x01\x02\x03\x04\x05\x06\x07\x08"),
    "net:inbound_connection": (7, ADDRESS, "inbound", 1, 9),
    "net:outbound_connection": (8, ADDRESS, "feeler", 1, 3),
    "net:evicted_inbound_connection": (7, ADDRESS, "inbound", 1, 1_790_000_000),
    "net:closed_connection": (7, ADDRESS, "inbound", 1, 1_790_000_000),
    "net:misbehaving_connection": (7, "headers do not connect"),
    "validation:block_connected": (HASH, 840_000, 3_000, 7_000, 9_000, 700_000_000),
    "utxocache:add": (HASH, 1, 840_000, 5_000, 0),
    "utxocache:spent": (HASH, 1, 840_000, 5_000, 0),
    "utxocache:uncache": (HASH, 1, 840_000, 5_000, 0),
    "utxocache:flush": (80_000, 2, 9, 20, 0),
    "mempool:added": (HASH, 141, 282),
    "mempool:removed": (HASH, "block", 141, 282, 1_790_000_000),
    "mempool:rejected": (HASH, "min relay fee not met"),
    "mempool:replaced": (HASH, 100, 500, 1_790_000_000, OTHER, 120, 1_200, 1),
}


def kinds_of(command: str) -> list[str]:
    """The probes that a command reads."""
    words = shlex.split(command)
    named = words[words.index("--kinds") + 1 :]
    wanted = named[: next((at for at, word in enumerate(named) if word.startswith("--")), len(named))]
    return [name for name in CALLS if name in wanted or name.partition(":")[0] in wanted]


@pytest.mark.parametrize("command", COMMANDS, ids=[f"{at}" for at in range(len(COMMANDS))])
def test_each_command_of_the_page_shows_what_its_script_shows(command: str, tmp_path: Path) -> None:
    kinds = kinds_of(command)
    assert kinds
    with public_folder() as folder, TracedNode() as node, Extraction(folder, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        words = shlex.split(command.replace("SOURCE", f"stream:{extraction.socket}"))[1:]
        if "--every" in words:
            words[words.index("--every") + 1] = "5s"
        out = tmp_path / "out"
        with out.open("wb") as file, killed_on_failure(subprocess.Popen(
            [sys.executable, "-m", "watchdog", *words],
            stdout=file, stderr=subprocess.PIPE, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        )) as tap:  # fmt: skip
            wait_until(lambda: all(node.semaphores()[kind] for kind in kinds), extraction.text)
            for kind in kinds:
                assert node.probe(kind, *CALLS[kind]), kind
            lines = [] if "--measure" in words else kinds  # of a measure, an interrupt gives the last table
            wait_until(lambda: tap.poll() is not None or all(kind in out.read_text("utf-8") for kind in lines))
            if not lines:
                wait_until(lambda: tap.poll() is not None or bool(out.read_text("utf-8").strip()))
            tap.send_signal(signal.SIGINT)
            said = tap.communicate(timeout=300)[1]
        text = out.read_text(encoding="utf-8")
    assert tap.returncode == 0, said
    assert "LOST" not in text
    assert text.strip(), said
    if "--measure" not in words:
        assert all(kind in text for kind in kinds), text
    if "hex" in words:
        assert "01 02 03 04" in text or "0102 0304" in text or "01020304" in text


def test_the_fibre_pack_fires_on_tracepoints_of_a_fibre_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pack = ROOT / "rules" / "packs" / "optional" / "fibre.yaml"
    kind, out = "udp:block_race_time", tmp_path / "fibre.events"
    fields = "[hash: bytes32, height: i32, udp_ns: i64, udp_peer: str, cmpct_ns: i64, cmpct_peer: str]"
    (tmp_path / "watchdog.yaml").write_text(f"sources: log:none\ntracepoints:\n  {kind}: {fields}\n", encoding="utf-8")
    with public_folder() as folder, TracedNode(fibre=True) as node, Extraction(folder, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        command = ["record", f"stream:{extraction.socket}", "--out", str(out), "--kind", kind]
        with killed_on_failure(subprocess.Popen(
            [sys.executable, "-m", "watchdog", *command],
            stderr=subprocess.PIPE, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        )) as recording:  # fmt: skip
            wait_until(lambda: node.semaphores()[kind], extraction.text)
            for height in range(840_000, 840_006):
                assert node.probe(kind, HASH, height, 2_500_000_000, ADDRESS, -1, "n/a")
            tapped = ["tap", f"stream:{extraction.socket}", "--kinds", kind, "--count", "1", "--format", "json"]
            with killed_on_failure(subprocess.Popen(
                [sys.executable, "-m", "watchdog", *tapped],
                stdout=subprocess.PIPE, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            )) as tap:  # fmt: skip
                height = 840_006
                while tap.poll() is None:  # its own subscription: what it shows has passed the extractor
                    assert node.probe(kind, HASH, height, 2_500_000_000, ADDRESS, -1, "n/a")
                    height += 1
                    time.sleep(0.5)
                assert tap.stdout is not None
                assert json.loads(tap.stdout.read())["udp_ns"] == 2_500_000_000
            time.sleep(2.0)  # longer than the recorder lets a batch wait
            recording.send_signal(2)
            said = recording.communicate(timeout=300)[1]
    assert recording.returncode == 0, said
    monkeypatch.chdir(tmp_path)
    assert main(["replay", f"events:{out}", "--no-packs", "--rules", str(pack)]) == 0
    found = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(one["rule"], one["severity"]) for one in found if one["rule"] == "fibre-slow"] == [
        ("fibre-slow", "warning")
    ]
