"""Tests on text columns: each distinct string of a batch is tested once, not each row."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Strings

LONGEST_VALUE = 256  # characters of a peer's text that a pattern sees; Core caps user agents at 256
LONGEST_PATTERN = 200
MOST_WAYS = 1 << 18  # ways to match from one start: two open repeats over LONGEST_VALUE and two choices
GROUP_STEPS = 4  # what a repeat of a group costs beside one of a character, which Python's engine repeats in one step
REMEMBERED = 4096  # distinct strings whose answer a test keeps
IDENTITIES = 16_384  # distinct strings whose identity is kept, for all rules together

_REPEAT = re.compile(r"[*+]|\{[0-9]*,?[0-9]*\}")
_CHOICE = re.compile(r"(?<!\()\?|[*+|]|\{([0-9]*)(,?)([0-9]*)\}")
_GROUP_START = re.compile(r"\((\?:)?(?!\?)")


class TextTest:
    """A yes-or-no test of a text column; answers for dictionaries and strings seen before are cached.

    Engines in several threads may share it: a dictionary and its answers are one value.
    """

    __slots__ = ("_ask", "_last")

    def __init__(self, ask: Callable[[str], bool]) -> None:
        self._ask = lru_cache(REMEMBERED)(ask)
        self._last: tuple[tuple[str, ...], NDArray[np.bool_]] = ((), np.zeros(0, np.bool_))

    def __call__(self, column: Strings) -> NDArray[np.bool_]:
        """Return one answer a row."""
        values, answers = self._last
        if column.values is not values:
            values = column.values
            answers = np.fromiter(map(self._ask, values), np.bool_, len(values))
            self._last = (values, answers)
        return answers[column.codes]


def is_text(column: Strings, wanted: str) -> NDArray[np.bool_]:
    """Return a mask of the rows whose text is `wanted`."""
    if wanted not in column.values:
        return np.zeros(len(column), np.bool_)
    return np.equal(column.codes, column.values.index(wanted))


@lru_cache(IDENTITIES)
def text_id(value: str) -> int:
    """Return a number (int64) for a text, the same in every batch and process: BLAKE2b, 64 bits."""
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


class TextIds:
    """`text_id` of each row; the last dictionary's are kept, for batches that share one. Threads as in `TextTest`."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[tuple[str, ...], NDArray[np.int64]] = ((), np.zeros(0, np.int64))

    def __call__(self, column: Strings) -> NDArray[np.int64]:
        """Return one number a row."""
        values, ids = self._last
        if column.values is not values:
            values = column.values
            ids = np.fromiter(map(text_id, values), np.int64, len(values))
            self._last = (values, ids)
        return ids[column.codes]


def parse_network(text: str) -> tuple[int, int, int] | None:
    """Return (IP version, first, last address) of an address or CIDR range; None for other text.

    Raises ValueError when the range has bits set behind its prefix length.
    """
    base, slash, bits = text.partition("/")
    try:
        address = ipaddress.ip_address(base)
    except ValueError:
        return None
    if slash and not (bits.isdecimal() and bits.isascii() and int(bits) <= address.max_prefixlen):
        raise ValueError(f"bad prefix length '/{bits}'")
    network = ipaddress.ip_network((base, int(bits)) if slash else base, strict=False)
    if network.network_address != address:
        raise ValueError(f"bits behind the prefix length are set, the range is {network}")
    first, last = int(network.network_address), int(network.broadcast_address)
    return (network.version, first, last)


def list_test(values: Iterable[str]) -> Callable[[str], bool]:
    """Return a test of whether a text is in a list: exactly, or as an address inside a range."""
    exact: set[str] = set()
    ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for value in values:
        exact.add(value)
        network = parse_network(value)
        if network:
            ranges[network[0]].append(network[1:])
    merged = {version: _merged(spans) for version, spans in ranges.items() if spans}
    if not merged:
        return exact.__contains__

    def ask(value: str) -> bool:
        if value in exact:
            return True
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        starts, ends = merged.get(address.version, ([], []))
        index = bisect_right(starts, int(address)) - 1
        return index >= 0 and int(address) <= ends[index]

    return ask


def _merged(ranges: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Return starts and ends of ranges, sorted and without overlap."""
    starts: list[int] = []
    ends: list[int] = []
    for first, last in sorted(ranges):
        if ends and first <= ends[-1] + 1:
            ends[-1] = max(ends[-1], last)
        else:
            starts.append(first)
            ends.append(last)
    return starts, ends


def pattern_test(pattern: str) -> Callable[[str], bool]:
    """Return a test that searches a regular expression in the first LONGEST_VALUE characters of a text.

    Raises ValueError for a pattern that is wrong or that a peer's text could make slow:
    repeats inside repeated groups, look-around, back references, too many repeats and choices.
    """
    complaint = _complaint(pattern)
    if complaint:
        raise ValueError(complaint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return lambda value: compiled.search(value[:LONGEST_VALUE]) is not None


def _ways(bare: str) -> int:
    """Return an upper limit of the ways in which a pattern without nested repeats can match from one start.

    Ways through a repeated group count `GROUP_STEPS` times.
    """
    ways = 1
    for choice in _CHOICE.finditer(bare):
        if choice[0] not in ("?", "|") and bare.endswith(")", 0, choice.start()):
            ways *= GROUP_STEPS
        low, comma, high = (choice[1] or "0", choice[2], choice[3])
        if choice[0] in ("?", "|"):
            ways *= 2
        elif choice[0] in ("*", "+") or (comma and not high):
            ways *= LONGEST_VALUE
        elif comma:
            ways *= max(1, min(int(high), LONGEST_VALUE) - int(low) + 1)
        if ways > MOST_WAYS:
            break
    return ways


def _complaint(pattern: str) -> str:
    """Return the reason to refuse a pattern, or an empty text."""
    if len(pattern) > LONGEST_PATTERN:
        return f"pattern is longer than {LONGEST_PATTERN} characters"
    if re.search(r"\\[1-9]", pattern):
        return "back references are not allowed"
    bare = re.sub(r"\\.", "_", pattern)  # escapes and classes stand for one character each
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "_", bare)
    if len(_GROUP_START.findall(bare)) != bare.count("("):
        return "only plain and (?: groups are allowed"
    if _ways(bare) > MOST_WAYS:
        return "too many repeats and choices, which multiply"
    busy: list[bool] = [False]  # whether the group that is open here holds a repeat or a choice
    for index, char in enumerate(bare):
        if char == "(":
            busy.append(False)
        elif char == ")" and len(busy) > 1:
            inner = busy.pop()
            if inner and _REPEAT.match(bare, index + 1):
                return "a repeat inside a repeated group"
            busy[-1] = busy[-1] or inner
        elif char in "*+?|{" and not bare.startswith("(?:", index - 1):
            busy[-1] = True
    return ""
