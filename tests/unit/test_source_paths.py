"""`watchdog check` on the paths of its sources, with the rights of the user that runs it."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.capture_files import record
from watchdog.cli.main import main

NET = "2026-01-31T12:00:{:02}Z [net] sending ping (8 bytes) peer=0\n"
TIP = "2026-01-31T12:00:{:02}Z UpdateTip: new best=aa height=1 version=0x1 log2_work=1 tx=1 date='x'\n"
Checked = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Checked:
    """Checks a configuration with these sources: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*sources: str, more: str = "") -> tuple[int, str, str]:
        (tmp_path / "watchdog.yaml").write_text(f"sources: [{', '.join(sources)}]\n{more}")
        code = main(["check"])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_a_path_that_is_not_there_yet_is_a_warning(check: Checked) -> None:
    code, out, err = check("capture:captures", "log:debug.log", "snapshots:polls.jsonl")
    assert code == 0
    assert "no mistakes: 3 sources" in out
    for name in ("captures", "debug.log", "polls.jsonl"):
        assert f"{name}' does not exist (yet)" in err


def test_a_path_of_the_wrong_type_is_a_mistake(check: Checked, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    code, out, _ = check("capture:file", "log:folder")
    assert code == 1
    assert "file' is a file, and a folder is wanted" in out
    assert "folder' is a folder, and a file is wanted" in out
    assert "no mistakes" not in out
    os.mkfifo(tmp_path / "pipe")
    assert check("log:pipe")[0] == 1  # and it is not opened: that would wait for who writes


def test_a_log_without_its_categories_is_named(check: Checked, tmp_path: Path) -> None:
    log = tmp_path / "debug.log"
    log.write_text("".join(TIP.format(n) for n in range(40)))
    code, out, err = check("capture:captures", "log:debug.log")
    assert code == 0
    assert "has no [net] line at its end: does the node run with -debug=net?" in err
    waiting = "eclipse-evictions, eclipse-evictions-overlay, eclipse-feeler-success, misbehaving-peer"
    assert f"5 rules wait for a log with -debug=net: {waiting}" in out
    log.write_text("".join(TIP.format(n) for n in range(40)) + f"[*] {NET.format(41)}")
    assert "[net]" not in check("log:debug.log")[2]
    log.write_text("".join(TIP.format(n) for n in range(3)))
    assert "[net]" not in check("log:debug.log")[2]  # too few lines to say that
    log.write_text("no log\n" * 50)
    assert "has no line with a time at its end" in check("log:debug.log")[2]


def test_only_the_end_of_a_large_log_is_read(check: Checked, tmp_path: Path) -> None:
    with (tmp_path / "debug.log").open("wb") as log:
        log.write(NET.format(1).encode() * 50)
        log.seek(100 << 30)
        log.write(TIP.format(2).encode() * 50)
    assert "has no [net] line at its end" in check("log:debug.log")[2]


def test_an_empty_capture_is_named(check: Checked, tmp_path: Path) -> None:
    (tmp_path / "captures").mkdir()
    said = "holds no messages of any peer (yet): does the node run with -capturemessages?"
    assert said in check("capture:captures")[2]
    folder = tmp_path / "captures" / "1.2.3.4_8333"
    folder.mkdir()
    (folder / "msgs_recv.dat").write_bytes(record(1_768_212_000_000_000, "ping", bytes(8)))
    assert said not in check("capture:captures")[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ("node", "cannot be reached: '{}/node' cannot be searched by user nobody"),
        ("node/debug.log", "node/debug.log' cannot be read by user nobody"),
        ("node/captures", "node/captures' cannot be read by user nobody"),
        ("node/captures/1.2.3.4_8333", "captures/1.2.3.4_8333' cannot be read by user nobody"),
        ("node/captures/1.2.3.4_8333/msgs_recv.dat", "1.2.3.4_8333/msgs_recv.dat' cannot be read by user nobody"),
    ],
)
def test_what_this_user_may_not_read_is_a_mistake_that_names_the_user(
    closed: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("/tmp") / f"watchdog-rights-{os.getpid()}"
    peer = folder / "node" / "captures" / "1.2.3.4_8333"
    peer.mkdir(parents=True)
    try:
        (peer / "msgs_recv.dat").write_bytes(b"")
        (folder / "node" / "debug.log").write_text(NET.format(1) * 40)
        (folder / "rules.yaml").write_text("rules: {}\n")
        (folder / "watchdog.yaml").write_text(
            "sources: [capture:node/captures, log:node/debug.log]\n"
            "packs: false\nrules: rules.yaml\ncheckpoint: {folder: /dev/shm}\n"
        )
        arguments = ["check", "--config", str(folder / "watchdog.yaml")]
        assert main(arguments) == 0, capsys.readouterr().out
        capsys.readouterr()
        (folder / closed).chmod(0o600 if (folder / closed).is_dir() else 0)
        with as_nobody():
            code = main(arguments)
        told = capsys.readouterr()
        assert code == 1
        assert said.format(folder) in told.out
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """The effective user, whose rights count, is another one."""
    nobody, groups = pwd.getpwnam("nobody"), os.getgroups()
    os.setgroups([])
    os.setegid(nobody.pw_gid)
    os.seteuid(nobody.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.mark.parametrize(
    ("content", "fault"), [(None, "no such file"), (b"", "size 0 bytes"), (b"\xff" * 9_000_000, "size 9000000")]
)
def test_an_unusable_asmap_is_reported_before_the_service_starts(
    check: Checked, tmp_path: Path, content: bytes | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / "map.dat").write_bytes(content)
    code, _, err = check("log:debug.log", more="asmap: map.dat\n")
    assert code == 2
    assert err.startswith("watchdog: asmap '")
    assert fault in err
    assert len(err.splitlines()) == 1
