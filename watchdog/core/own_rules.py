"""Findings about our own input that need a wall clock: their ids, for people and programs.

A compiled rule sees events only. These say that there are none, or that their times or lines cannot be used, so they
are no rules of a file and cannot be overridden. `service.self_watch` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from watchdog.core.durations import HOUR_NS, MINUTE_NS
from watchdog.core.finding import Severity


@dataclass(frozen=True, slots=True)
class OwnRule:
    """One of them. about: when it fires and clears. causes: what else can make it fire. remedy: what to do."""

    id: str
    title: str
    severity: Severity
    resolve_after_ns: int
    by: str
    about: str
    causes: tuple[str, ...]
    remedy: str


DATA_CLOCK: Final = "data-clock"
SOURCE_SILENT: Final = "source-silent"
LOG_UNREAD: Final = "log-unread"
SOURCE_FLAPPING: Final = "source-flapping"
SOURCE_SLOW: Final = "source-slow"
SOURCE_SWITCHED: Final = "source-switched"
DATA_UNRECORDED: Final = "data-unrecorded"

OWN_RULES: Final[Mapping[str, OwnRule]] = {
    rule.id: rule
    for rule in (
        OwnRule(
            DATA_CLOCK,
            "A clock is wrong and a source is not judged",
            "high",
            10 * MINUTE_NS,
            "source",
            "The times of a source do not fit the clock of this machine: its watermark or its latest events are "
            "further ahead than `clock_skew` (default 2m), or more than 10 % of its events within 5 minutes (and at "
            "least 20), or all of its latest ones, are late or too far ahead. No such event is judged: `/readyz` "
            "answers 503 and no heartbeat is sent. With the first event whose time fits, the rules that wait for the "
            "source start without a past, at the present, behind a `source:gap` with the reason `clock`; the incident "
            "clears then. A polled node whose clock is set by more than 10 seconds opens it for a minute; its events "
            "are judged all the same.",
            (
                "The clock of the node's machine, of this machine, or of the program that polls the node was stepped.",
                "A checkpoint was written while a clock was ahead, and the service was started after it was set right.",
                "Input that is copied here by another program, more than a minute after it was written.",
            ),
            "Compare `date -u` on both machines and check NTP. The service needs no restart once the clocks are right.",
        ),
        OwnRule(
            SOURCE_SILENT,
            "A source gives no events",
            "warning",
            10 * MINUTE_NS,
            "source",
            "A followed source has given no event for 10 minutes of running, or a log has had no line of the category "
            "`net` for as long. It clears with the next event. Sources that have ended are not silent.",
            (
                "The path is wrong, or this user may not read it.",
                "Bitcoin Core runs without `-capturemessages`, or without `-debug=net`.",
                "The node is down, has no peers, or the program that polls it has stopped.",
                "A poller that writes less often than every 10 minutes.",
            ),
            "`watchdog check` tests the paths with the rights of this user. An attacker who cuts the node off looks "
            "the same: check that the node has peers.",
        ),
        OwnRule(
            LOG_UNREAD,
            "Log lines of a known form cannot be read",
            "warning",
            HOUR_NS,
            "source, form",
            "At least 5 lines of a form, and at least 20 % of the lines of that form, could not be read within an "
            "hour: they start like lines of Bitcoin Core that this version knows, and continue differently. Lines "
            "without a time have the form `untimed`. The same holds for messages of `nats:` and `peer-observer:` that "
            "fit no known envelope; their form is the subject. It clears when that is false for the hour that has "
            "passed.",
            (
                "A version of Bitcoin Core that is newer than this program.",
                "`-logtimestamps=0`: no line has a time, so none can be judged.",
                "A version of peer-observer that is newer than this program, or another publisher on its subjects.",
            ),
            "The events of these lines are missing. Update the watchdog, or set the option back.",
        ),
        OwnRule(
            SOURCE_FLAPPING,
            "A source keeps restarting",
            "warning",
            HOUR_NS,
            "source",
            "A live source failed and was restarted more than 10 times within an hour, with pauses of 1 s to 60 s. "
            "Followed files are never restarted. It clears after an hour with at most 10 restarts.",
            (
                "The node, or the program that the source reads from, keeps ending.",
                "A credential, an address or a permission is wrong.",
                "The input holds something that the source cannot read, at the same position each time.",
            ),
            "The log has the error of each restart. Events between a failure and the restart may be missing.",
        ),
        OwnRule(
            SOURCE_SLOW,
            "A node answers so slowly that it is polled less often",
            "warning",
            HOUR_NS,
            "source, call",
            "Calls of a `rpc:` source may take the share `budget` of the time together (default 1 %). Where they take "
            "more, their intervals are stretched, costly ones first. It fires when an interval is at least three times "
            "its own by the answers of three calls in a row (a costly call: by one), and names the call that takes "
            "most of the time. It clears when no interval is.",
            (
                "The node is busy: initial download, a reindex, a rescan, a disk that is slow or full.",
                "Other programs load the node's RPC, or `rpcthreads` is low.",
                "The node is far away.",
            ),
            "An attacker can slow a node down with costly messages: look at its load and its peers. Attacks are seen "
            "later while it lasts. A larger `budget` or longer `intervals` fit a node that is slow by nature.",
        ),
        OwnRule(
            SOURCE_SWITCHED,
            "Another source has taken over",
            "info",
            HOUR_NS,
            "source, family",
            "Several sources of the node give the same kinds of events, and the one that is asked first has given "
            "neither event nor heartbeat for 30 s, while another one gives. That one is in force now: its events are "
            "judged. It clears when the first one is in force again, after 5 minutes without a silence.",
            (
                "What feeds the source has ended: the extractor, the option -capturemessages, the RPC server.",
                "The node writes nothing for this source for a while, such as a capture with very few peers.",
                "The source gives only every now and then: name another one first with `order`.",
            ),
            "The log has the error of the source, if it had one. Events between its last sign and the first of the "
            "other source may be missing: the completeness of findings shows it.",
        ),
        OwnRule(
            DATA_UNRECORDED,
            "Nothing is recorded",
            "warning",
            HOUR_NS,
            "folder",
            "The recorder of the node cannot write its files, and no file that no incident keeps is left to make room. "
            "Watching continues. The recorder tries again every minute; events that find no room until then are a gap "
            "of the recording. It clears when a file is written again.",
            (
                "The disk is full, by files of others.",
                "The folder was removed, or its rights were changed.",
            ),
            "An attack from now on leaves no recording. Make room, or name another `folder`.",
        ),
    )
}
