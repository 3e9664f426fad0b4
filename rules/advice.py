"""What a rule tells people to do: the keys `do` and `runbook`."""

from __future__ import annotations

from urllib.parse import urlsplit

from rules.rule import RuleKeys

LONGEST_DO = 500  # characters: two sentences that fit into a message on a phone
LONGEST_URL = 500  # characters
ODD = frozenset(" <>\"'`|")  # what no URL needs, and what some channel takes for markup


def read_advice(keys: RuleKeys) -> dict[str, str]:
    """Return the keys that the rule has, each in one line; a text that is too long or no URL is in the report."""
    found = {}
    do, node = " ".join(keys.text("do").split()), keys.node("do")
    if node is not None and len(do) > LONGEST_DO:
        hint = "write two sentences: what to look at first, and what to do; 'runbook' names the page with the rest"
        keys.report.error(node.place, f"'do' is longer than {LONGEST_DO} characters", hint)
    elif do:
        found["do"] = do
    runbook, node = keys.text("runbook"), keys.node("runbook")
    if node is not None and runbook and not _is_url(runbook):
        hint = f"it begins with http:// or https:// and has at most {LONGEST_URL} characters"
        keys.report.error(node.place, "'runbook' must be a URL", hint)
    elif runbook:
        found["runbook"] = runbook
    return found


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False
    return named and len(text) <= LONGEST_URL and text.isascii() and text.isprintable() and not set(text) & ODD
