"""`api.tokens`: a token for each person or program, with a name and a role."""

from __future__ import annotations

from collections import Counter

from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Node, Series
from watchdog.located_yaml.problem import Report
from watchdog.service.config.found import Found
from watchdog.service.config.keys import TOKEN, TOKEN_NAME, TOKENS_MOST
from watchdog.service.config.secret import Secret
from watchdog.service.config.section import read_section
from watchdog.service.config.settings import ApiToken
from watchdog.service.config.values import Reading, check_token


def read_tokens(node: Node, name: str, reading: Reading) -> tuple[ApiToken, ...] | None:
    """Read a list of tables with `name`, `role` and `token`; None with every mistake in the report."""
    report = reading.report
    if not isinstance(node, Series) or not node.items:
        report.error(
            node.place, f"'{name}' must be a list of tokens", "- {name: anna, role: operator, token: {file: F}}"
        )
        return None
    if len(node.items) > TOKENS_MOST:
        report.error(node.place, f"'{name}' has {len(node.items)} tokens; at most {TOKENS_MOST}")
        return None
    before = len(report.problems)
    found = [_token(item, name, reading) for item in node.items]
    tokens = tuple(one for one in found if one is not None)
    _check_distinct(node, tokens, report)
    return tokens if len(report.problems) == before else None


def _token(node: Node, name: str, reading: Reading) -> ApiToken | None:
    table = values.table(node, name, reading.report)
    if table is None:
        return None
    found = read_section(TOKEN, table, reading)
    own, role, token = found.maybe("name", str), found.maybe("role", str), found.maybe("token", Secret)
    if own is not None and not TOKEN_NAME.fullmatch(own):
        hint = "letters, digits, '.', '-', '_' and '@', at most 64"
        reading.report.error(found.where("name"), f"bad name of a token '{own[:80]}'", hint)
    if token is not None:
        check_token(token, found.where("token"), reading.report)
    if own is None or role is None or token is None:
        return None
    return ApiToken(own, "operator" if role == "operator" else "viewer", token)


def _check_distinct(node: Node, tokens: tuple[ApiToken, ...], report: Report) -> None:
    """Report names and tokens that several have: the audit could not say who it was."""
    for name, count in Counter(one.name for one in tokens).items():
        if count > 1:
            report.error(node.place, f"{count} tokens have the name '{name}'")
    for shared in (names for names in _by_secret(tokens).values() if len(names) > 1):
        report.error(node.place, f"the tokens of {' and '.join(shared)} are the same")


def _by_secret(tokens: tuple[ApiToken, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in tokens:
        found.setdefault(one.token.reveal(), []).append(one.name)
    return found


def has_token(api: Found) -> bool:
    """Return whether the table `api` names a token of any kind, right or wrong."""
    return "token" in api.places or "tokens" in api.places
