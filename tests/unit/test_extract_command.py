"""`watchdog extract` as a process: its rights, its node's ends and starts, its readers, its errors."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.extraction import ROOT, Extraction, Reading, attach_all, probes, public_folder, refusal
from tests.support.parts import lacking
from tests.support.traced_node import TracedNode, traced_binary
from tests.support.waiting import wait_until
from watchdog.extract.attachment import LINGER_S, Attachment

INBOUND = "net:inbound_message"
ADDED = "mempool:added"
LIFE = ("node:started", "node:stopped", "source:gap")
HASH = bytes(range(32))
NOBODY = 65_534
USER = 1_234  # without a name here


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may read: the extractor becomes another one."""
    with public_folder() as folder:
        yield folder


def status(process: int) -> dict[str, str]:
    """/proc/PID/status by name."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def copied(folder: Path) -> Path:
    """A copy of the traced node, at a path that every user may read."""
    return Path(shutil.copy(traced_binary(), folder / "bitcoind"))


def test_it_serves_with_two_capabilities_and_few_system_calls(public: Path) -> None:
    with TracedNode() as node, Extraction(public, "--pid", node.pid, "--group", "nogroup") as extraction:
        extraction.wait_for("serving at")
        with Reading(extraction.socket, ADDED) as reading:
            seen = status(extraction.process.pid)
            assert {seen[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"000000c000000000"}
            assert (seen["CapAmb"], seen["CapInh"]) == ("0" * 16, "0" * 16)
            assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
            assert set(seen["Uid"].split()) == {str(NOBODY)}
            assert seen["Groups"] == ""
            mode = extraction.socket.stat()
            assert (stat.S_IMODE(mode.st_mode), mode.st_gid) == (0o660, NOBODY)
            assert node.probe(ADDED, HASH, 141, 1_000)
            batch = reading.rows(ADDED)
            assert batch.numbers("vsize_vb").tolist() == [141]
            assert extraction.end() == 0  # with a reader that is still there
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
            late.connect(str(extraction.socket))  # it stays, as its folder is closed; the next start replaces it


def test_messages_payloads_and_losses_add_up(public: Path) -> None:
    with TracedNode() as node, Extraction(public, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        with Reading(extraction.socket, INBOUND, *LIFE, payloads={"*": 16}) as reading:
            sent = node.flood("in", 100_000, 4_000, peers=20).fired
            assert sent == 100_000

            def arrived() -> int:
                rows = sum(one.rows for one in list(reading.kept.batches) if one.kind == INBOUND)
                gaps = [one for one in list(reading.kept.batches) if one.kind == "source:gap"]
                here = sum(int(one.numbers("lost")[at]) for one in gaps for at in range(one.rows)
                           if one.strings("reason").tolist()[at] == "ring full")  # fmt: skip
                return rows + here + sum(one.events for one in list(reading.kept.losses))

            wait_until(lambda: arrived() == sent)
            assert arrived() == sent
            batch = reading.rows(INBOUND)
    assert set(batch.numbers("payload_size").tolist()) <= {16, -1}
    assert set(batch.numbers("size").tolist()) == {4_000}
    assert len(batch.strings("peer").values) == 20


@pytest.mark.parametrize("replaced", [False, True])
def test_it_waits_for_the_next_process_of_the_same_program(public: Path, replaced: bool) -> None:
    binary = copied(public)
    with TracedNode(binary) as node, Extraction(public, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        with Reading(extraction.socket, ADDED, *LIFE) as reading:
            node.probe(ADDED, HASH, 1, 1)
            reading.rows(ADDED)
            node.end(0)
            stopped = reading.rows("node:stopped")
            assert stopped.strings("reason").tolist() == ["shutdown"]
            if replaced:
                binary.unlink()
                copied(public)
            with TracedNode(binary) as following:
                started = reading.rows("node:started")
                assert started.boot_ns > stopped.boot_ns > 0
                assert started.strings("version").tolist() == ["v30.0.0"]
                extraction.wait_for(f"attached to process {following.pid} ")
                following.probe(ADDED, HASH, 2, 2)
                assert reading.rows(ADDED, 2).numbers("vsize_vb").tolist() == [1, 2]
                assert reading.rows(ADDED, 2).boot_ns == started.boot_ns
                following.crash()
                again = reading.rows("node:stopped", 2)
    assert again.strings("reason").tolist() == ["shutdown", "killed by signal 6"]


def test_a_node_of_another_folder_is_no_successor(public: Path) -> None:
    """One user may run several nodes: each extractor keeps to its own."""
    binary, elsewhere = copied(public), public / "other"
    elsewhere.mkdir(mode=0o755)
    with TracedNode(binary) as node, Extraction(public, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        with Reading(extraction.socket, ADDED, *LIFE) as reading:
            node.end(0)
            reading.rows("node:stopped")
            with TracedNode(copied(elsewhere)), TracedNode(binary) as following:
                extraction.wait_for(f"tracing process {following.pid} ")
            assert extraction.text().count("tracing process") == 2


def test_it_becomes_the_nodes_user_and_reads_its_pid_file(public: Path) -> None:
    if reason := refusal():
        lacking(f"eBPF: {reason}")
    folder = public / "node"
    folder.mkdir()
    os.chown(folder, USER, USER)
    pid_file = folder / "bitcoind.pid"
    with TracedNode(user=USER) as node:
        write_private(pid_file, node.pid)
        folder.chmod(0o700)
        with Extraction(public, "--pidfile", pid_file) as extraction:
            extraction.wait_for("serving at")
            assert set(status(extraction.process.pid)["Uid"].split()) == {str(USER)}
            with Reading(extraction.socket, ADDED, *LIFE) as reading:
                node.end(0)
                reading.rows("node:stopped")
                with TracedNode(user=USER) as following:
                    write_private(pid_file, following.pid)
                    reading.rows("node:started")
                    extraction.wait_for(f"attached to process {following.pid} ")
                    assert following.probe(ADDED, HASH, 5, 5)
                    reading.rows(ADDED)


def write_private(path: Path, pid: int) -> None:
    """Write a pid file as Core does, for its user alone."""
    path.write_text(f"{pid}\n", encoding="ascii")
    os.chown(path, USER, USER)
    path.chmod(0o600)


def test_another_node_of_the_same_program_is_not_its_successor(public: Path) -> None:
    with TracedNode() as other, TracedNode() as node, Extraction(public, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        with Reading(extraction.socket, ADDED, *LIFE) as reading:
            node.end(0)
            reading.rows("node:stopped")
            extraction.wait_for("ended: shutdown")
            with TracedNode() as following:
                extraction.wait_for(f"tracing process {following.pid}")
                assert other.semaphores()[ADDED] == 0


def test_two_nodes_of_one_program_have_two_extractors_and_never_mix(public: Path) -> None:
    first, second = public / "first", public / "second"
    first.mkdir()
    second.mkdir()
    with (
        TracedNode() as alice,
        TracedNode() as bob,
        Extraction(first, "--pid", alice.pid) as of_alice,
        Extraction(second, "--pid", bob.pid) as of_bob,
    ):
        of_alice.wait_for("serving at")
        of_bob.wait_for("serving at")
        with Reading(of_alice.socket, ADDED) as from_alice, Reading(of_bob.socket, ADDED) as from_bob:
            for number in range(50):
                assert alice.probe(ADDED, HASH, number, 1)
                assert bob.probe(ADDED, HASH, 1_000 + number, 1)
            assert from_alice.rows(ADDED, 50).numbers("vsize_vb").tolist() == list(range(50))
            assert from_bob.rows(ADDED, 50).numbers("vsize_vb").tolist() == list(range(1_000, 1_050))


def test_a_pid_file_may_appear_later_and_change(public: Path) -> None:
    pid_file = public / "bitcoind.pid"
    with Extraction(public, "--pidfile", pid_file, "--binary", traced_binary()) as extraction:
        extraction.wait_for("waiting for the node")
        with TracedNode() as node:
            pid_file.write_text(f"{node.pid}\n", encoding="ascii")
            extraction.wait_for("serving at")
            with Reading(extraction.socket, ADDED, *LIFE) as reading:
                node.end(3)
                assert reading.rows("node:stopped").strings("reason").tolist() == ["exit code 3"]
                with TracedNode() as following:
                    pid_file.write_text(f"{following.pid}\n", encoding="ascii")
                    reading.rows("node:started")
                    extraction.wait_for(f"attached to process {following.pid} ")
                    assert following.probe(ADDED, HASH, 5, 5)
                    reading.rows(ADDED)


def test_a_binary_is_traced_from_its_first_process_on(public: Path) -> None:
    binary = copied(public)
    with Extraction(public, "--binary", binary, "--kinds", "mempool") as extraction:
        extraction.wait_for("serving at")
        with Reading(extraction.socket, ADDED, *LIFE) as reading:
            assert reading.hello is not None
            assert {kind.name.partition(":")[0] for kind in reading.hello.kinds} == {"mempool", "node", "source"}
            for number in (1, 2):
                binary.unlink()
                copied(public)  # another file of that name, before any process runs it
                with TracedNode(binary) as node:
                    wait_until(lambda node=node: node.semaphores()[ADDED] == 1)  # type: ignore[misc]
                    assert node.probe(ADDED, HASH, number, 1)
                    assert reading.rows(ADDED, number).numbers("vsize_vb").tolist() == list(range(1, number + 1))
                    assert reading.rows("node:started", number).boot_ns == reading.rows(ADDED, number).boot_ns > 0
                    node.end(0)
                    assert reading.rows("node:stopped", number).strings("reason").tolist() == ["shutdown"] * number


def test_a_reader_that_leaves_ends_nothing_and_a_killed_extractor_is_replaced(public: Path) -> None:
    with TracedNode() as node:
        with Extraction(public, "--pid", node.pid) as extraction:
            extraction.wait_for("serving at")
            for number in range(3):
                with Reading(extraction.socket, ADDED) as reading:
                    assert node.semaphores()[ADDED] == 1
                    node.probe(ADDED, HASH, number, 1)
                    assert reading.rows(ADDED).numbers("vsize_vb").tolist() == [number]
            extraction.process.send_signal(signal.SIGKILL)
            extraction.process.wait(300)
            wait_until(lambda: node.semaphores()[ADDED] == 0)
            assert node.semaphores()[ADDED] == 0  # the kernel detaches what a killed process leaves
        with Extraction(public, "--pid", node.pid) as extraction:
            extraction.wait_for("serving at", 2)
            with Reading(extraction.socket, ADDED) as reading:
                node.probe(ADDED, HASH, 9, 1)
                assert reading.rows(ADDED).numbers("vsize_vb").tolist() == [9]
                wait_until(lambda: reading.kept.health.get("records", 0) >= 1)
                assert reading.kept.health["probes"] == 1
                assert reading.kept.health["cpu_s"] > 0


def test_tracepoints_are_detached_thirty_seconds_after_the_last_reader_left() -> None:
    with TracedNode() as node, probes() as loaded:
        attach_all(loaded, node, [])
        attachment, path = Attachment(loaded), str(node.binary)
        assert node.semaphores()[ADDED] == 0
        assert attachment.want({ADDED}, path, node.pid, 100.0) == {}
        assert node.semaphores()[ADDED] == 1
        attachment.want(set(), path, node.pid, 200.0)
        attachment.tidy(200.0 + LINGER_S - 0.1)
        assert node.semaphores()[ADDED] == 1
        attachment.want({ADDED}, path, node.pid, 229.95)
        attachment.tidy(231.0)
        assert node.semaphores()[ADDED] == 1
        attachment.want(set(), path, node.pid, 300.0)
        attachment.tidy(300.0 + LINGER_S)
        assert node.semaphores()[ADDED] == 0


def test_what_it_loads_has_no_yaml_no_rules_no_database_and_no_network() -> None:
    code = "import sys, watchdog.cli.main, watchdog.cli.extract, watchdog.extract.command; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = done.stdout.split()
    own = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("watchdog.")}
    assert own == {"watchdog.cli", "watchdog.core", "watchdog.extract", "watchdog.stream"}
    others = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"watchdog"}
    assert {name for name in others if not name.startswith("_")} == {"numpy", "capnp", "elftools", "cython_runtime"}
    assert not {"sqlite3", "http", "urllib.request"} & set(loaded)


def test_after_the_start_no_program_no_socket_and_no_process_can_be_made() -> None:
    code = """
import os, socket, threading
from watchdog.extract.seccomp import confine
left, right = socket.socketpair()
confine()
def refused(what):
    try:
        what()
    except PermissionError:
        return True
    return False
assert refused(lambda: socket.socket(socket.AF_INET))
assert refused(lambda: socket.socket(socket.AF_UNIX))
assert refused(os.fork)
assert refused(lambda: os.execv("/bin/true", ["true"]))
assert refused(lambda: os.kill(os.getppid(), 0))
assert refused(lambda: os.setuid(0))
assert refused(lambda: os.mkdir("never"))
left.send(b"x")
assert right.recv(1) == b"x"
done = threading.Event()
thread = threading.Thread(target=done.set)
thread.start()
thread.join()
assert done.is_set()
open("/proc/self/status").read()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, cwd=ROOT)


def test_two_readers_get_the_same(public: Path) -> None:
    with TracedNode() as node, Extraction(public, "--pid", node.pid) as extraction:
        extraction.wait_for("serving at")
        with Reading(extraction.socket, ADDED) as first, Reading(extraction.socket, ADDED, INBOUND) as second:
            assert node.semaphores()[ADDED] == 1
            for number in range(20):
                node.probe(ADDED, HASH, number, 1)
            found = [reading.rows(ADDED, 20).numbers("vsize_vb").tolist() for reading in (first, second)]
    assert found == [list(range(20))] * 2
