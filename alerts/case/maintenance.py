"""Notices of cases in maintenance windows: which are held back, and what follows when a window ends.

Decided in the book, in event time, so that it is the same after a kill: a held notice is part of the case, marked with
its window, and one that follows the window reports the present state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alerts.case.life import CaseLife
from alerts.case.notice import CaseNotice, CaseReason, HeldBy
from alerts.maintenance import QuietWindow, ends_ns, in_maintenance
from alerts.render import time_text

ENDINGS = frozenset({CaseReason.RESOLVED, CaseReason.ACKNOWLEDGED})
"""Those who had heard of the case hear these too."""


def hold(case: CaseLife, notice: CaseNotice, windows: Sequence[QuietWindow]) -> CaseNotice:
    """Return the notice that the case has just got, marked with the window that holds it back, if one does."""
    by = _held_by(case, notice, windows)
    if by is None:
        case.waiting, case.waits_until_ns = [], None  # it reports what waited, too
        return notice
    held = case.notices[-1] = replace(notice, held=by)
    if notice.reason is CaseReason.RESOLVED:
        case.waiting, case.waits_until_ns = [], None
    elif notice.reason not in ENDINGS:
        case.waiting += [notice.reason] if notice.reason not in case.waiting else []
        case.waits_until_ns = ends_ns(windows, case.node, notice.severity, notice.time_ns)
    return held


def mark(case: CaseLife, notice: CaseNotice, windows: Sequence[QuietWindow]) -> CaseNotice:
    """Return an update of a case, marked with the window that holds it back, if one does; none follows the window."""
    return replace(notice, held=_held_by(case, notice, windows))


def _held_by(case: CaseLife, notice: CaseNotice, windows: Sequence[QuietWindow]) -> HeldBy | None:
    window = in_maintenance(windows, case.node, notice.severity, notice.time_ns)
    if window is None:
        return None
    if notice.reason in ENDINGS and any(one.held is None for one in case.notices[:-1]):
        return None
    span = window.around(notice.time_ns)
    end = "" if span is None else f" until {time_text(span[1])} UTC"
    return HeldBy(f"{window.name}{end}", window.place)


def end_wait(case: CaseLife, *, counts: bool) -> bool:
    """Let what waited for a window be reported now. counts: whether a claim of the case counts and fires.

    Return whether a notice is due; else the case reports it once it fires again.
    """
    case.waits_until_ns = None
    if counts:
        for reason in case.waiting:
            case.want(reason)
    return counts and bool(case.waiting)


def change_windows(case: CaseLife, windows: Sequence[QuietWindow], now_ns: int) -> None:
    """Wait for the end of other windows than before."""
    if case.waits_until_ns is not None:
        case.waits_until_ns = ends_ns(windows, case.node, case.severity, now_ns) or now_ns
