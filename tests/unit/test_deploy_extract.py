"""The unit of the extractor: systemd accepts it, and it has the rights that BPF needs and no others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support import systemd_unit
from tests.support.parts import lacking, program
from tests.support.systemd_unit import check_accepted, check_exposure, run
from watchdog.doctor.tracepoint_door import SOCKET, UNIT

SYSTEMD = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
FILE = SYSTEMD / f"{UNIT}.service"


def settings(name: str, file: Path = FILE) -> list[str]:
    return systemd_unit.settings(name, file)


def system_calls(name: str) -> set[str]:
    """The calls of a group of systemd, groups in it taken apart."""
    lines = run(program("systemd-analyze"), "syscall-filter", f"@{name}").stdout.splitlines()[1:]
    words = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    inner = [system_calls(word[1:]) for word in words if word.startswith("@")]
    return {word for word in words if not word.startswith("@")}.union(*inner)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    check_accepted(FILE, tmp_path, "PrivateNetwork=yes", "PrivatNetwork")


def test_the_unit_exposes_little() -> None:
    check_exposure(FILE, 12)


def test_its_rights_are_two_capabilities_and_a_socket_folder() -> None:
    assert settings("CapabilityBoundingSet") == settings("AmbientCapabilities") == ["CAP_BPF CAP_PERFMON"]
    assert (settings("NoNewPrivileges"), settings("ProtectSystem")) == (["yes"], ["strict"])
    assert (settings("PrivateNetwork"), settings("RestrictAddressFamilies")) == (["yes"], ["AF_UNIX"])
    assert not settings("ReadWritePaths")
    assert not settings("StateDirectory")
    assert (settings("RuntimeDirectory"), settings("RuntimeDirectoryMode")) == ([UNIT], ["0750"])
    assert settings("User") == ["watchdog-extract"], "not the node's user, who may read wallets"


def test_its_filter_lets_bpf_through_and_takes_the_rest_of_what_only_root_needs() -> None:
    first, second = settings("SystemCallFilter")
    allowed: set[str] = set()
    for word in first.split():
        allowed |= system_calls(word[1:]) if word.startswith("@") else {word}
    for word in second.removeprefix("~").split():
        allowed -= system_calls(word[1:]) if word.startswith("@") else {word}
    assert {"bpf", "perf_event_open", "pidfd_open", "seccomp", "socket", "accept4", "mmap", "epoll_wait"} <= allowed
    assert allowed.isdisjoint({"mount", "init_module", "ptrace", "process_vm_readv", "kexec_load", "chown", "reboot"})


def test_the_socket_is_where_the_doctor_looks() -> None:
    (line,) = settings("ExecStart")
    command, name, *arguments = line.split()
    assert (command, name) == ("/opt/bitcoin-watchdog/bin/watchdog", "extract")
    assert arguments[arguments.index("--socket") + 1] == str(SOCKET)
    assert SOCKET.parent == Path("/run") / settings("RuntimeDirectory")[0]


def test_its_group_is_that_of_the_service() -> None:
    assert settings("Group") == settings("Group", SYSTEMD / "bitcoin-watchdog.service")


@pytest.mark.skipif(sys.platform != "linux", reason="users of Linux")
def test_its_user_is_made_in_the_group_of_the_service(tmp_path: Path) -> None:
    sysusers = program("systemd-sysusers")
    if os.geteuid():
        lacking("only root makes users")
    (tmp_path / "etc").mkdir()
    done = run(sysusers, f"--root={tmp_path}", str(SYSTEMD / "bitcoin-watchdog.sysusers.conf"))
    assert done.returncode == 0, done.stderr
    users = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    groups = {user[0]: user[3] for user in users}
    assert groups["watchdog-extract"] == groups["watchdog"]
