"""Windows and panes: the step by which a window moves."""

from __future__ import annotations

from watchdog.core.durations import SECOND_NS

PANES_NS = tuple(seconds * SECOND_NS for seconds in (1, 2, 5, 10, 15, 30, 60, 300, 900))
FEWEST_PANES = 60  # a window that moves by a 60th of itself is off by 2 % at most
MOST_PANES = 100_000  # bounds what a window of a busy key can cost


def default_pane_ns(over_ns: int) -> int | None:
    """The largest pane that divides the window and is at most a 60th of it, else one second.

    None when not even a second divides it.
    """
    if over_ns % SECOND_NS:
        return None
    fitting = [pane for pane in PANES_NS if over_ns % pane == 0 and pane * FEWEST_PANES <= over_ns]
    return max(fitting, default=SECOND_NS)
