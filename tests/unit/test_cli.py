"""The command line as people and shells meet it: help, one-line errors, exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.parts import lacking
from watchdog.cli import main as cli
from watchdog.core.errors import SourceError
from watchdog.core.release import VERSION
from watchdog.located_yaml.problem import Location, Problem, RuleSetError, SourceText

Install = Callable[[Callable[[Namespace], int]], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a function the body of the only command, `replay`, which takes --out."""

    def configure(parser: ArgumentParser) -> None:
        parser.add_argument("--out")

    def put(run: Callable[[Namespace], int]) -> None:
        module = SimpleNamespace(SUMMARY="Replay a recording.", configure=configure, run=run)
        monkeypatch.setattr(cli, "available", lambda: ("replay",))
        monkeypatch.setattr(importlib, "import_module", lambda _name: module)

    return put


def raising(error: BaseException) -> Callable[[Namespace], int]:
    def run(_args: Namespace) -> int:
        raise error

    return run


def test_help_lists_only_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())  # the page is wrapped to the terminal's width
    for name, line in cli.COMMANDS:
        folder = Path(cli.__file__).parent
        module = name.replace("-", "_")
        exists = (folder / f"{module}.py").exists() or (folder / module).is_dir()
        assert (f" {name} {line}" in text) == exists, name


def test_every_command_has_a_help_page(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.available():
        assert cli.main([name, "--help"]) == 0, name
        assert capsys.readouterr().out.startswith(f"usage: watchdog {name}")


def test_help_loads_no_library(root: Path) -> None:
    libraries = {"numpy", "capnp", "river", "sqlalchemy", "aiohttp", "yaml", "msgspec", "zstandard", "pyarrow"}
    code = "import sys; from watchdog.cli.main import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False, timeout=300
    )
    assert not libraries & set(done.stdout.splitlines()[-1].split()), done.stderr


def test_version_is_that_of_the_release(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"watchdog {VERSION}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "watchdog: the following arguments are required: COMMAND; see 'watchdog --help'\n"),
        (["repaly"], "watchdog: unknown command 'repaly', did you mean 'replay'; see 'watchdog --help'\n"),
        (["\x1b[2J"], "watchdog: unknown command '\\x1b[2J'; see 'watchdog --help'\n"),
        (
            ["replay", "--outt", "f"],
            "watchdog: unknown argument '--outt', did you mean '--out'; see 'watchdog replay --help'\n",
        ),
        (["--ver"], "watchdog: the following arguments are required: COMMAND; see 'watchdog --help'\n"),
        (["replay", "--out"], "watchdog: argument --out: expected one argument; see 'watchdog replay --help'\n"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(
    install: Install, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    install(lambda _args: 0)
    assert cli.main(argv) == 2
    assert capsys.readouterr().err == message


def test_the_exit_code_is_that_of_the_command(install: Install) -> None:
    install(lambda _args: 1)
    assert cli.main(["replay"]) == 1


def test_an_error_of_ours_is_one_line_and_exit_2(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(raising(SourceError("log.gz:12: torn record\n  hint: \x1b]0;evil\x07 'x'")))
    assert cli.main(["replay"]) == 2
    assert capsys.readouterr().err == "watchdog: log.gz:12: torn record; hint: \\x1b]0;evil\\x07 'x'\n"


def test_a_rule_set_with_many_mistakes_is_one_line_with_the_first(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ("rules:", "  a:", "    titel: x", "    sevrity: y")
    source = SourceText("pack.yaml", "\n".join(lines), lines)
    problems = (Problem(Location(source, 3, 5, 5), "unknown key 'titel'", "did you mean 'title'?"),)
    install(raising(RuleSetError(problems)))
    assert cli.main(["replay"]) == 2
    assert capsys.readouterr().err == "watchdog: pack.yaml:3:5: unknown key 'titel'; did you mean 'title'?\n"
    install(raising(RuleSetError((*problems, Problem(Location(source, 4, 5, 7), "unknown key 'sevrity'")))))
    assert cli.main(["replay"]) == 2
    assert capsys.readouterr().err.endswith("'title'? (and 1 more: 'watchdog rules check' shows them all)\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a b"), "'a b': no such file or directory"),
        (OSError(errno.ENOSPC, "No space left on device"), "'out.jsonl': no space left on device"),
        (OSError("odd"), "'out.jsonl': odd"),
    ],
)
def test_a_failing_file_is_named(
    install: Install, capsys: pytest.CaptureFixture[str], error: OSError, message: str
) -> None:
    install(raising(error))
    assert cli.main(["replay", "--out", "out.jsonl"]) == 2
    assert capsys.readouterr().err == f"watchdog: {message}\n"


def test_an_interrupt_is_silent_and_130(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(raising(KeyboardInterrupt()))
    assert cli.main(["replay"]) == 130
    assert capsys.readouterr() == ("", "")


PRINTING = """
import sys, types
from watchdog.cli import main as cli
def run(args):
    for number in range({lines}):
        print("incident", number)
    return 0
module = types.SimpleNamespace(SUMMARY="", configure=lambda parser: None, run=run)
cli.available = lambda: ("replay",)
cli.importlib.import_module = lambda name: module
sys.exit(cli.main(["replay"]))
"""


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_goes_away_makes_no_noise(root: Path, lines: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as sink:
        done = subprocess.run(
            [sys.executable, "-c", PRINTING.format(lines=lines)],
            cwd=root,
            stdout=sink,
            stderr=subprocess.PIPE,
            check=False,
            timeout=300,
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_full_disk_under_standard_output_is_one_line_and_exit_2(root: Path, lines: int) -> None:
    full = Path("/dev/full")
    if not full.exists():
        lacking("this system has no /dev/full")
    with full.open("wb") as sink:
        done = subprocess.run(
            [sys.executable, "-c", PRINTING.format(lines=lines)],
            cwd=root,
            stdout=sink,
            stderr=subprocess.PIPE,
            check=False,
            timeout=300,
        )
    assert (done.returncode, done.stderr) == (2, b"watchdog: standard output or input: no space left on device\n")


def test_an_unknown_option_of_an_action_names_the_actions_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules", "list", "--jsn"]) == 2
    expected = "watchdog: unknown argument '--jsn', did you mean '--json'; see 'watchdog rules list --help'\n"
    assert capsys.readouterr().err == expected


def test_a_closed_standard_output_is_no_traceback(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    install(lambda _: 0)
    assert cli.main(["replay"]) == 0, "who prints nothing needs none"
    install(lambda _: sys.stdout.write("a line\n"))
    assert cli.main(["replay"]) == 2
    assert capsys.readouterr().err == "watchdog: standard output or input: bad file descriptor\n"


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_into_a_full_disk_is_exit_2(argument: str, root: Path) -> None:
    for unbuffered in ("", "1"):
        with Path("/dev/full").open("wb") as sink:
            done = subprocess.run(
                [sys.executable, "-m", "watchdog", argument],
                cwd=root,
                env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
                stdout=sink,
                stderr=subprocess.PIPE,
                timeout=300,
                check=False,
            )
        assert (done.returncode, done.stderr) == (2, b"watchdog: standard output or input: no space left on device\n")


def test_a_misspelled_action_and_an_empty_node_name_say_what_is_expected(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules", "chek"]) == 2
    assert "invalid choice: 'chek', did you mean 'check'; see" in capsys.readouterr().err
    assert cli.main(["rules", "zzz"]) == 2
    assert "invalid choice: 'zzz', expected check, list, show, schema; see" in capsys.readouterr().err
    for command in (["replay", "log:x"], ["record", "log:x", "--out", "y"]):
        assert cli.main([*command, "--node", " "]) == 2
        assert "a node needs a name that is not empty" in capsys.readouterr().err
