"""The envelope around every event, in each form that peer-observer has released, and which of them a publisher speaks.

No envelope says its version. The content of a message shows its form: the flat one has seconds and
microseconds, the later ones milliseconds. The two later ones differ in lines of debug.log alone, which nothing here
reads, so either may be meant until such a line comes. A message that fits no form is reported, never guessed.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, Final, NamedTuple

from watchdog.core.text import printable
from watchdog.sources.nats.descriptors import LENGTH_DELIMITED, message_class, parsed, unknown_fields
from watchdog.sources.nats.settings import FLAT, PROTOCOLS, THREADS

LOOK: Final = 100  # messages from which the form is found
OTHER: Final = "other"
"""Branch of events that nothing reads: measurements of the p2p extractor, log lines, later extractors and answers."""
_UNREAD: Final = frozenset({"p2p_extractor", "log_extractor"})
_LATER: Final = range(5, 10)
"""Numbers that an extractor added since 2026 can have: below the time, which has 10."""
_MOST_NS: Final = (1 << 63) - 1
_LOG = logging.getLogger("watchdog.sources")


class Opened(NamedTuple):
    """What is in an envelope. branch: `message`, `connection`, ... as in the `.proto` files, or OTHER with no body."""

    time_ns: int
    branch: str
    body: Any


def _name(protocol: str) -> str:
    """Return the name of the message class of a form."""
    return f"watchdog.nats.v{protocol.replace('-', '_')}.Envelope"


def open_envelope(protocol: str, raw: bytes) -> Opened | None:
    """Return what is in an envelope of this form; None when the bytes have another form. Total."""
    event = parsed(_name(protocol), raw)
    if event is None:
        return None
    flat = protocol == FLAT
    time_ns = event.seconds * 10**9 + event.microseconds * 1_000 if flat else event.milliseconds * 10**6
    opened = _inside(event, protocol, min(time_ns, _MOST_NS))
    if opened is None or opened.branch != "rpc" or opened.body.WhichOneof("answer"):
        return opened
    later = protocol == THREADS and _is_later(unknown_fields(opened.body))
    return Opened(opened.time_ns, OTHER, None) if later else None


def _inside(event: Any, protocol: str, time_ns: int) -> Opened | None:
    """Return the event in the envelope, or None where its form is another one."""
    branch, unknown = event.WhichOneof("event"), unknown_fields(event)
    if branch is None:
        later = protocol == THREADS and _is_later(unknown) and unknown[0][0] in _LATER
        return Opened(time_ns, OTHER, None) if later else None
    if unknown:
        return None
    body = getattr(event, branch)
    if branch == "traced":
        return _inside(body, FLAT, time_ns)
    if branch == "log_extractor" and protocol != FLAT and (body.WhichOneof("event") is None or unknown_fields(body)):
        return None
    return Opened(time_ns, OTHER, None) if branch in _UNREAD else Opened(time_ns, branch, body)


def _is_later(unknown: list[tuple[int, int]]) -> bool:
    """Return whether the unknown fields are one message, as a branch is that a later version added."""
    return len(unknown) == 1 and unknown[0][1] == LENGTH_DELIMITED


class ProtocolFinder:
    """Opens envelopes, and finds the form that a publisher speaks from the first `LOOK` messages.

    name: of the source, for the log. protocol: the form that is configured, "" to find it. Messages are opened from the
    first one on: none fits two forms with different content.
    """

    def __init__(self, name: str, protocol: str = "") -> None:
        for form in PROTOCOLS:
            message_class(_name(form))  # read now: an event loop must not wait for a file
        self._name = name
        self._fits: Counter[str] = Counter()
        self._nonsense = 0
        self._left = 0 if protocol else LOOK
        self._warned = False
        self.candidates: tuple[str, ...] = (protocol,) if protocol else ()

    @property
    def found(self) -> str:
        """The form in words; empty while it is sought."""
        return " or ".join(sorted(self.candidates))

    def open(self, raw: bytes) -> Opened | None:
        """Return what is in an envelope; None when it fits none of the forms that are expected."""
        if not self._left:
            return next((opened for form in self.candidates if (opened := open_envelope(form, raw))), None)
        found = {form: opened for form in PROTOCOLS if (opened := open_envelope(form, raw))}
        self._fits.update(found.keys())
        self._nonsense += not found
        self._left -= 1
        if not self._left:
            self._settle()
        return next(iter(found.values()), None)

    def _settle(self) -> None:
        """Keep the forms that most messages fit; look at as many again when they fit none."""
        if not self._fits:
            if not self._warned:  # once: nonsense can come by the thousand each second
                _LOG.warning("source %s: none of the first %d messages is an event of peer-observer", self._shown, LOOK)
            self._warned, self._left, self._nonsense = True, LOOK, 0
            return
        most = max(self._fits.values())
        self.candidates = tuple(form for form in PROTOCOLS if self._fits[form] == most)
        _LOG.info("source %s: protocol %s, found from %d messages", self._shown, self.found, LOOK)
        if stray := LOOK - most - self._nonsense:
            _LOG.warning("source %s: %d of them fit another protocol; name one by protocol:", self._shown, stray)

    @property
    def _shown(self) -> str:
        return printable(self._name)
