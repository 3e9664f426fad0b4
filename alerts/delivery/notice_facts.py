"""What a notice is about, for formats: a case or incidents, and the ids under which receivers know them."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.notice import Notice

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


def incidents_in(body: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return the incidents that a merged notice lists as objects; none for others: a case lists ids."""
    incidents = body.get("incidents")
    return [one for one in incidents if isinstance(one, Mapping)] if isinstance(incidents, list) else []
