"""Tests that interrupt a process hold, though they were started in the background."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import signal, subprocess, sys
from tests.support.signals import ENDS, heed_signals
for number in ENDS:
    signal.signal(number, signal.SIG_IGN)
if sys.argv[1] == "heeds":
    heed_signals()
for number in ENDS:
    signal.raise_signal(number)  # does not end this process, in either case
child = "import signal, time; signal.raise_signal(int(__import__('sys').argv[1])); print('ignored')"
for number in ENDS:
    done = subprocess.run([sys.executable, "-c", child, str(int(number))], capture_output=True, text=True)
    print(done.stdout.strip() or -done.returncode == number)
"""


@pytest.mark.parametrize(("word", "shown"), [("heeds", ["True", "True"]), ("inherits", ["ignored", "ignored"])])
def test_children_heed_what_their_parent_was_started_to_ignore(word: str, shown: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, word], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == shown
