"""Long lines on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from fcntl import ioctl
from struct import pack
from termios import TIOCSWINSZ

from hypothesis import given
from hypothesis import strategies as st

from tests.support.children import killed_on_failure
from watchdog.cli.folding import NARROWEST, folded


def test_a_long_line_goes_on_a_little_to_the_right() -> None:
    text = f"  {'word ' * 12}end\nshort\n"
    assert folded(text, 44) == f"  {'word ' * 8}\n".replace(" \n", "\n") + f"      {'word ' * 4}end\nshort\n"


def test_the_last_column_goes_on_under_itself_or_below_the_others() -> None:
    assert folded("name  u32  one two three four five six seven\n", 40) == (
        "name  u32  one two three four five six\n           seven\n"
    )
    assert folded("a-long-name  warning  stable  One group floods\n", 44) == (
        "a-long-name  warning  stable\n    One group floods\n"
    )


def test_a_name_longer_than_a_line_stays_whole() -> None:
    name = "x" * 90
    assert folded(f"to {name} now\n", 50) == f"to\n    {name}\n    now\n"


@given(st.text(st.sampled_from("ab \n-")), st.integers(0, 60))
def test_folding_changes_nothing_but_spaces_and_line_breaks(text: str, width: int) -> None:
    out = folded(text, width)
    assert out.split() == text.split()
    longest = max((len(word) for word in text.split()), default=0)
    assert all(len(line) <= max(width, NARROWEST, longest + width) for line in out.splitlines() if line.strip())


def test_a_terminal_gets_its_own_width_and_a_pipe_whole_lines() -> None:
    command = [sys.executable, "-m", "watchdog", "rules", "list"]
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with killed_on_failure(subprocess.Popen(command, stdin=theirs, stdout=theirs, env=environment)) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how Linux tells that the other side of a terminal was closed
            while part := os.read(ours, 65_536):
                shown += part
        os.close(ours)
        assert process.wait(300) == 0
    piped = subprocess.run(command, capture_output=True, check=True, timeout=300).stdout
    assert max(len(line) for line in shown.decode().splitlines()) <= 80
    assert max(len(line) for line in piped.decode().splitlines()) > 80
    assert shown.split() == piped.split()
