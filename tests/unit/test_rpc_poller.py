"""A polled node over real HTTP on a virtual clock: rounds, failures, refusals, restarts, gaps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support import fake_node
from tests.support.fake_node import Answer, FakeNode, NodeError, knots, tip_hash, v22, v30
from tests.support.snapshot_polls import entry
from tests.support.virtual_node import START, Event, VirtualTime, rows_of, rpc_source, slices_of

MINUTE = 60.0
Each = Callable[[FakeNode, float], object]


def polled(
    folder: Path,
    answers: dict[str, Answer],
    seconds: float,
    *kinds: str,
    each: Each | None = None,
    settings: dict[str, object] | None = None,
    begin: Callable[[FakeNode], object] | None = None,
) -> tuple[list[Event], FakeNode]:
    """Poll for virtual seconds; the rows, and the node with what it was asked."""
    time = VirtualTime(START + seconds)
    with FakeNode(folder, answers) as node:
        if begin is not None:
            begin(node)
        if each is not None:
            time.each = lambda now_s: each(node, now_s - START)
        source = rpc_source(node, time, *kinds, settings=settings)
        rows = rows_of(slices_of(source))
        source.close()
        return rows, node


def of_kind(rows: list[Event], kind: str) -> list[Event]:
    return [row for row in rows if row["kind"] == kind]


def changing(answers: dict[str, Answer], method: str, at: list[tuple[float, Any]]) -> tuple[dict[str, Answer], Each]:
    """Return answers, and what sets another answer of a method at given times, seconds after START."""

    def each(node: FakeNode, now_s: float) -> None:
        for since_s, answer in at:
            if now_s >= since_s:
                node.answers[method] = answer

    return answers, each


def test_every_version_is_read_without_a_gap(tmp_path: Path) -> None:
    for name, version in {"v22": v22, "v30": v30, "knots": knots}.items():
        folder = tmp_path / name
        folder.mkdir()
        rows, node = polled(folder, version(now_s=START), 700)
        assert not of_kind(rows, "source:gap"), name
        assert {"rpc:peer", "rpc:peers", "rpc:chain", "rpc:network", "rpc:nettotals", "rpc:mempool"} <= {
            row["kind"] for row in rows
        }
        assert node.count("getpeerinfo") == 24
        assert node.most_at_once == 1
        assert of_kind(rows, "rpc:chain")[0]["hash"] == tip_hash(900_000)


def test_methods_before_v26_are_named_once_and_are_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "watchdog.sources"):
        _, node = polled(tmp_path, v22(now_s=START), 3_000)
    absent = [line for line in caplog.messages if "before v26" in line]
    assert len(absent) == 2
    assert node.count("getaddrmaninfo") == 6  # tried again each ten minutes


def test_calls_without_a_reader_fall_away(tmp_path: Path) -> None:
    _, node = polled(tmp_path, v30(now_s=START), 700, "rpc:peers")
    asked = {method for method, _ in node.asked}
    assert not asked & {"getchaintips", "getrawaddrman", "getblockheader", "getblockhash"}
    assert {"getpeerinfo", "getblockchaininfo", "uptime", "getnetworkinfo", "getmempoolinfo"} <= asked


def test_a_tip_has_its_hash_and_a_new_height_is_a_tip(tmp_path: Path) -> None:
    answers = v30(now_s=START)
    later = dict(answers["getblockchaininfo"]) | {"blocks": 900_001, "bestblockhash": tip_hash(900_001)}
    _, each = changing(answers, "getblockchaininfo", [(60, later)])
    rows, _ = polled(tmp_path, answers, 200, "chain:tip", each=each)
    assert [(row["height"], row["hash"]) for row in rows] == [(900_001, tip_hash(900_001))]


# ---- failures ----

GAPS = [
    ("getpeerinfo", fake_node.fault(-32603, "internal"), "getpeerinfo: fault"),
    ("getnettotals", fake_node.garbage(b"\x00" * 80), "getnettotals: garbage"),
    ("getmempoolinfo", fake_node.half(b'{"result":', 900), "getmempoolinfo: garbage"),
    ("getrawaddrman", fake_node.huge((64 << 20) + 1), "getrawaddrman: too-large"),
    ("getpeerinfo", fake_node.status(200, b'{"result":[1,2'), "answer that cannot be read"),
    ("getchaintips", fake_node.status(200, b'{"result":"none"}'), "answer that cannot be read"),
]


@pytest.mark.parametrize(("method", "behaviour", "reason"), GAPS)
def test_one_call_that_fails_is_a_gap_and_the_others_continue(
    tmp_path: Path, method: str, behaviour: fake_node.Behaviour, reason: str
) -> None:
    rows, _ = polled(tmp_path, v30(now_s=START), 100, begin=lambda node: node.behave(method, behaviour))
    assert {row["reason"] for row in of_kind(rows, "source:gap")} == {reason}
    assert len(of_kind(rows, "rpc:chain")) == 4


def test_fields_of_another_type_are_reported_once(tmp_path: Path) -> None:
    answers = v30(now_s=START)
    answers["getnetworkinfo"] = dict(answers["getnetworkinfo"]) | {"connections": "ten", "timeoffset": [1]}
    rows, _ = polled(tmp_path, answers, 900, "rpc:network", "source:gap")
    assert [(row["reason"], row["lost"]) for row in of_kind(rows, "source:gap")] == [("fields of another type", 2)]
    assert len(of_kind(rows, "rpc:network")) == 16


def test_a_forbidden_method_is_disabled_alone_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def begin(node: FakeNode) -> None:
        node.whitelist = frozenset({"getblockchaininfo", "uptime", "getpeerinfo"})

    def each(node: FakeNode, now_s: float) -> None:
        if now_s > 700:
            node.whitelist = None

    rows, node = polled(tmp_path, v30(now_s=START), 1_500, begin=begin, each=each)
    assert not of_kind(rows, "source:gap")
    networks = of_kind(rows, "rpc:network")
    assert networks
    assert networks[0]["time_ns"] >= (START + 1_200) * 10**9
    assert node.count("getpeerinfo") == 51


def test_a_node_that_forbids_everything_is_down(tmp_path: Path) -> None:
    rows, node = polled(tmp_path, v30(now_s=START), 200, begin=lambda node: node.behave("*", fake_node.status(403)))
    assert {row["kind"] for row in rows} == {"source:gap"}
    assert "403" in rows[0]["reason"]
    assert 0 < node.count("getblockchaininfo") < 12


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (fake_node.fault(-28, "Loading block index"), "starting"),
        (fake_node.status(503, b"Work queue depth exceeded"), "503"),
        (fake_node.status(401), "401"),
    ],
)
def test_a_node_that_is_not_ready_is_asked_ever_more_rarely(
    tmp_path: Path, behaviour: fake_node.Behaviour, words: str
) -> None:
    def each(node: FakeNode, now_s: float) -> None:
        if now_s > 400:
            node.behave("*", None)

    rows, node = polled(tmp_path, v30(now_s=START), 600, each=each, begin=lambda node: node.behave("*", behaviour))
    gaps = of_kind(rows, "source:gap")
    assert all(words in row["reason"] for row in gaps)
    spans = [(row["from_ns"], row["to_ns"]) for row in gaps]
    assert spans[0][0] == START * 10**9
    assert all(end == begin for (_, end), (begin, _) in pairwise(spans)), "one after the other"
    assert of_kind(rows, "rpc:peers")
    early = [method for method, _ in list(node.asked)[:20]]
    assert early[:9] == ["getblockchaininfo"] * 9, "one call each time: 1, 2, 4, ... 60 s"


def test_a_silent_node_costs_one_call_at_a_time(tmp_path: Path) -> None:
    time = VirtualTime(START + 120)
    with FakeNode(tmp_path, v30(now_s=START)) as node:
        node.behave("*", fake_node.hanging)
        source = rpc_source(node, time, settings={"timeout": 200_000_000})
        rows = rows_of(slices_of(source))
        assert source.calls["getblockchaininfo"].errors["timeout"] == node.count("getblockchaininfo")
        assert {row["kind"] for row in rows} == {"source:gap"}
        assert {method for method, _ in node.asked} == {"getblockchaininfo"}
        source.close()


def test_the_wrong_chain_gives_nothing(tmp_path: Path) -> None:
    rows, _ = polled(tmp_path, v30(now_s=START), 300, settings={"chain": "signet"})
    assert {row["kind"] for row in rows} == {"source:gap"}
    assert "'main'" in rows[0]["reason"]
    assert "'signet'" in rows[0]["reason"]
    rows, _ = polled(tmp_path, v30(now_s=START), 300, settings={"chain": "main"})
    assert not of_kind(rows, "source:gap")


def test_a_chain_that_cannot_be_known_gives_nothing(tmp_path: Path) -> None:
    def begin(node: FakeNode) -> None:
        node.whitelist = frozenset({"uptime", "getpeerinfo"})

    rows, _ = polled(tmp_path, v30(now_s=START), 300, settings={"chain": "main"}, begin=begin)
    assert {row["kind"] for row in rows} == {"source:gap"}


# ---- restarts and clocks ----


def peers_from(first: int, now_s: int = START) -> list[dict[str, Any]]:
    return [fake_node.peer_v30(number - first, now_s) | {"id": number} for number in range(first, first + 10)]


def test_a_restart_is_a_fall_of_uptime_with_new_ids(tmp_path: Path) -> None:
    answers = v30(now_s=START) | {"getpeerinfo": peers_from(500)}

    def each(node: FakeNode, now_s: float) -> None:
        if now_s >= 100:
            node.answers |= {"uptime": int(now_s) - 95, "getpeerinfo": peers_from(0)}
        else:
            node.answers["uptime"] = 100_000 + int(now_s)

    rows, _ = polled(tmp_path, answers, 400, "node:started", "peer:connected", "rpc:uptime", each=each)
    started = of_kind(rows, "node:started")
    assert len(started) == 1
    assert (START + 100) * 10**9 <= started[0]["time_ns"] <= (START + 125) * 10**9
    assert not of_kind(rows, "peer:connected"), "the peers of a new process are its baseline"


def test_without_uptime_a_restart_is_seen_by_ids_alone(tmp_path: Path) -> None:
    answers = v30(now_s=START) | {"getpeerinfo": peers_from(500)}

    def each(node: FakeNode, now_s: float) -> None:
        node.answers["getpeerinfo"] = peers_from(500) if now_s < 100 else [] if now_s < 200 else peers_from(0)

    rows, _ = polled(tmp_path, answers, 400, "node:started", each=each, settings={"intervals": {"uptime": 0}})
    assert not of_kind(rows, "node:started"), "no peers for a while is no restart, and ids say nothing after that"

    def at_once(node: FakeNode, now_s: float) -> None:
        node.answers["getpeerinfo"] = peers_from(500) if now_s < 100 else peers_from(0)

    rows, _ = polled(tmp_path, answers, 400, "node:started", each=at_once, settings={"intervals": {"uptime": 0}})
    assert len(of_kind(rows, "node:started")) == 1


def test_a_restart_without_peers_is_a_fall_of_uptime_after_a_refusal(tmp_path: Path) -> None:
    answers = v30(now_s=START) | {"getpeerinfo": []}

    def each(node: FakeNode, now_s: float) -> None:
        if 100 <= now_s < 101.5:
            node.stop()
        elif now_s >= 140 and node.refuses:
            node.start()
        node.answers["uptime"] = int(now_s) - 139 if now_s >= 140 else 100_000 + int(now_s)

    rows, _ = polled(tmp_path, answers, 400, "node:started", each=each)
    assert len(of_kind(rows, "node:started")) == 1


def test_a_step_of_the_nodes_clock_is_no_restart(tmp_path: Path) -> None:
    """Before Core 31 `uptime` followed the wall clock; peers that stayed prove the same process."""
    for peers in (peers_from(500), []):
        answers = v30(now_s=START) | {"getpeerinfo": peers}

        def each(node: FakeNode, now_s: float) -> None:
            node.answers["uptime"] = (100_000 if now_s < 100 else 90_000) + int(now_s)

        rows, _ = polled(tmp_path, answers, 400, "node:started", each=each)
        assert not of_kind(rows, "node:started")


def test_the_address_tables_are_compared_across_a_restart(tmp_path: Path) -> None:
    def table(*hosts: int) -> dict[str, Any]:
        new = {f"{host}/1": entry(f"9.{host}.1.1", time=START) for host in hosts}
        return {"new": new, "tried": {}}

    answers = v30(now_s=START) | {"getrawaddrman": table(1, 2, 3, 4)}

    def each(node: FakeNode, now_s: float) -> None:
        if 100 <= now_s < 101.5:
            node.stop()
        elif now_s >= 110 and node.refuses:
            node.answers["getrawaddrman"] = table(1, 2, 3, 4, 5)
            node.start()

    rows, _ = polled(tmp_path, answers, 700, "addrman:insert", each=each)
    assert [row["address"] for row in of_kind(rows, "addrman:insert")] == ["9.5.1.1"]


def test_errors_of_a_method_are_logged_once_an_episode(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_params: list[Any]) -> Any:
        raise NodeError(-1, "not now")

    with caplog.at_level(logging.WARNING, "watchdog.sources"):
        polled(tmp_path, v30(now_s=START) | {"getmempoolinfo": refuse}, 1_200)
    assert len([line for line in caplog.messages if "getmempoolinfo" in line]) == 1


def test_a_later_run_continues_where_the_checkpoint_was(tmp_path: Path) -> None:
    time = VirtualTime(START + 100)
    answers = v30(now_s=START)
    with FakeNode(tmp_path, answers) as node:
        source = rpc_source(node, time)
        slices = list(slices_of(source))
        source.close()
        position = slices[-1].position
        node.answers["getpeerinfo"] = [*answers["getpeerinfo"][1:], fake_node.peer_v30(77, START)]
        time = VirtualTime(START + 200, now_s=START + 110)
        source = rpc_source(node, time, position=position)
        rows = rows_of(slices_of(source))
        source.close()
    assert [row["conn"] for row in of_kind(rows, "peer:connected")] == [77]
    assert [row["conn"] for row in of_kind(rows, "peer:disconnected")] == [0]
    gaps = of_kind(rows, "source:gap")
    assert [(row["kinds"], row["reason"]) for row in gaps] == [("addrman:", "not polled")]


def test_credentials_appear_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secrets: list[str] = []

    def begin(node: FakeNode) -> None:
        secrets.append(node.cookie.read_text().partition(":")[2])
        node.behave("getnettotals", fake_node.status(500, b'{"error":{"code":-1,"message":"x"}}'))

    def each(node: FakeNode, now_s: float) -> None:
        if 100 <= now_s < 101.5:
            node.restart()
            secrets.append(node.cookie.read_text().partition(":")[2])
        node.behave("*", fake_node.status(401) if 200 <= now_s < 260 else None)

    with caplog.at_level(logging.DEBUG):
        rows, _ = polled(tmp_path, v30(now_s=START), 400, begin=begin, each=each)
    shown = "\n".join([*caplog.messages, *map(str, rows)])
    assert len(set(secrets)) >= 2
    assert not [secret for secret in secrets if secret in shown]
    assert "Basic " not in shown


def test_a_step_of_the_nodes_clock_is_shown_for_a_minute(tmp_path: Path) -> None:
    time = VirtualTime(START + 400)
    shown: list[tuple[float, str]] = []
    with FakeNode(tmp_path, v30(now_s=START)) as node:
        source = rpc_source(node, time, "rpc:nettotals")

        def each(now_s: float) -> None:
            step_s = 3_600 if now_s >= START + 100 else 0
            node.answers["getnettotals"] = {"timemillis": int((now_s + step_s) * 1000)}
            shown.append((now_s - START, source.clock_step))

        time.each = each
        rows_of(slices_of(source))
        source.close()
    times = [at_s for at_s, text in shown if "set ahead by 36" in text]
    assert 100 <= min(times) <= 130
    assert 55 <= max(times) - min(times) <= 65


def test_a_refused_call_names_what_it_feeds(tmp_path: Path) -> None:
    with FakeNode(tmp_path, v30(now_s=START)) as node:
        node.whitelist = frozenset({"getblockchaininfo", "uptime", "getpeerinfo", "getnetworkinfo"})
        source = rpc_source(node, VirtualTime(START + 100))
        rows_of(slices_of(source))
        assert source.forbidden["getrawaddrman"] >= {"addrman:insert"}
        assert source.forbidden["getchaintips"] == {"rpc:chain_tip"}
        assert "getpeerinfo" not in source.forbidden
        source.close()
