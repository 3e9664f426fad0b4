"""Signals that processes of tests heed, however the tests were started."""

from __future__ import annotations

import signal

ENDS = (signal.SIGINT, signal.SIGHUP)


def heed_signals() -> None:
    """Let processes that are started from now on heed SIGINT and SIGHUP, which end this one no more than before.

    `nohup`, and a `&` in a script, start a program with these ignored, and every child of it inherits that. A handler
    is not inherited.
    """
    for number in ENDS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
