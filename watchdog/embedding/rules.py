"""Rules that travel: read from YAML in one process, compiled from text in another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from rules.load import RuleSet, load
from rules.portable import from_text, to_text
from watchdog.core.plan import RulePlan
from watchdog.engine.coverage import wanted_kinds

AnyPath = str | os.PathLike[str]


class Rules:
    """A checked, compiled set of rules, immutable.

    A driver gets it from `load_rules`, a worker from `Rules.from_text`; do not construct it. Two sets are equal when
    their texts are. Pickle stores the text and compiles it where it is loaded, without PyYAML.
    """

    __slots__ = ("_set",)

    def __init__(self, compiled: RuleSet) -> None:
        self._set = compiled

    def to_text(self) -> str:
        """Return the rules as canonical JSON with a version number.

        A driver calls this once and ships the text to its workers. The text holds everything in effect: overrides are
        applied, named lists are inside, and nothing refers to a file. Its layout is private and changes with its
        version; ship it to workers of the same release, and store the YAML, not the text.

        :returns: one line, 80,000 characters for the shipped packs; equal for equal rules read from equal places.

        :raises RuleError: when the text would have more than 4,194,304 characters, 200,000 values or 2,000 rules, or
            when a value is not valid Unicode.
        """
        return to_text(self._set)

    @classmethod
    def from_text(cls, text: str) -> Rules:
        """Compile the rules of a text that `to_text` returned.

        A worker calls this when it starts. It loads NumPy and the standard library only, reads no file, no clock and
        no environment, and the result depends on the text alone. The text may be hostile: it is bounded, and checked
        as strictly as YAML.

        :returns: rules equal to those that wrote the text, with equal behaviour, hash and places.

        :raises RuleError: in one line, for any other text, or when this release compiles the rules to another
            behaviour.
        """
        return cls(from_text(text))

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of the rules, sorted; rules that an override switches off are not among them."""
        return tuple(plan.id for plan in self.plans)

    @property
    def titles(self) -> dict[str, str]:
        """Return the titles for people, by rule id."""
        return {plan.id: plan.title for plan in self.plans}

    @property
    def kinds(self) -> frozenset[str]:
        """Return the kinds of events that rules and engine read; a caller may leave out events of all others."""
        return wanted_kinds(self.plans)

    @property
    def lists(self) -> dict[str, tuple[str, ...]]:
        """Return the values of the named lists as text, by name."""
        return dict(self._set.lists)

    @property
    def hash(self) -> str:
        """Return twelve hex digits of the rules' behaviour; equal for equal behaviour, whatever the formatting."""
        return self._set.hash

    @property
    def plans(self) -> tuple[RulePlan, ...]:
        """Return the compiled rules, by id; private to this project, for `KeyedEngine`."""
        return self._set.plans

    def __eq__(self, other: object) -> bool:
        return self.to_text() == other.to_text() if isinstance(other, Rules) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"<Rules {self.hash}: {len(self.plans)} rules>"

    def __reduce__(self) -> tuple[Callable[[str], Rules], tuple[str]]:
        return rules_from_text, (self.to_text(),)


def rules_from_text(text: str) -> Rules:
    """Return `Rules.from_text(text)`; pickle calls this."""
    return Rules.from_text(text)


def load_rules(paths: AnyPath | Iterable[AnyPath] = (), *, packs: bool = True) -> Rules:
    """Read rule files and compile them.

    A driver calls this, where PyYAML is installed; it is imported here, not with the module. Reads files, writes none.

    :arg paths: files, and folders of which every `*.yaml` is read, in this order; a single path needs no list. They
        may override shipped rules, as docs/RULES.md explains.

    :arg packs: whether the shipped packs are read first; the default. Without paths, the result is the shipped packs.

    :returns: rules for any number of engines.

    :raises RuleError: with all mistakes of all files, each with its place and a hint; a file that cannot be read is
        one of them.

    :raises ModuleNotFoundError: when PyYAML is missing.
    """
    several: Iterable[AnyPath] = [paths] if isinstance(paths, str | os.PathLike) else paths
    try:
        return Rules(load([Path(path) for path in several], packs=packs))
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        hint = "load_rules reads YAML and needs PyYAML; a process without it uses Rules.from_text"
        raise ModuleNotFoundError(hint, name="yaml") from None
