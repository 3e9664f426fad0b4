"""Manual pages and completion are those of the parser, and the programs that read them take them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.parts import program
from watchdog.cli import pages
from watchdog.cli.main import available
from watchdog.docs_build.man_pages import man_pages
from watchdog.docs_build.parser_tree import CommandPage, Option

FOUND = pages.files()


def test_the_committed_pages_are_current() -> None:
    assert pages.main(["--check"]) == 0, "run make docs"
    assert {path.stem for path in pages.MAN.glob("*.1")} == {"watchdog", *(f"watchdog-{one}" for one in available())}


def test_a_page_of_a_command_that_is_gone_is_not_current(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pages, "MAN", tmp_path / "man")
    monkeypatch.setattr(pages, "COMPLETION", tmp_path / "watchdog.bash")
    assert pages.main(["--check"]) == 1
    assert pages.main([]) == 0
    assert pages.main(["--check"]) == 0
    (tmp_path / "man" / "watchdog-gone.1").write_text("")
    assert pages.main(["--check"]) == 1
    assert pages.main([]) == 0
    assert not (tmp_path / "man" / "watchdog-gone.1").exists()


def test_groff_reads_every_page_without_a_warning() -> None:
    groff = program("groff")
    places = [str(path) for path in sorted(pages.MAN.glob("*.1"))]
    done = subprocess.run([groff, "-man", "-Tutf8", "-ww", *places], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    shown = _plain(done.stdout)
    assert all(word in shown for word in ("--datadir DIR", "--receiver NAME", "EXIT STATUS"))


def _plain(text: str) -> str:
    """The text without what overprints it for bold and underlined letters."""
    shown: list[str] = []
    for char in text:
        if char == "\x08":
            shown.pop()
        else:
            shown.append(char)
    return "".join(shown)


def test_text_never_becomes_a_request_of_roff() -> None:
    option = Option(("--x",), "FILE", ".so /etc/passwd\\n'", ())
    text = man_pages([CommandPage((), "About.", "", ()), CommandPage(("a",), ".br", "'line", (option,))], "1")[
        "watchdog-a.1"
    ]
    assert [line for line in text.splitlines() if line.startswith((".so", "'"))] == []
    assert "\n\\&.so /etc/passwd\\en\\(aq\n" in text


def completed(*words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = (
        f'source {pages.COMPLETION}; COMP_WORDS=("$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _watchdog; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "--norc", "-c", script, "bash", *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["watchdog", "do"], ["doctor"]),
        (["watchdog", "rules", "s"], ["show", "schema"]),
        (["watchdog", "doctor", "--d"], ["--datadir"]),
        (["watchdog", "incidents", "list", "--sev"], ["--severity"]),
        (["watchdog", "incidents", "list", "--severity", "h"], ["high"]),
        (["watchdog", "doctor", "--datadir", ""], []),
        (["watchdog", "incidents", "list", "--limit", ""], []),
        (["watchdog", "replay", ""], []),
        (["watchdog", "nonsense", "--"], ["--help", "--version"]),
        (["watchdog", "$(touch x)", ""], ["replay"]),
    ],
)
def test_bash_completes_commands_actions_options_and_choices(words: list[str], offered: list[str]) -> None:
    found = completed(*words)
    assert found[: len(offered)] == offered if offered else found == []


def test_all_commands_are_offered() -> None:
    assert completed("watchdog", "") == list(available())
