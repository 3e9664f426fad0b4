"""Tips of getchaintips from poll to poll, and the header that decides about one ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.catalogue import check_batch
from tests.support.fake_node import FakeNode, tip_hash, v30
from tests.support.virtual_node import START, Event, VirtualTime, incidents_of, rows_of, rpc_source, slices_of
from watchdog.core.batch import Batch
from watchdog.sources.rpc.answers import MAX_TIPS

EVERY = 300
Tip = dict[str, Any]


def tip(height: int, branch: int = 0, status: str = "active", length: int = 0) -> Tip:
    return {"height": height, "hash": tip_hash(height, branch), "branchlen": length, "status": status}


def polled(
    folder: Path, *polls: list[Tip], work: dict[str, int] | None = None, until: int = 0
) -> tuple[list[Event], FakeNode]:
    """Serve one list of tips after the other, five minutes each; the rows of rpc:chain_tip, and the node."""
    time = VirtualTime(START + EVERY * max(len(polls), until) - 20)
    answers = v30(now_s=START) | {
        "getchaintips": lambda _: polls[min(len(polls) - 1, int((time.now_s - START + 5) // EVERY))],
        "getblockheader": lambda params: {"hash": params[0], "chainwork": f"{(work or {}).get(params[0], 0):064x}"},
    }
    with FakeNode(folder, answers) as node:
        source = rpc_source(node, time, "rpc:chain_tip", "source:gap")
        rows = rows_of(slices_of(source))
        source.close()
    assert [row for row in rows if row["kind"] == "source:gap"] == []
    return rows, node


def short(rows: list[Event]) -> list[tuple[int, str, int]]:
    return [(row["height"], row["status"], row["branch_blocks"]) for row in rows]


OLD = [tip(100 + n, 1, "valid-fork", 1) for n in range(20)]


def test_the_first_poll_only_learns(tmp_path: Path) -> None:
    rows, node = polled(tmp_path, [tip(900), *OLD], [tip(900), *OLD])
    assert rows == []
    assert node.count("getchaintips") == 2
    assert node.count("getblockheader") == 0


def test_a_tip_is_reported_when_new_longer_or_of_another_status(tmp_path: Path) -> None:
    rows, _ = polled(
        tmp_path,
        [tip(900), *OLD],
        [tip(901), tip(900, 2, "valid-headers", 1), *OLD],
        [tip(901), tip(900, 2, "valid-fork", 1), *OLD],
        [tip(901), tip(901, 2, "valid-fork", 2), *OLD],
        [tip(901, 2), tip(901, 0, "valid-fork", 2), *OLD],
    )
    assert short(rows) == [
        (901, "active", 0),
        (900, "valid-headers", 1),
        (900, "valid-fork", 1),
        (901, "valid-fork", 2),
        (901, "active", 0),
        (901, "valid-fork", 2),
    ]
    assert rows[3]["hash"] == tip_hash(901, 2)


def test_a_thousand_tips_at_most(tmp_path: Path) -> None:
    many = [tip(n, 3, "valid-fork", 1) for n in range(1, MAX_TIPS + 500)]
    time = VirtualTime(START + 2 * EVERY)
    answers = v30(now_s=START) | {"getchaintips": [*many, tip(9_000)]}
    with FakeNode(tmp_path, answers) as node:
        source = rpc_source(node, time, "rpc:chain_tip", "source:gap")
        rows = rows_of(slices_of(source))
        source.close()
    assert {row["kind"] for row in rows} == {"source:gap"}
    assert {row["lost"] for row in rows} == {500}


def test_odd_tips_are_taken_as_they_are(tmp_path: Path) -> None:
    odd: list[Any] = [{"height": "x"}, {}, 7, None, {"height": 5, "hash": "", "status": "active"}]
    time = VirtualTime(START + 3 * EVERY)
    with FakeNode(tmp_path, v30(now_s=START) | {"getchaintips": [*odd, tip(9)]}) as node:
        source = rpc_source(node, time, "rpc:chain_tip")
        assert [row for row in rows_of(slices_of(source)) if row["kind"] == "rpc:chain_tip"] == []
        source.close()


AHEAD = tip_hash(905, 4)


def test_a_tip_ahead_at_its_second_poll_has_its_header_asked_once(tmp_path: Path) -> None:
    polls = [[tip(900)], [tip(900), tip(905, 4, "invalid", 5)]]
    work = {AHEAD: 50, tip_hash(900): 40}
    rows, node = polled(tmp_path, *polls, work=work, until=6)
    assert [(row["polls"], row["more_work"], row["ahead"]) for row in rows] == [
        (1, False, 5), (2, True, 5), (3, True, 5), (4, True, 5), (5, True, 5),
    ]  # fmt: skip
    assert [params for method, params in node.asked if method == "getblockheader"] == [[AHEAD], [tip_hash(900)]]


def test_less_work_is_said_once_and_then_left_alone(tmp_path: Path) -> None:
    polls = [[tip(900)], [tip(900), tip(905, 4, "headers-only", 5)]]
    rows, _ = polled(tmp_path, *polls, work={AHEAD: 30, tip_hash(900): 40}, until=6)
    assert [(row["polls"], row["more_work"]) for row in rows] == [(1, False), (2, False)]


def test_a_node_that_catches_up_never_comes_to_a_second_poll(tmp_path: Path) -> None:
    polls = [[tip(900)], *([tip(900 + 10 * n), tip(990, 4, "headers-only", 90 - 10 * n)] for n in range(6))]
    rows, node = polled(tmp_path, *polls, work={tip_hash(990, 4): 99})
    assert max(row["polls"] for row in rows) == 1
    assert node.count("getblockheader") == 0


def test_headers_that_grow_are_one_chain(tmp_path: Path) -> None:
    polls = [[tip(900)], *([tip(900), tip(903 + n, 5, "headers-only", 3 + n)] for n in range(4))]
    rows, _ = polled(tmp_path, *polls, work={tip_hash(904, 5): 60, tip_hash(900): 40})
    assert [(row["height"], row["polls"], row["more_work"]) for row in rows] == [
        (903, 1, False), (904, 2, True), (905, 3, True), (906, 4, True),
    ]  # fmt: skip


def test_a_withheld_chain_is_critical_end_to_end(tmp_path: Path) -> None:
    time = VirtualTime(START + 5 * EVERY)
    tips = [tip(900), tip(905, 4, "headers-only", 5)]
    answers = v30(now_s=START) | {
        "getchaintips": lambda _: tips if time.now_s > START + 60 else tips[:1],
        "getblockheader": lambda params: {"hash": params[0], "chainwork": "ff" if params[0] == AHEAD else "0f"},
    }
    with FakeNode(tmp_path, answers) as node:
        source = rpc_source(node, time, "rpc:chain_tip", "rpc:chain")
        found = incidents_of(source, slices_of(source))
        source.close()
    assert [(one.rule, one.severity) for one in found] == [("chain-invalid-ahead", "critical")]


def test_batches_fit_the_catalogue(tmp_path: Path) -> None:
    time = VirtualTime(START + 2 * EVERY)
    answers = v30(now_s=START) | {"getchaintips": lambda _: [tip(900 + int(time.now_s - START) // EVERY)]}
    with FakeNode(tmp_path, answers) as node:
        source = rpc_source(node, time)
        batches: list[Batch] = [batch for one in slices_of(source) for batch in one.batches]
        source.close()
    assert {"rpc:chain_tip", "rpc:chain"} <= {batch.kind for batch in batches}
    for batch in batches:
        check_batch(batch)
