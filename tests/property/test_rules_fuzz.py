"""Whatever the text, reading rules ends soon, with a rule set or with located problems."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.formula import check_row
from rules.keys import RULE_KEY_NAMES
from rules.load import load_text
from rules.syntax import parse
from rules.texts import pattern_test
from rules.tokens import ExpressionError, Flaw
from watchdog.located_yaml.problem import Problem, RuleSetError

VOCABULARY = """
and or not in where true false ( ) [ ] , = == != < > <= + - * / & | ! . : { } 1 2.5 1e9 6h 10m
entries flow kind solicited netgroup peer_addr services spies floor direction
count sum distinct rate flat anomalous mean min max if log2 abs matches has
"received" "p2p:addr" "10.0.0.0/16" 'x' \\ " '
"""
WORDS = st.sampled_from(VOCABULARY.split())
EXPRESSIONS = st.lists(WORDS, max_size=30).map(" ".join) | st.text(max_size=60)
VALUES = st.recursive(
    EXPRESSIONS | st.sampled_from(["p2p:addr", "10m", "7s", "info", "high", "conn", "eclipse", "null", "{a} {sent}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(["sent", "high", "a", "kind"]), inner, max_size=3).map(
            lambda table: "{" + ", ".join(f"{key}: {value}" for key, value in table.items()) + "}"
        )
    ),
    max_leaves=5,
)


def problems_of(text: str) -> tuple[Problem, ...]:
    """The problems of a text, none when it loads."""
    try:
        load_text(text)
    except RuleSetError as error:
        return error.problems
    return ()


def flaws_of(text: str) -> tuple[Flaw, ...]:
    """The flaws of an expression, none when it is right."""
    try:
        check_row(parse(text), ("p2p:addr", "p2p:version"), {"spies": ("10.0.0.0/8",)}, "filter")
    except ExpressionError as error:
        return error.flaws
    return ()


def settle(text: str) -> None:
    """Load a text; anything but a rule set or located problems fails the test."""
    for problem in problems_of(text):
        assert all(line.isprintable() for line in problem.render().splitlines())
        assert 1 <= problem.place.line <= len(problem.place.source.lines) + 1


@pytest.mark.fuzz
@given(st.text(max_size=300))
def test_any_text_is_a_rule_set_or_a_list_of_problems(text: str) -> None:
    settle(text)


@pytest.mark.fuzz
@given(st.dictionaries(st.sampled_from(RULE_KEY_NAMES), VALUES, max_size=12))
def test_a_rule_of_any_values_is_compiled_or_explained(keys: dict[str, str]) -> None:
    body = "".join(f"    {key}: {value}\n" for key, value in keys.items())
    settle(f"rules:\n  some-rule:\n{body}    title: x\n" if "title" not in keys else f"rules:\n  some-rule:\n{body}")


@pytest.mark.fuzz
@given(EXPRESSIONS)
def test_any_expression_is_a_tree_or_a_flaw_inside_its_text(text: str) -> None:
    for flaw in flaws_of(text):
        assert 0 <= flaw.start < max(flaw.end, 1)
        assert flaw.end <= len(text) + 1


@pytest.mark.fuzz
@given(st.text(alphabet="ab(|)*+?{1,}[]^\\.", max_size=20))
def test_any_pattern_is_taken_or_refused(pattern: str) -> None:
    with suppress(ValueError):
        assert pattern_test(pattern)("a" * 300) in {True, False}


@pytest.mark.parametrize(
    "text",
    ["(" * 1500, "not " * 1500 + "x", "-" * 1500 + "1", "a+" * 900 + "a", "a and " * 900 + "a", "[" * 1500, "f(" * 900],
)
def test_deep_expressions_are_refused_or_flat(text: str) -> None:
    messages = [flaw.message for flaw in flaws_of(text)]
    assert not [each for each in messages if not each.startswith(("nested too deeply", "expected", "unknown field"))]
