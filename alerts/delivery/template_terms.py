"""The words of templates and their bounds, see `alerts.delivery.template`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

BLOCKS: Final = ("first", "body")
LARGEST: Final = 64 * 1024  # bytes of a template
LONGEST_OUTPUT: Final = 16 * 1024  # characters of a message before a channel cuts it
MOST_STEPS: Final = 10_000  # of all loops of a run together
LONGEST_RUN_S: Final = 2.0  # on a busy machine too; MOST_STEPS ends nearly all runs before
MOST_PARAGRAPHS: Final = 40

NAMES: Final[Mapping[str, str]] = {
    "first": "The usual first line: severity, node, what and case.",
    "paragraphs": "The usual paragraphs, a list.",
    "new": "What is new, in one to three sentences.",
    "who": "Who is accused now, or that no peer is.",
    "do": "What to do; empty when it is over.",
    "runbook": "The `runbook` of the rule; empty without one.",
    "seen": "What the rules saw: a line each, in the order of time.",
    "why": "Why it is one case; empty for one finding.",
    "lasted": "How long the case has lasted, such as `5h 19m`.",
    "kind": "What changed: `opened`, `severity`, `stage`, `merged`, `acknowledged`, `resolved`, `reopened`, "
    "`reminder`, `escalated` or `updated`.",
    "short": "The first 8 digits of the case's id.",
    "was": "The severity of the notice before; empty for the first.",
    "url": "The page of the case; empty without `api.public_url`.",
    "change": "What changed: `type`, `time`, `reason`, `severity`, `parties` (names, at most 4), `new_stages`, "
    "`new_parties`, `merged`, `by`, `text`.",
    "id": "The case's id, 16 digits.",
    "root": "The id under which it was first notified.",
    "node": "The node; `*` for several.",
    "state": "`open`, `acknowledged` or `resolved`.",
    "severity": "`info`, `warning`, `high` or `critical`.",
    "opened": "Unix seconds; see the filter `utc`.",
    "updated": "Unix seconds.",
    "resolved": "Unix seconds; empty while it is open.",
    "continues": "The id of the case that it continues; empty without one.",
    "headline": "What the case is, in one line.",
    "stages": "The stages of an eclipse in the order of entry.",
    "parties": "Those accused: `name`, `addresses`, `rules`, `first`, `last`, `firing`.",
    "parties_beyond": "How many parties are not listed.",
    "incidents": "The ids of its incidents.",
    "notices": "Its notices so far: `time`, `reason`, `severity`, `parties`.",
    "aliases": "The ids of cases that were merged into it.",
    "announced": "Netblocks that gossip named; they accuse no one.",
    "acknowledged_by": "Who acknowledged it; empty without.",
    "related": "Of a case of several nodes: their open cases, `node` and `id`.",
    "advice": "What `do`, `runbook`, `why` and `seen` are made of.",
    "rule": "Of an incident (`about: incidents`): its rule.",
    "title": "Of an incident: the title of its rule.",
    "summary": "Of an incident: its sentence.",
    "entities": "Of an incident: the addresses that it names.",
    "data": "The whole `data` object of a webhook.",
}
"""What a template knows, with a line each for docs/TEMPLATES.md. A name without a value is empty."""
FILTERS: Final[Mapping[str, str]] = {
    "default": "`{{ x|default('none', true) }}`: another value for one that is empty",
    "first": "the first item",
    "int": "a whole number",
    "join": "`{{ stages|join(', ') }}`: items as one text",
    "last": "the last item",
    "lasting": "seconds as `1h 30m`",
    "length": "how many items or characters",
    "lower": "small letters",
    "round": "a number, rounded",
    "sort": "items in order",
    "truncate": "`{{ x|truncate(40) }}`: a shorter text",
    "upper": "capital letters",
    "utc": "unix seconds as `2026-05-28 21:42 UTC`",
}


class TemplateError(Exception):
    """A template cannot be used, or failed. line: of the template, from 1; 0 where no line is to blame."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.message, self.line = message, line


class OwnText(str):
    """A text that we made: its line breaks are kept. Those in all other texts are escaped."""

    __slots__ = ()
