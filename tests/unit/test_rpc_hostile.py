"""Answers of a hostile node: no shape, size or text ends the poller, fills the memory or spoils a checkpoint."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import fake_node
from tests.support.fake_node import FakeNode, tip_hash, v30
from tests.support.virtual_node import START, VirtualTime, rows_of, rpc_source, slices_of
from watchdog.core.enrich import Enricher
from watchdog.sources.rpc import answers, chain_tips, errors
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.answer_bounds import BOUNDS, bounds_of, excess
from watchdog.sources.rpc.client import RpcClient
from watchdog.sources.rpc.columns import RpcRows
from watchdog.sources.rpc.connect import HttpConnection
from watchdog.sources.rpc.credentials import CookieCredentials, PasswordCredentials
from watchdog.sources.rpc.node_state import Link
from watchdog.sources.rpc.polled_source import LivePosition
from watchdog.sources.rpc.reporter import Reporter
from watchdog.sources.rpc.rounds import LinePosition, Poll, Round

ODD: list[Any] = [
    None, -1, 1 << 63, 10**400, -(10**400), "nan", "9" * 400, "x" * 60_000, "\x00\x1b[31m\n", [], {}, [[]], [1],
]  # fmt: skip
ENTRY = {"address": "1.2.3.4", "port": 8333, "services": 9, "time": START, "source": "1.2.3.4", "mapped_as": 3}
OPTIONAL = ("pingwait", "mapped_as", "inflight", "permissions", "warnings", "total", "source_mapped_as")


def answers_of_node() -> dict[str, Any]:
    """Return the answers of a node that take no parameter, with one entry in every list."""
    node = {method: answer for method, answer in v30(now_s=START).items() if not callable(answer)}
    return node | {"getpeerinfo": node["getpeerinfo"][:1], "getrawaddrman": {"new": {"1/2": ENTRY}, "tried": {}}}


def spoiled(answer: Any) -> Iterator[Any]:
    """Yield an answer with each of its parts replaced by each odd value."""
    yield from ODD
    if isinstance(answer, dict):
        for key, value in answer.items():
            yield from ({**answer, key: odd} for odd in spoiled(value))
        yield from ({**answer, key: odd} for key in OPTIONAL if key not in answer for odd in ODD)
    elif isinstance(answer, list) and answer:
        yield from ([odd, *answer[1:]] for odd in spoiled(answer[0]))


GOOD = {method: json.dumps({"result": answer}).encode() for method, answer in answers_of_node().items()}


def reported(method: str, answer: Any) -> int:
    """Report a good round, one with this answer and a good one; return the bytes of the last position."""
    memory = LivePosition()
    rows = RpcRows("node", "rpc:x", lambda _kind: True)
    reporter = Reporter(rows, AddressFacts(Enricher(None, {}), 1_000), memory)
    size = 0
    for number in range(3):
        polls = Round(START * 10**9 + number * 30 * 10**9, link=Link(30.0))
        given = GOOD | ({method: json.dumps({"result": answer}).encode()} if number == 1 else {})
        for name, body in given.items():
            polls.polls[name] = Poll(polls.time_ns, LinePosition(), body)
        chain_tips.due_headers(memory.tips, answers.chain_tips(polls.polls["getchaintips"].line, _ignore) or [])
        totals = answers.net_totals(polls.polls["getnettotals"].line, _ignore)
        assert totals is None or totals.timemillis / 1e3 < 1e20
        reporter.report(polls)
        reporter.take()
        memory.last_peers = reporter.known_peers()
        stored = msgspec.msgpack.encode(msgspec.to_builtins(memory))  # as a checkpoint does
        assert msgspec.convert(msgspec.msgpack.decode(stored), LivePosition) == memory
        size = max(size, len(stored))
    return size


def _ignore(_reason: str, _count: int) -> None:
    pass


@pytest.mark.parametrize("method", sorted(answers_of_node()))
def test_no_value_of_any_field_ends_the_poller_or_spoils_a_checkpoint(method: str) -> None:
    sizes = [reported(method, answer) for answer in spoiled(answers_of_node()[method])]
    assert len(sizes) >= len(ODD)
    assert max(sizes) < 32_000  # texts of 60,000 characters are not kept


@pytest.mark.parametrize("method", ["getpeerinfo", "getrawaddrman", "getchaintips", "getblockchaininfo"])
@pytest.mark.parametrize("part", [b"{},", b"1,", b'"a":1,', b"[],"])
def test_many_small_values_are_refused_before_they_become_objects(tmp_path: Path, method: str, part: bytes) -> None:
    bounds = bounds_of(method)
    count = min(bounds.values + 2, bounds.size // len(part) - 10)
    body = b'{"result":[' + part * count + b"0]}"
    with FakeNode(tmp_path, v30() | {method: body}) as node:
        client = RpcClient(node.url, CookieCredentials(node.cookie), 20.0)
        with pytest.raises(errors.RpcTooLargeError, match="are the limit"):
            client.ask(method)


def test_full_answers_of_a_real_node_are_within_the_bounds() -> None:
    peer = fake_node.peer_v30(1, START) | {
        name: {f"message{number}": 10**9 for number in range(35)} for name in ("bytessent_per_msg", "bytesrecv_per_msg")
    }
    tables = {
        name: {f"{bucket}/{slot}": {**ENTRY, "network": "ipv4", "source_network": "ipv4", "source_mapped_as": 1}
               for bucket in range(buckets) for slot in range(64)}
        for name, buckets in (("new", 1_024), ("tried", 256))
    }  # fmt: skip
    tips = [{"height": n, "hash": tip_hash(n), "branchlen": 1, "status": "valid-fork"} for n in range(1_000)]
    for method, result in (("getpeerinfo", [peer] * 5_000), ("getrawaddrman", tables), ("getchaintips", tips)):
        assert excess(json.dumps({"result": result}).encode(), BOUNDS[method]) == ""


def endless(head: bytes) -> fake_node.Behaviour:
    """Send a head, and bytes until the client closes the connection."""

    def behave(call: fake_node.Call) -> None:
        call.raw(head)
        for _ in range(1_000):
            if call.node.released.is_set():
                return
            call.raw(b" " * (1 << 20))

    return behave


@pytest.mark.parametrize("size", [b"-1", b"-7"])
def test_a_chunk_of_negative_size_is_not_read_without_a_limit(
    tmp_path: Path, size: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[int] = []
    inner = HttpConnection.makefile

    def counting(self: HttpConnection, mode: str) -> Any:
        received.append(self._most_bytes)
        return inner(self, mode)

    monkeypatch.setattr(HttpConnection, "makefile", counting)
    with FakeNode(tmp_path, v30()) as node:
        node.behave("uptime", endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"))
        with pytest.raises((errors.RpcTooLargeError, errors.RpcGarbageError)):
            RpcClient(node.url, CookieCredentials(node.cookie), 20.0).ask("uptime")
    assert received == [bounds_of("uptime").size + (16 << 20)]


def test_a_cookie_that_another_user_may_have_linked_is_not_sent(tmp_path: Path) -> None:
    secret = tmp_path / "wallet.cookie"
    secret.write_text("__cookie__:geheim")
    (tmp_path / "symbolic").symlink_to(secret)
    os.link(secret, tmp_path / "hard")
    for name, why in (("symbolic", "symbolic link, which is not followed"), ("hard", "hard links")):
        with pytest.raises(errors.RpcCredentialsError, match=why) as caught:
            CookieCredentials(tmp_path / name).authorization("uptime")
        assert "geheim" not in str(caught.value)


def test_a_cookie_path_with_a_zero_byte_is_an_error_in_words() -> None:
    with pytest.raises(errors.RpcCredentialsError, match="no file can have this name"):
        RpcClient("http://127.0.0.1:1?cookie=/a%00b", CookieCredentials(Path("/a\0b"))).ask("uptime")


def test_a_password_that_is_not_utf8_is_sent_as_it_is() -> None:
    assert PasswordCredentials("a", lambda: "\udcff").authorization("uptime") == "Basic YTr/"


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_name_that_is_no_host_name_is_unreachable_at_once(host: str) -> None:
    with pytest.raises(errors.RpcUnreachableError, match="is no host name"):
        RpcClient(f"http://{host}:8332", PasswordCredentials("a", lambda: "b")).ask("uptime", deadline_s=60.0)


def test_a_node_that_sends_odd_numbers_is_polled_on_and_each_loss_is_a_gap(tmp_path: Path) -> None:
    odd = v30() | {"getmempoolinfo": dict(v30()["getmempoolinfo"]) | {"mempoolminfee": "nan"}}
    odd["getblockchaininfo"] = dict(odd["getblockchaininfo"]) | {"blocks": 10**300}
    time = VirtualTime(START + 200.0)
    with FakeNode(tmp_path, odd) as node:
        source = rpc_source(node, time)
        rows = rows_of(slices_of(source))
        source.close()
        assert node.count("uptime") >= 6
    assert {row["reason"] for row in rows if row["kind"] == "source:gap"} == {"fields of another type"}
    assert [row["uptime_s"] for row in rows if row["kind"] == "rpc:uptime"]


@pytest.mark.parametrize("body", [b'{"result":"x"}', b'{"result":null,"error":null}', b"{}"])
def test_answers_of_another_form_have_a_line_and_a_gap_each(
    tmp_path: Path, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    time = VirtualTime(START + 100.0)
    with FakeNode(tmp_path, v30(now_s=START)) as node, caplog.at_level("WARNING", "watchdog.sources"):
        node.behave("*", fake_node.status(200, body))
        source = rpc_source(node, time)
        rows = rows_of(slices_of(source))
        source.close()
    assert {row["kind"] for row in rows} == {"source:gap"}
    assert sum("answer that cannot be read; each case is a gap" in line for line in caplog.messages) == 1


def grown(node: FakeNode, now_s: float) -> None:
    """Let the node's uptime and clock follow the virtual time."""
    node.answers["uptime"] = int(100_000 + now_s - START)
    node.answers["getnettotals"] = dict(node.answers["getnettotals"]) | {"timemillis": int(now_s * 1_000)}


FAILING = [fake_node.status(503, b"busy"), fake_node.garbage(b""), fake_node.fault(-28, "x"), fake_node.status(401)]


@pytest.mark.parametrize("behaviour", FAILING)
def test_a_node_that_fails_at_one_vital_call_is_asked_ever_more_rarely_and_hides_nothing_else(
    tmp_path: Path, behaviour: fake_node.Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    time = VirtualTime(START + 600.0)
    with FakeNode(tmp_path, v30(now_s=START)) as node, caplog.at_level("INFO", "watchdog.sources"):
        node.behave("getpeerinfo", behaviour)
        time.each = lambda now_s: grown(node, now_s)
        source = rpc_source(node, time)
        rows = rows_of(slices_of(source))
        assert "getpeerinfo" in source.trouble
        source.close()
        assert 10 <= node.count("getpeerinfo") <= 20, "1, 2, 4, ... 60 s"
    kinds = {row["kind"] for row in rows}
    assert {"rpc:chain", "rpc:uptime"} <= kinds
    assert "node:started" not in kinds
    spans = [(row["from_ns"], row["to_ns"]) for row in rows if row["kind"] == "source:gap" and row["lost"] == 0]
    assert spans[0][0] <= (START + 1) * 10**9
    assert spans[-1][1] >= (START + 580) * 10**9
    assert sum("retrying" in line or "answers" in line for line in caplog.messages) <= 2


@pytest.mark.parametrize("method", ["getchaintips", "getrawaddrman"])
@pytest.mark.parametrize("behaviour", FAILING)
@pytest.mark.parametrize("chain", [None, "main"])
def test_a_node_that_fails_at_a_costly_call_is_polled_as_before_for_the_others(
    tmp_path: Path, method: str, behaviour: fake_node.Behaviour, chain: str | None
) -> None:
    time = VirtualTime(START + 1_300.0)
    with FakeNode(tmp_path, v30(now_s=START)) as node:
        node.behave(method, behaviour)
        time.each = lambda now_s: grown(node, now_s)
        source = rpc_source(node, time, settings={"chain": chain} if chain else None)
        rows = rows_of(slices_of(source))
        source.close()
        assert node.count(method) <= (5 if method == "getchaintips" else 3)
        assert 40 <= node.count("getpeerinfo") <= 50
        assert {"getchaintips", "getrawaddrman"} <= {name for name, _ in node.asked}
    gaps = [row for row in rows if row["kind"] == "source:gap"]
    assert len(gaps) == node.count(method)
    assert all(row["reason"].startswith(f"{method}: ") and row["lost"] == 1 for row in gaps)


def test_a_restart_between_two_calls_of_a_round_is_seen(tmp_path: Path) -> None:
    time = VirtualTime(START + 200.0)
    with FakeNode(tmp_path, v30(now_s=START)) as node:

        def each(now_s: float) -> None:
            grown(node, now_s)
            if now_s >= START + 61:
                node.behave("getpeerinfo", None)
                node.answers["uptime"] = int(now_s - START - 59)
                node.answers["getpeerinfo"] = [fake_node.peer_v30(number, START + 90_060) for number in range(3)]
            elif now_s >= START + 59:
                node.behave("getpeerinfo", fake_node.garbage(b""))

        time.each = each
        source = rpc_source(node, time)
        rows = rows_of(slices_of(source))
        source.close()
    assert sum(row["kind"] == "node:started" for row in rows) == 1


def test_a_name_that_hangs_holds_up_no_other_node_and_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, asked = threading.Event(), []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if host == "hangs.example":
            released.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with FakeNode(tmp_path, v30()) as node:
        cookie = CookieCredentials(node.cookie)
        hanging = RpcClient(f"http://hangs.example:{node.port}", cookie)
        for _ in range(8):
            with pytest.raises(errors.RpcTimeoutError):
                hanging.ask("uptime", deadline_s=0.01)
        assert RpcClient(f"http://fine.example:{node.port}", cookie).call("uptime") == 100_000
        assert asked == ["hangs.example", "fine.example"]
        released.set()
        assert hanging.call("uptime") == 100_000
