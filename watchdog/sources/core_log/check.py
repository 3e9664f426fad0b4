"""Checks the table of line forms, and the constants cited from Bitcoin Core, against a copy of Core's source."""

from __future__ import annotations

import re
from collections.abc import Sequence

from watchdog.core.core_constants import Citation
from watchdog.sources.core_log.form import Form, Wording
from watchdog.sources.core_log.source_tree import CoreSource

_DEVELOPMENT = 99  # Core's minor version on master
_DIGITS = re.compile(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])")  # C++ separates groups of digits: 36'000


def missing(forms: Sequence[Form], source: CoreSource) -> list[str]:
    """Return a line for each wording whose span includes this tree and whose text is not in it.

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


def missing_citations(citations: Sequence[Citation], source: CoreSource) -> list[str]:
    """Return a line for each citation whose span includes this tree and whose pattern its file does not contain."""
    return [
        _citation_line(citation)
        for citation in citations
        if not citation.pattern.search(_DIGITS.sub("", source.text(citation.path))) and _due(citation, source)
    ]


def _citation_line(citation: Citation) -> str:
    expected = f": {citation.written}" if citation.written else ""
    return f"{citation.path}: {citation.name} ({_span(citation)}){expected}"


def _span(row: Wording | Citation) -> str:
    return f"from {row.since or 'before v22'} to {row.until or 'master'}"


def _line(form: Form, wording: Wording) -> str:
    return f"{form.file}: {form.name} ({_span(wording)}): {wording.text}"


def _due(row: Wording | Citation, source: CoreSource) -> bool:
    """Return whether the tree surely belongs to a row's span."""
    begun = not row.since or _passed(row.since, source) is True
    return begun and (not row.until or _passed(row.until, source) is False)


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
