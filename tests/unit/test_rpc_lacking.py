"""Answers without the fields that they are nothing without: no fact is made of them, and each is reported."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.fake_node import v30
from tests.support.virtual_node import START, rows_of
from watchdog.core.batch import Slice
from watchdog.core.enrich import Enricher
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.columns import RpcRows
from watchdog.sources.rpc.node_state import Link
from watchdog.sources.rpc.polled_source import LivePosition
from watchdog.sources.rpc.reporter import Reporter
from watchdog.sources.rpc.rounds import LinePosition, Poll, Round

POLLS, STEP_S, SPOILED = 4, 30, 2
Row = dict[str, Any]


def polled(method: str, answer: Any) -> list[Row]:
    """Rows of four polls of a healthy node; the third has this answer to one method."""
    node = {name: good for name, good in v30(now_s=START).items() if not callable(good)}
    reporter = Reporter(
        RpcRows("node", "rpc:x", lambda _kind: True), AddressFacts(Enricher(None, {}), 1_000), LivePosition()
    )
    rows: list[Row] = []
    for number in range(POLLS):
        answers = node | {"uptime": node["uptime"] + STEP_S * number} | ({method: answer} if number == SPOILED else {})
        polls = Round((START + STEP_S * number) * 10**9, link=Link(float(STEP_S)))
        for name, result in answers.items():
            polls.polls[name] = Poll(polls.time_ns, LinePosition(), json.dumps({"result": result}).encode())
        reporter.report(polls)
        rows += rows_of([Slice("rpc:x", reporter.take(), polls.time_ns, {})])
    return rows


def without(method: str, name: str, odd: Any = None, *, gone: bool) -> Any:
    """A good answer in which a field has another value, or is gone; in all entries of a list or a table."""

    def spoil(record: Any) -> Any:
        return {key: value for key, value in record.items() if key != name} | ({} if gone else {name: odd})

    answer = v30(now_s=START)[method]
    if isinstance(answer, list):
        return [spoil(one) for one in answer]
    return {key: spoil(one) for key, one in answer.items()} if method == "getaddrmaninfo" else spoil(answer)


def of_poll(rows: list[Row], number: int) -> list[str]:
    """Kinds of the rows of one poll, without gaps."""
    time_ns = (START + STEP_S * number) * 10**9
    return [row["kind"] for row in rows if row["time_ns"] == time_ns and row["kind"] != "source:gap"]


NEEDED = [
    ("getblockchaininfo", "blocks", {"rpc:chain"}),
    ("getmempoolinfo", "size", {"rpc:mempool"}),
    ("getmempoolinfo", "bytes", {"rpc:mempool"}),
    ("getaddrmaninfo", "tried", {"rpc:addrman"}),
    ("getpeerinfo", "id", {"rpc:peer", "rpc:peers"}),
    ("getchaintips", "status", set[str]()),
]


ODD: tuple[Any, ...] = ("gone", None, [], 1 << 70, "x")
CASES = [
    (*needed, odd) for needed in NEEDED for odd in ODD if (needed[1], odd) != ("status", "x")
]  # Core may get new ones


@pytest.mark.parametrize(("method", "name", "kinds", "odd"), CASES)
def test_an_answer_without_what_it_is_about_changes_nothing_and_is_a_gap(
    method: str, name: str, kinds: set[str], odd: Any
) -> None:
    rows = polled(method, without(method, name, odd, gone=odd == "gone"))
    before, spoiled, after = (of_poll(rows, number) for number in (SPOILED - 1, SPOILED, SPOILED + 1))
    assert set(before) - set(spoiled) == kinds
    assert set(spoiled) <= set(before)
    assert after == before  # as if that answer had not come: no peer came, went, or lost a slot
    assert [row["reason"] for row in rows if row["kind"] == "source:gap"]


@pytest.mark.parametrize("odd", [{}, {"blocks": -1}, {"chain": "main"}])
def test_a_tip_does_not_get_younger_by_an_answer_without_a_height(odd: Any) -> None:
    ages = [row["tip_age_s"] for row in polled("getblockchaininfo", odd) if row["kind"] == "rpc:chain"]
    assert ages == [300, 330, 390]


@pytest.mark.parametrize("odd", ["gone", None, 0, -5, "x", 1 << 70])
def test_a_tip_does_not_get_younger_by_an_answer_without_the_time_of_its_block(odd: Any) -> None:
    answer = without("getblockchaininfo", "time", odd, gone=odd == "gone")
    ages = [row["tip_age_s"] for row in polled("getblockchaininfo", answer) if row["kind"] == "rpc:chain"]
    assert ages == [300, 330, 360, 390]
