"""Holds the table of line forms against a copy of Bitcoin Core's source."""

from __future__ import annotations

from collections.abc import Sequence

from watchdog.sources.core_log.form import Form, Wording
from watchdog.sources.core_log.source_tree import CoreSource

_DEVELOPMENT = 99  # Core's minor version on master


def missing(forms: Sequence[Form], source: CoreSource) -> list[str]:
    """A line for each wording whose span includes this tree and whose text is not in it.

    The tree's history decides about a span. Where a plain copy has none, its version does; a wording that began or
    ended in the very release that master is on the way to is not asked for then.
    """
    texts = source.texts()
    return [
        _line(form, wording)
        for form in forms
        for wording in form.wordings
        if wording.text not in texts and _due(wording, source)
    ]


def _line(form: Form, wording: Wording) -> str:
    span = f"from {wording.since or 'before v22'} to {wording.until or 'master'}"
    return f"{form.file}: {form.name} ({span}): {wording.text}"


def _due(wording: Wording, source: CoreSource) -> bool:
    """Return whether the tree surely lies within a wording's span."""
    begun = not wording.since or _passed(wording.since, source) is True
    return begun and (not wording.until or _passed(wording.until, source) is False)


def _passed(mark: str, source: CoreSource) -> bool | None:
    """Return whether a tree has a change: "26 1a2b3c4d5e6f" is the first release with it, and its merge commit."""
    release, commit = mark.split()
    held = source.holds(commit)
    if held is not None:
        return held
    major, minor = source.version
    if minor == _DEVELOPMENT and major + 1 == int(release):
        return None
    return major >= int(release)
