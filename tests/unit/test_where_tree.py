"""Filters that travel: true at least where the filter is, and exactly so for all that can be said in a tree."""

from __future__ import annotations

import numpy as np
import pytest

from rules.canonical import Lists
from rules.formula import RowFormula
from rules.syntax import parse
from rules.where_tree import where_tree
from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.kinds import KINDS, dtype_of
from watchdog.core.where_tree import Apply, FieldValue
from watchdog.stream.where import compiled

KIND = "net:inbound_message"
FIELDS = KINDS[KIND].fields
TYPES = {name: field.type for name, field in FIELDS.items()}
LISTS: Lists = {"mine": ("1.2.3.4", "5.6.7.8"), "ranges": ("1.2.0.0/16",), "sizes": (1, 2)}
EXACT = [
    'type == "inv"',
    'type != "inv" and size > 100',
    "size >= 0 or known",
    "not known",
    "known == false",
    'type in ["inv", "addr"]',
    'type not in ["inv"]',
    "peer_addr in mine",
    "size in sizes",
    'startswith(type, "add") or endswith(type, "v2")',
    'contains(peer, "3.4") and 100 < size',
    "size < conn",
    "true",
]
WIDER = ["size + 1 > 5 and known", "peer_addr in ranges and known", 'matches(type, "a.*") and known']
HERE = [
    "size + 1 > 5",
    'netgroup == "1.2.0.0/16"',
    "peer_addr in ranges",
    'not matches(type, "a.*")',
    "known or size * 2 > 3",
]


def messages() -> Batch:
    """Some messages with every combination of a few values."""
    rng = np.random.default_rng(7)
    rows = 500
    columns: dict[str, Column] = {}
    for name, typ in TYPES.items():
        dtype = dtype_of(typ)
        if typ == "str":
            columns[name] = Strings.of(rng.choice(["x", "in", "out"], rows).tolist())
        elif dtype is None:
            columns[name] = Blobs(np.zeros(rows + 1, np.int64), np.zeros(0, np.uint8))
        else:
            columns[name] = rng.integers(0, 2 if typ == "bool" else 200, rows).astype(dtype)
    columns["type"] = Strings.of(rng.choice(["inv", "addr", "addrv2", "tx"], rows).tolist())
    columns["peer_addr"] = Strings.of(rng.choice(["1.2.3.4", "1.2.9.9", "5.6.7.8", "8.8.8.8"], rows).tolist())
    columns["peer"] = Strings.of([f"{one!s}:8333" for one in columns["peer_addr"].tolist()])
    return Batch(KIND, "node", "source", columns)


BATCH = messages()


def both(text: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows of a filter, and those of its tree; None where none travels."""
    tree = parse(text)
    found = where_tree(tree, KIND, LISTS)
    return RowFormula(tree, (KIND,), LISTS, "filter")(BATCH), None if found is None else compiled(found, TYPES)(BATCH)


@pytest.mark.parametrize("text", EXACT)
def test_the_tree_finds_the_rows_of_the_filter(text: str) -> None:
    here, there = both(text)
    assert there is not None
    assert np.array_equal(here, there)


@pytest.mark.parametrize("text", WIDER)
def test_parts_that_cannot_travel_make_the_tree_wider(text: str) -> None:
    here, there = both(text)
    assert there is not None
    assert (there | ~here).all()
    assert there.sum() > here.sum() or np.array_equal(here, there)
    assert not there.all()


@pytest.mark.parametrize("text", HERE)
def test_what_cannot_travel_stays_here(text: str) -> None:
    assert both(text)[1] is None


def test_a_large_filter_stays_here_and_lists_travel_with_their_values() -> None:
    assert where_tree(parse(" or ".join(f"size == {n}" for n in range(300))), KIND, {}) is None
    assert where_tree(parse("size in sizes"), KIND, LISTS) == Apply("in", (FieldValue("size"), 1, 2))
