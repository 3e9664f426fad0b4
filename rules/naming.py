"""The names in a rule's findings: key, incident, entities, summary."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rules.catalogue import determined, field_types, missing_in, shared_fields
from rules.fragment import report_flaws
from rules.rule import RuleKeys
from rules.tokens import ExpressionError, Flaw
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Scalar
from watchdog.located_yaml.problem import Report
from watchdog.located_yaml.suggest import did_you_mean

ALWAYS = ("node", "over")  # placeholders of every summary
_PART = re.compile(r"\{([^{}]*)\}|[{}]")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_PERSONAL = ("conn", "peer", "peer_addr")


def read_fields(
    keys: RuleKeys, name: str, kinds: tuple[str, ...], default: tuple[str, ...] | None, *, in_any: bool = False
) -> tuple[str, ...] | None:
    """Read field names that all kinds have (any of them, with in_any) and that can make a key."""
    node = keys.node(name)
    if node is None:
        return default
    names: list[str] = []
    fleet = keys.text("scope") == "fleet"
    for item in values.scalars(node, name, "a list of fields", keys.report):
        having = _having(item.text, kinds) if in_any else kinds
        problem, shared = _field_problem(item, having, fleet=fleet), shared_fields(having)
        if not problem and item.text in names:
            problem = (f"field '{item.text}' is given twice", "")
        if not problem and shared[item.text] in ("bytes", "float"):
            problem = (f"'{item.text}' cannot be part of a key", "use a field of text, whole numbers or prefixes")
        if problem:
            keys.report.error(item.place, *problem)
        else:
            names.append(item.text)
    return tuple(names)


def read_incident(keys: RuleKeys, kinds: tuple[str, ...], by: tuple[str, ...]) -> tuple[str, ...]:
    """Read the fields under which findings form one incident; each must follow from the key."""
    known = determined(kinds, by)
    default = [("netgroup" if name in _PERSONAL and "netgroup" in known else name) for name in by]
    given = read_fields(keys, "incident", kinds, None)
    node = keys.node("incident")
    if given is None or node is None:
        return tuple(dict.fromkeys(default))
    for item in values.scalars(node, "incident", "a list of fields", Report()):
        if item.text in given and item.text not in known:
            hint = f"fields of the key: {', '.join(sorted(known))}" if known else "the key has no fields"
            keys.report.error(item.place, f"'{item.text}' does not follow from the key", hint)
    return given


def read_entities(keys: RuleKeys, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Read the fields that name the entities; one kind that has a field is enough, the others add no entity."""
    node, shared = keys.node("entities"), shared_fields(kinds)
    default = ("peer_addr",) if "peer_addr" in shared else ()
    found = read_fields(keys, "entities", kinds, default, in_any=True) or ()
    for item in values.scalars(node, "entities", "a list of fields", Report()) if node else ():
        kind = shared_fields(_having(item.text, kinds)).get(item.text)
        if item.text in found and kind not in ("text", "prefix") and not item.text.endswith("asn"):
            keys.report.error(item.place, f"'{item.text}' names no peer", "use an address, a prefix or an ASN")
    return found


def read_summary(keys: RuleKeys, kinds: tuple[str, ...], by: tuple[str, ...], measured: set[str]) -> str:
    """Read the sentence for people; the title without one."""
    node = keys.node("summary") or keys.node("title")
    if not isinstance(node, Scalar):
        return values.text(node, "summary", keys.report) if node is not None and node is keys.node("summary") else ""
    if keys.node("summary") is None:
        return node.text.strip().replace("{", "(").replace("}", ")")
    given = keys.node("by")
    whole = given is None or len(by) == len(values.scalars(given, "by", "", Report()))
    known = determined(kinds, by) if whole else shared_fields(kinds)  # a broken key is one mistake, not two
    try:
        check_summary(node.text, {*known, *measured})
    except ExpressionError as error:
        report_flaws(node, error, keys.report)
    return values.text(node, "summary", keys.report)


def _having(name: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return the kinds that have a field of this name; all kinds when none has it."""
    return tuple(kind for kind in kinds if name in field_types(kind)) or kinds


def _field_problem(item: Scalar, kinds: tuple[str, ...], *, fleet: bool) -> tuple[str, str] | None:
    """Report why a field cannot be used, with a hint."""
    name = item.text
    if name == "node" and fleet:
        return None
    if name in ("node", "boot_ns", "kind", "source", "time_ns"):
        fleet_hint = "; 'scope: fleet' is for rules over nodes" if name == "node" else ""
        return f"'{name}' cannot be part of a key", f"keys are always within one node{fleet_hint}"
    shared = shared_fields(kinds)
    if name in shared:
        return None
    if len(kinds) > 1 and any(name in field_types(kind) for kind in kinds):
        return f"field '{name}' is not in kind '{missing_in(kinds, name)}'", "a key needs a field of all kinds"
    return f"unknown field '{name[:80]}' of kind '{kinds[0]}'", did_you_mean(
        name, shared, "fields", f"watchdog events {kinds[0]}"
    )


def check_summary(text: str, known: Iterable[str]) -> None:
    """Raise ExpressionError for each placeholder that is not known, and for stray braces."""
    names = {*known, *ALWAYS}
    flaws = []
    for part in _PART.finditer(text):
        name = part[1]
        if name is None:
            flaws.append(Flaw(part.start(), part.end(), f"stray '{part[0]}'", "placeholders look like {sent}"))
        elif not _PLAIN.fullmatch(name):
            flaws.append(Flaw(part.start(), part.end(), f"not a placeholder: '{part[0]}'", "only a name in braces"))
        elif name not in names:
            hint = did_you_mean(name, names, "placeholders")
            flaws.append(Flaw(part.start(), part.end(), f"unknown placeholder '{name}'", hint))
    if flaws:
        raise ExpressionError(*flaws)
