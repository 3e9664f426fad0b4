"""What people read of any notice: a case by `message_of`, an incident and a signal in the same form."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.delivery.markup import cut
from alerts.delivery.message import Escape, Message, message_of
from alerts.delivery.texts import HEARTBEAT
from alerts.notice import Notice
from alerts.routing import Receiver

FIRST = 150  # characters
CASE = "case."
ENDS = ("case.merged", "case.resolved")
ALIASES = 20  # of a merged case whose alerts are resolved; the latest


def is_case(type_: str) -> bool:
    """Return whether a notice of this type is about a case."""
    return type_.startswith(CASE)


def subject_of(notice: Notice) -> str:
    """Return what later notices of the same matter share: the root of a case, or the id of an incident."""
    return notice.subject or str(notice.body.get("root") or notice.body.get("id"))


def change_of(body: Mapping[str, object]) -> Mapping[str, object]:
    """Return what changed in a case; empty where the body does not say it."""
    change = body.get("change")
    return change if isinstance(change, Mapping) else {}


def aliases_of(notice: Notice) -> list[str]:
    """Return the ids under which a case was known besides its root, where a notice ends them: a merge, a resolution.

    A receiver may have missed the merge: it need not have asked for that event.
    """
    merged, listed = change_of(notice.body).get("merged"), notice.body.get("aliases")
    if not merged and notice.type not in ENDS:
        return []
    latest = listed[-ALIASES:] if isinstance(listed, list) else []
    known = [*(merged if isinstance(merged, list) else [merged]), *latest]
    return [one for one in dict.fromkeys(str(id_) for id_ in known if id_) if one != subject_of(notice)]


def words_of(notice: Notice, receiver: Receiver, escape: Escape) -> Message:
    """Return the message of a notice, with every text escaped; the first line has at most `FIRST` characters."""
    message = message_of(notice.body, escape=escape, template=receiver.template)
    first = " ".join(message.first.split())  # one line, whatever an operator's template has made
    return Message(cut(first, FIRST), message.parts, message.url)


def incidents_in(body: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the incidents that a merged notice lists as objects; none for others: a case lists ids."""
    incidents = body.get("incidents")
    return [one for one in incidents if isinstance(one, Mapping)] if isinstance(incidents, list) else []


def signal_words(kind: str, data: Mapping[str, object], escape: Escape) -> Message:
    """Return the message of a heartbeat, or of a signal with a text."""
    if kind != HEARTBEAT:
        return Message(escape(str(data.get("text") or "test of bitcoin-watchdog")), (), None)
    facts = ", ".join(f"{name} {value}" for name, value in data.items() if isinstance(value, str | int | float))
    return Message(escape("bitcoin-watchdog is alive"), (escape(facts),), None)
