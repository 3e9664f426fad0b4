"""The input of a rule: kinds, filter, window and pane."""

from __future__ import annotations

from collections.abc import Sequence

from rules.canonical import Lists
from rules.catalogue import kind_names
from rules.formula import RowFormula, check_row
from rules.fragment import parse_node, report_flaws
from rules.rule import RuleKeys
from rules.tokens import ExpressionError
from watchdog.core.durations import MINUTE_NS, SECOND_NS, exact_duration
from watchdog.core.kinds import FINDING_KINDS, FLEET_KINDS, PER_MESSAGE
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Scalar, Series
from watchdog.located_yaml.suggest import closest, did_you_mean

PANES_NS = tuple(seconds * SECOND_NS for seconds in (1, 2, 5, 10, 15, 30, 60, 300, 900))
FEWEST_PANES = 60  # a window that moves by a 60th of itself is off by 2 % at most
MOST_PANES = 100_000  # bounds what a window of a busy key can cost


def read_kinds(keys: RuleKeys) -> tuple[str, ...]:
    """Read the kinds of `on`. An unknown kind is reported, and the closest known kind replaces it.

    So the other mistakes of the rule are found in the same run.
    """
    node = keys.node("on")
    if node is None:
        return ()
    items = values.scalars(node, "on", "an event kind or a list of kinds", keys.report)
    known = kind_names()
    chosen: list[str] = []
    meant: set[str] = set()
    for item in items:
        if item.text in chosen:
            keys.report.error(item.place, f"kind '{item.text}' is given twice")
        elif item.text in known:
            chosen.append(item.text)
        else:
            family = _family(item.text, known)
            keys.report.error(item.place, f"unknown kind '{item.text[:80]}'", _kind_hint(item.text, known, family))
            meant.add(closest(item.text, family or known))
    if keys.text("scope") == "fleet":
        _refuse_streams(keys, items)
    else:
        _refuse_mixture(keys, [item for item in items if item.text in chosen])
        _refuse_fleet(keys, items)
    if isinstance(node, Series) and not items:
        keys.report.error(node.place, "'on' names no kind")
    return tuple(sorted(meant.union(chosen) - {""}))


def _refuse_streams(keys: RuleKeys, items: Sequence[Scalar]) -> None:
    """Report kinds that a rule over nodes cannot read: a second copy of a flood would cost as much as the flood."""
    for item in items:
        if item.text.startswith(PER_MESSAGE):
            hint = "write a rule of one node over it, and read its findings here: on finding:fire"
            keys.report.error(item.place, f"a rule over nodes cannot read '{item.text}'", hint)


def _refuse_fleet(keys: RuleKeys, items: Sequence[Scalar]) -> None:
    """Report kinds that only rules over nodes can read."""
    for item in items:
        if item.text in FLEET_KINDS:
            keys.report.error(item.place, f"'{item.text}' is for rules over nodes", "add 'scope: fleet'")


def _refuse_mixture(keys: RuleKeys, items: Sequence[Scalar]) -> None:
    """Report a rule that reads findings and events of sources: findings come once the events are judged."""
    findings = [item for item in items if item.text in FINDING_KINDS]
    if not findings or len(findings) == len(items):
        return
    other = next(item for item in items if item.text not in FINDING_KINDS)
    late = max(findings[0], other, key=items.index)
    message = f"a rule that reads '{findings[0].text}' cannot read '{other.text}' too"
    keys.report.error(late.place, message, "write a rule over the events, and read its findings here")


def default_pane_ns(over_ns: int) -> int | None:
    """Return the largest pane that divides the window and is at most a 60th of it, else one second.

    None when not even a second divides it.
    """
    if over_ns % SECOND_NS:
        return None
    fitting = [pane for pane in PANES_NS if over_ns % pane == 0 and pane * FEWEST_PANES <= over_ns]
    return max(fitting, default=SECOND_NS)


def read_window(keys: RuleKeys) -> tuple[int, int]:
    """Read window and pane in nanoseconds; one minute and one second replace broken ones."""
    fallback = (MINUTE_NS, SECOND_NS)
    over, given = keys.node("over"), keys.node("pane")
    over_ns = keys.duration("over", 0)
    if over is None or not over_ns:
        return fallback
    pane_ns = keys.duration("pane", 0) if given else default_pane_ns(over_ns)
    if pane_ns is None:
        keys.report.error(over.place, "'over' must be a whole number of seconds", "or give a 'pane' that divides it")
        return fallback
    if not pane_ns:
        return fallback
    if over_ns % pane_ns:
        lengths = f"{exact_duration(over_ns)} is not one of {exact_duration(pane_ns)}"
        message = f"'over' must be a multiple of 'pane': {lengths}"
        keys.report.error((given or over).place, message)
        return fallback
    if over_ns // pane_ns > MOST_PANES:
        keys.report.error((given or over).place, f"more than {MOST_PANES} panes in a window", "use a longer 'pane'")
        return fallback
    return over_ns, pane_ns


def read_where(keys: RuleKeys, kinds: tuple[str, ...], lists: Lists) -> RowFormula | None:
    """Read the stream's filter and check it for every kind; without kinds, check only its grammar."""
    node = keys.node("where")
    tree = parse_node(node, "where", keys.report) if node else None
    if node is None or tree is None or not kinds:
        return None
    try:
        check_row(tree, kinds, lists, "filter")
    except ExpressionError as error:
        report_flaws(node, error, keys.report)
        return None
    formula = RowFormula(tree, kinds, lists, "filter")
    for kind in kinds:
        if formula.constant_for(kind) is False:
            keys.report.error(node.place, f"'where' keeps out every event of kind '{kind}'", "drop the kind from 'on'")
    return formula


def _family(name: str, known: list[str]) -> list[str]:
    """Return the kinds of the same area, such as `p2p`."""
    area = name.split(":", maxsplit=1)[0]
    return [kind for kind in known if kind.startswith(f"{area}:")]


def _kind_hint(name: str, known: list[str], family: list[str]) -> str:
    """Suggest a close kind, or the kinds of the same family."""
    see = f"watchdog events {name.split(':', maxsplit=1)[0]}"
    return did_you_mean(name, family or known, "kinds" if family else "", see) or "see: watchdog events"
