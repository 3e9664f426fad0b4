"""Compiled expressions give what a plain evaluator gives, one row at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rules.canonical import Lists, canonical
from rules.cells import CellFormula
from rules.formula import RowFormula
from rules.syntax import parse
from watchdog.core.batch import Batch, Strings
from watchdog.core.prefix import parse_prefix

Row = Mapping[str, object]


@dataclass(frozen=True)
class Spoken:
    """An expression as text, and what it means for one row in plain Python."""

    text: str
    value: Callable[[Row], float]


LISTS: Lists = {"spies": ("10.0.0.0/8", "192.0.2.1"), "asns": (1, 2, 3)}
ADDRESSES = ("10.1.2.3", "192.0.2.1", "192.0.2.2", "11.0.0.0")
GROUPS = ("10.1.0.0/16", "AS7", "onion:3")
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "entries": st.integers(0, 1000),
            "age_s": st.integers(-10, 10),
            "asn": st.integers(0, 5),
            "solicited": st.booleans(),
            "flow": st.sampled_from(("received", "sent")),
            "peer_addr": st.sampled_from(ADDRESSES),
            "netgroup": st.sampled_from(GROUPS),
        }
    ),
    min_size=1,
    max_size=8,
)


def field(name: str) -> Spoken:
    return Spoken(name, lambda row: row[name])  # type: ignore[arg-type,return-value]  # one type for each field


def constant(value: float) -> Spoken:
    return Spoken(str(value), lambda _: value)


def ratio(above: float, below: float) -> float:
    return above / below if below else 0.0


def chosen(test: Spoken, yes: Spoken, no: Spoken) -> Spoken:
    return Spoken(
        f"if({test.text}, {yes.text}, {no.text})", lambda row: yes.value(row) if test.value(row) else no.value(row)
    )


def pair(op: str, a: Spoken, b: Spoken) -> Spoken:
    work: dict[str, Callable[[float, float], float]] = {
        "+": lambda x, y: x + y,
        "-": lambda x, y: x - y,
        "/": ratio,
        "<": lambda x, y: x < y,
        "<=": lambda x, y: x <= y,
        ">": lambda x, y: x > y,
        ">=": lambda x, y: x >= y,
        "==": lambda x, y: x == y,
        "!=": lambda x, y: x != y,
        "and": lambda x, y: bool(x and y),
        "or": lambda x, y: bool(x or y),
    }
    apply = work[op]
    return Spoken(f"({a.text} {op} {b.text})", lambda row: apply(a.value(row), b.value(row)))


def call(name: str, *args: Spoken) -> Spoken:
    work: dict[str, Callable[..., float]] = {
        "min": min,
        "max": max,
        "abs": abs,
        "log2": lambda x: float(np.log2(x)) if x > 0 else 0.0,
    }
    apply = work[name]
    texts = ", ".join(arg.text for arg in args)
    return Spoken(f"{name}({texts})", lambda row: apply(*(arg.value(row) for arg in args)))


def numbers(fields: tuple[str, ...], conditions: st.SearchStrategy[Spoken]) -> st.SearchStrategy[Spoken]:
    leaves = st.sampled_from([field(name) for name in fields]) | st.integers(-100, 100).map(constant)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(pair, st.sampled_from(["+", "-"]), inner, inner),
            st.builds(
                lambda a, n: Spoken(f"({a.text} * {n})", lambda row: a.value(row) * n), leaves, st.integers(0, 9)
            ),
            st.builds(lambda a: Spoken(f"-({a.text})", lambda row: -a.value(row)), inner),
            st.builds(lambda a: call("abs", a), inner),
            st.builds(call, st.sampled_from(["min", "max"]), inner, inner, inner),
            st.builds(chosen, conditions, inner, inner),
        ),
        max_leaves=8,
    )


def comparisons(inner: st.SearchStrategy[Spoken]) -> st.SearchStrategy[Spoken]:
    return st.builds(pair, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), inner, inner)


def logic(leaves: st.SearchStrategy[Spoken]) -> st.SearchStrategy[Spoken]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(pair, st.sampled_from(["and", "or"]), inner, inner),
            st.builds(lambda a: Spoken(f"not {a.text}", lambda row: not a.value(row)), inner),
        ),
        max_leaves=10,
    )


TEXT_TESTS = st.sampled_from(
    [
        field("solicited"),
        Spoken("solicited == false", lambda row: row["solicited"] is False),
        Spoken('flow == "received"', lambda row: row["flow"] == "received"),
        Spoken('"sent" != flow', lambda row: row["flow"] != "sent"),
        Spoken('flow in ["sent"]', lambda row: row["flow"] == "sent"),
        Spoken('startswith(peer_addr, "192.")', lambda row: str(row["peer_addr"]).startswith("192.")),
        Spoken('matches(peer_addr, "[02]$")', lambda row: str(row["peer_addr"])[-1] in "02"),
        Spoken("peer_addr in spies", lambda row: row["peer_addr"] in ADDRESSES[:2]),
        Spoken("asn not in asns", lambda row: row["asn"] not in {1, 2, 3}),
        Spoken("asn in [0, 5]", lambda row: row["asn"] in {0, 5}),
        Spoken('netgroup == "AS7"', lambda row: row["netgroup"] == "AS7"),
        Spoken('netgroup in ["AS7", "onion:3"]', lambda row: row["netgroup"] in GROUPS[1:]),
        Spoken('kind == "p2p:addr"', lambda _: True),
        Spoken('(kind == "p2p:inv" and tx > 3)', lambda _: False),
    ]
)
ROW_NUMBERS = numbers(("entries", "age_s", "asn"), TEXT_TESTS)
CONDITIONS = logic(TEXT_TESTS | comparisons(ROW_NUMBERS))
KINDS = ("p2p:addr", "p2p:inv")


def batch(rows: list[dict[str, object]]) -> Batch:
    def column(name: str) -> list[object]:
        return [row[name] for row in rows]

    texts = {name: Strings.of([str(value) for value in column(name)]) for name in ("flow", "peer_addr")}
    return Batch(
        "p2p:addr",
        "node",
        "source",
        {
            "time_ns": np.arange(len(rows)),
            "entries": np.array(column("entries"), np.uint32),
            "age_s": np.array(column("age_s"), np.int64),
            "asn": np.array(column("asn"), np.uint32),
            "solicited": np.array(column("solicited"), np.bool_),
            "netgroup": np.array([parse_prefix(str(text)) for text in column("netgroup")], np.uint64),
            **texts,
        },
    )


@given(spoken=CONDITIONS, rows=ROWS)
def test_a_condition_holds_for_the_rows_that_plain_python_picks(spoken: Spoken, rows: list[dict[str, object]]) -> None:
    formula = RowFormula(parse(spoken.text), KINDS, LISTS, "filter")
    assert formula(batch(rows)).tolist() == [bool(spoken.value(row)) for row in rows]


@given(spoken=ROW_NUMBERS, rows=ROWS)
def test_a_number_of_a_row_is_what_plain_python_calculates(spoken: Spoken, rows: list[dict[str, object]]) -> None:
    formula = RowFormula(parse(spoken.text), KINDS, LISTS, "number")
    assert formula(batch(rows)).tolist() == [int(spoken.value(row)) for row in rows]


@given(spoken=CONDITIONS, rows=ROWS)
def test_equal_conjuncts_hold_for_every_matching_row(spoken: Spoken, rows: list[dict[str, object]]) -> None:
    formula = RowFormula(parse(spoken.text), KINDS, LISTS, "filter")
    for row, matched in zip(rows, formula(batch(rows)), strict=True):
        assert not matched or all(row[name] == wanted for name, wanted in formula.equals)


@given(spoken=CONDITIONS, rows=ROWS)
def test_the_canonical_text_means_the_same_as_the_text(spoken: Spoken, rows: list[dict[str, object]]) -> None:
    tree = parse(spoken.text)
    text = canonical(tree, LISTS)
    again = parse(text.partition("#")[0]) if "#" not in text else tree
    events = batch(rows)
    first, second = (RowFormula(each, KINDS, LISTS, "filter") for each in (tree, again))
    assert first(events).tolist() == second(events).tolist()
    assert first.text == second.text


CELL_LEAVES = numbers(("a", "b"), comparisons(st.sampled_from([field("a"), field("b")])))
CELL_NUMBERS = st.one_of(
    CELL_LEAVES,
    st.builds(lambda a, b: pair("/", a, b), CELL_LEAVES, CELL_LEAVES),
    st.builds(lambda a: call("log2", a), CELL_LEAVES),
)


@given(
    spoken=logic(comparisons(CELL_NUMBERS)),
    cells=st.lists(st.tuples(st.integers(-9, 999), st.floats(-9, 9)), min_size=1, max_size=8),
)
def test_a_verdict_over_measures_is_what_plain_python_decides(spoken: Spoken, cells: list[tuple[int, float]]) -> None:
    formula = CellFormula(parse(spoken.text), {"a": "int", "b": "float"})
    columns = {"a": np.array([a for a, _ in cells], np.int64), "b": np.array([b for _, b in cells])}
    found = np.broadcast_to(formula(columns), (len(cells),)).tolist()
    assert found == [bool(spoken.value({"a": a, "b": b})) for a, b in cells]
    assert formula.names <= {"a", "b"}
