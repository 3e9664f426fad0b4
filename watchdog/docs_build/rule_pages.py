"""The shipped rules for people: docs/rules/, one page a rule, made from the packs."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rules.budget import promises
from rules.digest import rule_hash
from rules.evasion import QUESTIONS
from rules.load import RuleSet, load
from rules.rule import RuleSource
from watchdog.core.durations import exact_duration
from watchdog.core.kinds import KINDS
from watchdog.core.own_rules import OWN_RULES, OwnRule
from watchdog.core.plan import RulePlan
from watchdog.docs_build.rule_matrix import matrix
from watchdog.located_yaml.nodes import Node, Scalar, Series, Table
from watchdog.sources.registry import SCHEMES

DOCS = Path(__file__).parents[2] / "docs" / "rules"
INDEX = "README.md"
FALSE_ALARMS = DOCS / "false_alarms.json"  # written by `python -m benchmarks.false_alarms`
TUNED = ("over", "fire", "clear", "for", "escalate")  # the keys of the override that a page proposes
ISSUE = re.compile(r"([\w.-]+/[\w.-]+)#([0-9]+)")  # bitcoin/bitcoin#22387
CITATION = re.compile(r"(?:docs/)?\bthreats\.md(?:#([a-z0-9-]+))?")  # a section of docs/threats.md
QUOTED = re.compile(
    r"^\s*(?:- )?(?:[\w-]+:\s+)?(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*')"
)  # a value in quotes may hold #
COMMENT = re.compile(r"(?:^|\s)#+\s?(.*)$")
ODD = re.compile(r"^[\s\"'\[\]{}&*!|>%@`,?:-]|[:#]|\s$")  # what YAML could take for something else
CASE_REASON = "`technique`: "  # the comment above the words for cases, which is shown beside them
SHOWN = 20  # entries of a named list
INTRODUCTION = """\
# Shipped rules

Made from `rules/packs/` by `make docs`. Each page says what a rule looks at, when it fires, where its numbers come
from, what else can make it fire, and which override to write. How rules work: [RULES.md](../RULES.md); what the kinds
and fields mean: [EVENTS.md](../EVENTS.md); what the numbers rest on: [threats.md](../threats.md).

A rule speaks only when its kinds come from a source that you have: the column *from* names them. To switch a rule off:

```yaml
overrides:
  the-id-of-the-rule:
    enabled: false
```
"""
UNTUNED = (
    "It is built in: no file of rules defines it, and no override changes it. Only `watchdog run` reports it; a replay "
    "has no wall clock."
)
BUILT_IN = """\
## By the wall clock

`watchdog run` reports these itself, since no event comes where the input fails. No file of rules defines them.
"""


class Figure(NamedTuple):
    """False alarms of one rule in `quiet_hours` of `recordings`; see benchmarks/false_alarms.py.

    measured: whether the recordings have an event that the rule reads. incidents: of all severities; alarms: of warning
    and above.
    """

    recordings: int
    quiet_hours: float
    measured: bool
    incidents: int
    alarms: int


def read_figures() -> dict[str, Figure]:
    """Return the measured false alarms by rule id, as the committed file has them."""
    data = json.loads(FALSE_ALARMS.read_text(encoding="utf-8"))
    return {
        rule_id: Figure(data["recordings"], data["quiet_hours"], row["measured"], row["incidents"], row["alarms"])
        for rule_id, row in data["rules"].items()
    }


def pages(found: RuleSet) -> dict[str, str]:
    """Return Markdown by file name, for every rule of the set and the index."""
    figures = read_figures()
    made = {f"{plan.id}.md": page(plan, found.sources[plan.id], found.lists, figures) for plan in found.plans}
    own = {f"{rule.id}.md": own_page(rule) for rule in OWN_RULES.values()}
    return {INDEX: index(found.plans), **made, **own}


def own_page(rule: OwnRule) -> str:
    """Render one finding by the wall clock."""
    after = exact_duration(rule.resolve_after_ns)
    sections = [
        f"# {rule.id}\n\n{rule.title}.\n",
        _table(
            ("attack", "severity", "from", "one incident for each", "resolved"),
            [("data", rule.severity, "the wall clock", rule.by, f"{after} after it cleared")],
        ),
        f"## When it fires\n\n{rule.about}",
        f"## What causes it\n\n{_bullets(rule.causes)}",
        f"## What to do\n\n{rule.remedy}",
        f"## Tuning\n\n{UNTUNED}",
    ]
    return "\n".join(f"{section.rstrip()}\n" for section in sections)


def index(plans: Sequence[RulePlan]) -> str:
    """Render the list of all rules, by family of attacks."""
    parts = [INTRODUCTION]
    for attack in dict.fromkeys(sorted(plan.attack for plan in plans)):
        rows = [
            (f"[{plan.id}]({plan.id}.md)", _severities(plan), _sources(plan), plan.title)
            for plan in plans
            if plan.attack == attack
        ]
        parts.append(f"## {attack}\n\n{_table(('rule', 'severity', 'from', 'what it sees'), rows)}")
    built_in = [(f"[{one.id}]({one.id}.md)", one.severity, one.by, one.title) for one in OWN_RULES.values()]
    parts.append(f"{BUILT_IN}\n{_table(('finding', 'severity', 'for each', 'what it sees'), built_in)}")
    return "\n".join([*parts, matrix(plans)])


def page(
    plan: RulePlan,
    source: RuleSource,
    lists: Mapping[str, Sequence[str]],
    figures: Mapping[str, Figure] = MappingProxyType({}),
) -> str:
    """Render one rule; `lists` are the named lists that it may use, `figures` the false alarms by rule id."""
    sections = [
        f"# {plan.id}\n\n{plan.title}.\n",
        _table(
            ("attack", "severity", "maturity", "from", "defined in"),
            [(plan.attack, _severities(plan), plan.maturity, _sources(plan), f"`{plan.place.rpartition(':')[0]}`")],
        ),
        f"## What it looks at\n\n{_looks_at(plan, source, lists)}",
        f"## When it fires\n\n{_fires(plan, source)}",
        f"## What to do\n\n{plan.metadata.get('do') or 'The text of its technique, if that is a shipped one.'}",
        f"## Where the numbers come from\n\n{_numbers(plan, source)}",
        f"## In cases\n\n{_in_cases(plan, source)}",
        f"## What else can make it fire\n\n{_bullets(_texts(plan, 'false_positives')) or 'Nothing is known.'}",
        f"## False alarms\n\n{_false_alarms(figures.get(plan.id))}",
        f"## How it could be evaded\n\n{_evasion(plan)}",
        f"## References\n\n{_bullets([_linked(text) for text in _texts(plan, 'references')]) or 'None.'}",
        f"## Tuning\n\n{_tuning(plan, source)}",
    ]
    return "\n".join(f"{section.rstrip()}\n" for section in sections)


def numbers_explained(source: RuleSource) -> Iterator[str]:
    """Yield the comments in a rule's text, each with the key beside or below it; those above the rule first."""
    lines = source.place.source.lines
    first = source.place.line - 1
    above = first
    while above > 0 and lines[above - 1].lstrip().startswith("#"):
        above -= 1
    head = " ".join(_comment(line) for line in lines[above:first]).strip()
    if head:
        yield head
    starts = {entry.key.place.line - 1: name for name, entry in source.entries.items()}
    indent = len(lines[first]) - len(lines[first].lstrip())
    name, waiting = "", []
    for at in range(first, len(lines)):
        line = lines[at]
        if at > first and line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        name = starts.get(at, name)
        text = _comment(line)
        if line.lstrip().startswith("#"):
            waiting.append(text)
            continue
        said = " ".join([*waiting, text]).strip()
        waiting = []
        if said:
            yield f"`{name}`: {said}" if name else said


def said_of_all(source: RuleSource) -> Iterator[str]:
    """Return the paragraphs of the comment at the head of a rule's file."""
    head: list[str] = []
    for line in source.place.source.lines:
        if not line.startswith("#"):
            break
        indented = line.startswith("#   ")
        head.append(f"{chr(10) if indented else ''}{'- ' if indented else ''}{_comment(line)}")
    for paragraph in re.split(r"\n\n(?!- )", "\n".join(head)):
        if not paragraph.strip():
            continue
        yield "\n".join(" ".join(part.split()) for part in re.split(r"\n(?=- )", paragraph))


def quoted(node: Node) -> str:
    """Render a node as YAML on one line."""
    if isinstance(node, Scalar):
        text = " ".join(node.text.split())
        return json.dumps(text, ensure_ascii=False) if ODD.search(text) or not text else text
    if isinstance(node, Series):
        return f"[{', '.join(quoted(item) for item in node.items)}]"
    return f"{{{', '.join(f'{entry.key.text}: {_in_flow(entry.value)}' for entry in node.entries)}}}"


def main(arguments: Sequence[str]) -> int:
    """Write docs/rules, and remove pages of rules that are gone; with `--check` compare, 1 when not current."""
    made = pages(load(()))
    there = {path.name: path for path in DOCS.glob("*.md")}
    if "--check" in arguments:
        current = {name: path.read_text(encoding="utf-8") for name, path in there.items()}
        return 0 if current == made else 1
    DOCS.mkdir(exist_ok=True)
    for name in there.keys() - made.keys():
        there[name].unlink()
    for name, text in made.items():
        (DOCS / name).write_text(text, encoding="utf-8")
    return 0


def _looks_at(plan: RulePlan, source: RuleSource, lists: Mapping[str, Sequence[str]]) -> str:
    kinds = ", ".join(f"[{kind}](../EVENTS.md#{kind.replace(':', '')})" for kind in plan.kinds)
    where = _text(source, "where")
    keys = f"each {_codes(plan.by)}" if plan.by else "the node itself"
    lines = [f"{kinds}{f' where `{where}`' if where else ', every event'}."]
    over, pane = exact_duration(plan.over_ns), exact_duration(plan.pane_ns)
    lines.append(f"One key for {keys}; a window of {over} that moves by {pane}.")
    measures = source.entries.get("measure")
    rows = [(f"`{name}`", f"`{text}`") for name, text in _pairs(measures.value if measures else None)]
    read = " ".join([where, *(text for _, text in rows)])
    lines += [
        f"\n`{name}` is {', '.join(f'`{text}`' for text in texts[:SHOWN])}{' and more' if len(texts) > SHOWN else ''}."
        for name, texts in lists.items()
        if re.search(rf"\b{name}\b", read)
    ]
    return "\n".join(lines) + (f"\n\n{_table(('measure', 'is'), rows)}" if rows else "\n")


def _fires(plan: RulePlan, source: RuleSource) -> str:
    held = f" for {exact_duration(plan.for_ns)}" if plan.for_ns else ""
    clear = _text(source, "clear")
    escalate = source.entries.get("escalate")
    rows = [
        (f"{plan.severity}", f"`{_text(source, 'fire')}`{held}"),
        *((severity, f"`{text}`") for severity, text in _pairs(escalate.value if escalate else None)),
        ("clears", f"`{clear}`" if clear else "as soon as that is false"),
        ("resolved", f"{exact_duration(plan.resolve_after_ns)} after it cleared"),
    ]
    group = f"each {_codes(plan.incident)}" if plan.incident else "the node itself"
    names = _codes(plan.entities)
    return (
        f"{_table(('what', 'when'), rows)}\n"
        f"One incident for {group}{f'; it names {names}' if names else ''}. It says:\n\n> {plan.summary}\n"
    )


def _false_alarms(figure: Figure | None) -> str:
    """Describe the false alarms a day with their upper limit, or why there is no figure."""
    if figure is None:
        return "Not measured."
    if not figure.measured:
        return f"Not measured: the {figure.recordings} open recordings of a real node have no event that it reads."
    days = figure.quiet_hours / 24
    rows = [
        (name, f"{count}", f"{count / days:.1f}", f"{poisson_limit(count) / days:.1f}")
        for name, count in (("all severities", figure.incidents), ("warning and above", figure.alarms))
    ]
    return (
        f"In {figure.quiet_hours} quiet hours of {figure.recordings} open recordings of a real node "
        f"(`python -m benchmarks.false_alarms`):\n\n"
        f"{_table(('severity', 'false alarms', 'a day', 'a day at most, with 95 % confidence'), rows)}"
    )


def poisson_limit(count: int) -> float:
    """Return the mean above which `count` events or fewer have a chance below 5 %: the exact Poisson limit."""
    low, high = float(count), count + 4 * math.sqrt(count + 1) + 4
    for _ in range(60):
        mean = (low + high) / 2
        chance = sum(math.exp(-mean) * mean**n / math.factorial(n) for n in range(count + 1))
        low, high = (mean, high) if chance > 0.05 else (low, mean)
    return high


def _evasion(plan: RulePlan) -> str:
    """Render the answers to the five questions that each shipped rule must answer."""
    answers: object = plan.metadata.get("evasion")
    if not isinstance(answers, Mapping) or not answers:
        return "Not examined."
    rows = [(QUESTIONS[name], _once(" ".join(str(text).split()))) for name, text in answers.items()]
    return _table(("question", "answer"), rows)


def _once(answer: str) -> str:
    return f"{answer[:1].upper()}{answer[1:]}{'' if answer.endswith('.') else '.'}"


def _tuning(plan: RulePlan, source: RuleSource) -> str:
    tuned = {name: source.entries[name].value for name in TUNED if name in source.entries}
    lines = ["overrides:", f"  {plan.id}:", f"    expects: {json.dumps(rule_hash(plan))}"]
    for name, node in tuned.items():
        if isinstance(node, Table):
            lines.append(f"    {name}:")
            lines += [f"      {entry.key.text}: {quoted(entry.value)}" for entry in node.entries]
        else:
            lines.append(f"    {name}: {quoted(node)}")
    return (
        "Copy what you want to change into a file of your own; this override changes nothing yet. With `expects`, you\n"
        "are warned when the shipped rule changes below it. A key that you leave out stays as shipped.\n\n"
        "```yaml\n" + "\n".join(lines) + "\n```\n\n"
        "Then `watchdog rules check FILE`, and `watchdog replay SOURCE --rules FILE --table` to see the difference.\n"
    )


def _in_cases(plan: RulePlan, source: RuleSource) -> str:
    """Render the three words of the case layer, with the reason that the comment above them gives."""
    reasons = [note.removeprefix(CASE_REASON) for note in numbers_explained(source) if note.startswith(CASE_REASON)]
    words = _table(("technique", "role", "names"), [(plan.technique or "none", plan.role, plan.names)])
    return "\n".join([words, *reasons])


def _numbers(plan: RulePlan, source: RuleSource) -> str:
    numbers = [note for note in numbers_explained(source) if not note.startswith(CASE_REASON)]
    notes = _bullets([*numbers, *promises(plan)])
    if not notes:
        notes = "The references below." if _texts(plan, "references") else "No source is given."
    return CITATION.sub(_cited, "\n\n".join([notes, *said_of_all(source)]))


def _severities(plan: RulePlan) -> str:
    return " to ".join(dict.fromkeys((plan.severity, *(severity for severity, _ in plan.escalate[-1:]))))


def _sources(plan: RulePlan) -> str:
    """Render the existing sources that give a rule's kinds, else those that would."""
    names = dict.fromkeys(name for kind in plan.kinds for name in KINDS[kind].sources)
    return ", ".join([name for name in names if name in SCHEMES] or names)


def _text(source: RuleSource, name: str) -> str:
    entry = source.entries.get(name)
    return " ".join(entry.value.text.split()) if entry and isinstance(entry.value, Scalar) else ""


def _pairs(node: Node | None) -> Iterator[tuple[str, str]]:
    for entry in node.entries if isinstance(node, Table) else ():
        if isinstance(entry.value, Scalar):
            yield entry.key.text, " ".join(entry.value.text.split())


def _texts(plan: RulePlan, name: str) -> list[str]:
    metadata: Mapping[str, object] = plan.metadata
    found = metadata.get(name, ())
    return [str(text) for text in found] if isinstance(found, list | tuple) else [str(found)]


def _in_flow(node: Node) -> str:
    """Render a value inside braces, where commas and brackets need quotes too."""
    text = quoted(node)
    return json.dumps(text) if isinstance(node, Scalar) and re.search(r"[,\[\]{}]", text) and text[0] != '"' else text


def _comment(line: str) -> str:
    """Return the comment of a line of YAML; empty without one."""
    value = QUOTED.match(line)
    found = COMMENT.search(line, value.end() if value else 0)
    return found[1].strip() if found else ""


def _linked(text: str) -> str:
    if re.fullmatch(r"https?://\S+", text):
        return f"<{text}>"
    return ISSUE.sub(r"[\g<0>](https://github.com/\1/issues/\2)", text)


def _cited(found: re.Match[str]) -> str:
    section = found[1]
    return f"[threats: {section}](../threats.md#{section})" if section else "[threats.md](../threats.md)"


def _codes(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _bullets(texts: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
