"""Text columns: lists, ranges, patterns, identities."""

from __future__ import annotations

import time

import numpy as np
import pytest

from rules.texts import LONGEST_VALUE, TextIds, TextTest, is_text, list_test, parse_network, pattern_test
from watchdog.core.batch import Strings


def test_each_distinct_string_is_asked_once() -> None:
    asked: list[str] = []

    def ask(value: str) -> bool:
        asked.append(value)
        return value == "a"

    test = TextTest(ask)
    column = Strings(np.array([0, 1, 0, 0], np.int32), ("a", "b"))
    assert test(column).tolist() == [True, False, True, True]
    assert test(Strings.of(["b", "c", "a"])).tolist() == [False, False, True]
    assert asked == ["a", "b", "c"]


def test_a_string_that_is_not_in_the_dictionary_matches_no_row() -> None:
    assert is_text(Strings.of(["a", "b"]), "c").tolist() == [False, False]
    assert is_text(Strings.of([]), "c").tolist() == []


def test_text_identities_are_equal_across_batches() -> None:
    ids = TextIds()
    first, second = ids(Strings.of(["x", "y"])), ids(Strings.of(["y", "x", "y"]))
    assert first.tolist() == [second[1], second[0]]


def test_addresses_match_ranges_of_a_list() -> None:
    inside = list_test(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "abc.onion"])
    assert all(inside(text) for text in ("10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8::1", "abc.onion"))
    assert not any(inside(text) for text in ("11.0.0.0", "9.255.255.255", "192.0.2.8", "2001:db9::", "", "x.onion"))


def test_neighbouring_ranges_are_merged_without_gaps() -> None:
    inside = list_test([f"10.0.{n}.0/24" for n in range(0, 16, 2)] + [f"10.0.{n}.0/24" for n in range(1, 16, 2)])
    assert all(inside(f"10.0.{n}.255") for n in range(16))
    assert not inside("10.0.16.0")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/x", "::1/64", "1.2.3.4/"])
def test_a_range_that_is_a_typing_mistake_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="prefix length"):
        parse_network(text)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a*)*b",
        "(a|b)*",
        "(a|aa)+$",
        "(?=x)",
        r"(a)\1",
        "(?P<n>a)",
        ".*.*.*",
        "((a?){3}){4}",
        "a?" * 30,
        "a{0,100}" * 3,
        "(a|b)" * 20,
        r"(a{,30}a(a)\w{,30}(a){2,}x)",  # took two seconds
        "a{,30}(a)+(?:aa)(?:a?)?(?:a?)?x",
        "a" * 300,
        "[",
    ],
)
def test_patterns_that_a_peer_could_make_slow_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        pattern_test(pattern)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (r"^/Satoshi:\d+\.\d+", "/Satoshi:27.0.0/", "/satoshi:27/"),
        (r"(?:crawl|probe|scan)er?", "my-crawler", "node"),
        (r"[)(]+", "a(b", "ab"),
        (r"\(x\)*$", "(x", "y"),
        (r"^a{2,3}$", "aaa", "aaaa"),
        (r"^/(?:Satoshi|Knots)?:\d+\.\d+", "/Knots:27.0", "/knots:27.0"),
        (r"^/(?:Satoshi:)+\d+", "/Satoshi:27", "/Knots:27"),
    ],
)
def test_plain_patterns_are_taken(pattern: str, yes: str, no: str) -> None:
    ask = pattern_test(pattern)
    assert ask(yes)
    assert not ask(no)


def test_the_slowest_pattern_that_is_taken_stays_quick_on_hostile_text() -> None:
    ask = pattern_test(".*a.*b")
    start = time.process_time()
    assert not ask("a" * 100_000)
    assert time.process_time() - start < 5, "without the limit of length it takes hours"


def test_a_pattern_sees_the_first_characters_only() -> None:
    assert not pattern_test("x$")("a" * LONGEST_VALUE + "x")
