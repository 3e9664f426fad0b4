"""What channels returned for the first notice of a case, for its later ones: a thread, a message to answer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from alerts.delivery.ports import Due

REMEMBERED: Final = 1_000  # cases of one receiver; for others the database says it


class KeptTexts:
    """Of one receiver. A later notice may have been fetched before the first was sent, so what came since is here."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()

    def kept(self, due: Due) -> str:
        """Return what is kept for a notice; empty for nothing."""
        return due.kept or self._texts.get(due.notice.subject, "")

    def note(self, due: Due, text: str) -> str:
        """Note what the channel returned. Return what is to be stored: only the first of a case is."""
        if not text or self.kept(due):
            return ""
        subject = due.notice.subject
        self._texts[subject] = text
        self._texts.move_to_end(subject)
        if len(self._texts) > REMEMBERED:
            self._texts.popitem(last=False)
        return text
