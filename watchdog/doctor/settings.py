"""The settings of a node, merged as Bitcoin Core merges them.

In this order: command line (the last value counts), settings.json, the section of the chain, the top of bitcoin.conf
(the first value counts). The files are untrusted: no content makes these functions raise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from watchdog.doctor.chains import CHAINS, MAIN, Chain, chain_named

MOST_ENTRIES: Final = 20_000  # of one file
LONGEST_VALUE: Final = 4_096  # characters: a path on Linux has as many bytes at most
NETWORK_ONLY: Final = frozenset(
    {"addnode", "bind", "connect", "port", "rpcbind", "rpcport", "wallet", "walletdir", "whitebind"}
)
"""On other chains than main these count only in a section. From Core's `NETWORK_ONLY`."""


@dataclass(frozen=True, slots=True)
class SettingEntry:
    """One setting. section: empty for the top of a file. value: None when the option is negated (`nolisten=1`)."""

    section: str
    name: str
    value: str | None


def entry(section: str, name: str, value: str) -> SettingEntry:
    """Return a setting as written; `no` before a name negates it, and `nolisten=0` is `listen=1`."""
    name, value = name.strip()[:LONGEST_VALUE], value.strip()[:LONGEST_VALUE]
    if name.startswith("no") and len(name) > 2:
        return SettingEntry(section, name[2:], None if _truth(value) else "1")
    return SettingEntry(section, name, value)


def conf_entries(text: str) -> list[SettingEntry]:
    """Return the settings of a bitcoin.conf; lines that are none are left out."""
    section, found = "", []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()  # noqa: PLW2901
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
            continue
        name, equals, value = line.partition("=")
        if not equals:
            continue
        own, dot, rest = name.strip().partition(".")
        here, name = (own, rest) if dot and chain_named(own) and not section else (section, name)
        found.append(entry(here, name, value))
        if len(found) >= MOST_ENTRIES:
            break
    return found


def command_entries(arguments: Sequence[str]) -> list[SettingEntry]:
    """Return the settings of a command line without the program's name; it ends at the first word without a dash."""
    found = []
    for word in arguments[:MOST_ENTRIES]:
        if not word.startswith("-") or word == "-":
            break
        name, _, value = word.lstrip("-").partition("=")
        found.append(entry("", name, value))
    return found


def stored_entries(text: str) -> list[SettingEntry]:
    """Return the settings of a settings.json, which the node writes itself; none when it is no JSON table."""
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(stored, dict):
        return []
    found = []
    for name, value in list(stored.items())[:MOST_ENTRIES]:
        for one in value[:MOST_ENTRIES] if isinstance(value, list) else [value]:
            if isinstance(one, bool):
                found.append(SettingEntry("", name, "1" if one else None))
            elif isinstance(one, str | int | float):
                found.append(SettingEntry("", name, str(one)[:LONGEST_VALUE]))
    return found


class Settings:
    """The merged settings of one node on one chain."""

    def __init__(
        self,
        chain: Chain,
        command: Iterable[SettingEntry] = (),
        stored: Iterable[SettingEntry] = (),
        conf: Iterable[SettingEntry] = (),
    ) -> None:
        conf = list(conf)
        command = list(command)
        own = [one for one in conf if one.section == chain.name]
        top = [one for one in conf if not one.section and (chain is MAIN or one.name not in NETWORK_ONLY)]
        self.chain = chain
        self._command = command
        self._levels: list[list[SettingEntry]] = [command, list(stored), own, top]

    def values(self, name: str) -> list[str]:
        """Return every value of a setting that may be given several times, the most important first."""
        found: list[str] = []
        for level in self._levels:
            mine = [one.value for one in level if one.name == name]
            negated = max((at for at, value in enumerate(mine) if value is None), default=-1)
            found += [value for value in mine[negated + 1 :] if value is not None]
            if negated >= 0:
                break
        return found

    def value(self, name: str) -> str | None:
        """Return the value that counts; None when the setting is missing or negated."""
        for level in self._levels:
            mine = [one.value for one in level if one.name == name]
            if mine:
                return mine[-1] if level is self._command else mine[0]
        return None

    def has(self, name: str) -> bool:
        """Return whether the setting is given at all, negated or not."""
        return any(one.name == name for level in self._levels for one in level)

    def flag(self, name: str, default: bool) -> bool:
        """Return a setting that is on or off, with Core's rule: empty is on, else the number decides."""
        if not self.has(name):
            return default
        value = self.value(name)
        return value is not None and _truth(value)

    def number(self, name: str, default: int) -> int:
        """Return a setting that is a whole number; the default when it is missing or no number."""
        value = self.value(name)
        return int(value) if value and value.isascii() and value.isdigit() and len(value) < 10 else default


def chain_of(command: Iterable[SettingEntry], conf: Iterable[SettingEntry]) -> Chain:
    """Return the chain that command line and the top of bitcoin.conf choose; main when they choose none."""
    both = [list(command), [one for one in conf if not one.section]]
    for level in both:
        for one in level:
            if one.name == "chain" and one.value and (named := chain_named(one.value)):
                return named
        for chain in CHAINS[1:]:
            if any(one.name == chain.flag and one.value is not None and _truth(one.value) for one in level):
                return chain
    return MAIN


def _truth(value: str) -> bool:
    """Return Core's reading of a truth (its InterpretBool): empty is true, else atoi."""
    if not value:
        return True
    digits = value.lstrip("+-")
    number = digits[: len(digits) - len(digits.lstrip("0123456789"))]
    return bool(number.strip("0"))
