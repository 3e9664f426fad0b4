"""`stream:SOCKET`: reconnects, gaps, decoded payloads, and what a server may not make it believe."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.capture_files import PEER, START_US, addr_payload, append, handshake, ping, pong, record, slices_of
from tests.support.declared import only_here
from tests.support.ipc_node import IpcNode
from tests.support.stream_rig import ADDED, TIME_NS, added
from tests.support.stream_service import StreamService, batches_of, slices_until
from tests.support.waiting import wait_until
from watchdog.core.batch import Batch, Slice
from watchdog.core.declared import declaration_of, declare
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.kinds import PEER_FIELDS
from watchdog.core.payload_columns import MESSAGES, asked_payloads
from watchdog.core.source import END_OF_TIME_NS, SourceOptions
from watchdog.sources.registry import kinds_of, open_sources
from watchdog.sources.stream.source import StreamSource
from watchdog.stream.offer import OfferedKind, catalogue_kind

NET = tuple(catalogue_kind(kind) for kind in sorted(MESSAGES))
WANTED = frozenset({"mempool:added", "source:gap"})


@pytest.fixture
def opened() -> Iterator[list[StreamSource]]:
    """Sources to be closed at the end."""
    sources: list[StreamSource] = []
    yield sources
    for source in sources:
        source.close()


@pytest.fixture
def services() -> Iterator[list[StreamService]]:
    """Servers to be stopped at the end."""
    running: list[StreamService] = []
    yield running
    for service in running:
        service.stop()


def opened_at(path: Path, opened: list[StreamSource], options: SourceOptions) -> StreamSource:
    source = StreamSource(str(path), options)
    opened.append(source)
    return source


def served(path: Path, services: list[StreamService], kinds: tuple[OfferedKind, ...] = (ADDED,)) -> StreamService:
    service = StreamService(path, kinds)
    services.append(service)
    return service


def rows(slices: list[Slice], kind: str = "mempool:added") -> list[int]:
    return [value for batch in batches_of(slices, kind) for value in batch.numbers("vsize_vb").tolist()]


def gaps(slices: list[Slice]) -> list[tuple[int, int, int, str, str]]:
    """All gaps: from, to, lost, reason, kinds."""
    return [
        tuple(batch.columns[name].tolist()[0] for name in ("from_ns", "to_ns", "lost", "reason", "kinds"))  # type: ignore[misc]
        for batch in batches_of(slices, "source:gap")
    ]


def test_events_come_with_watermark_position_and_the_servers_health(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    service = served(tmp_path / "s", services)
    source = opened_at(tmp_path / "s", opened, SourceOptions("mine", WANTED))
    assert wait_until(lambda: service.subscribers == 1)
    service.publish([added(3)], TIME_NS)
    found = slices_until(source, lambda some: len(rows(some)) == 3)
    (batch,) = batches_of(found, "mempool:added")
    assert (batch.node, batch.source, batch.boot_ns) == ("mine", f"stream:{tmp_path / 's'}", TIME_NS - 5)
    service.beat(TIME_NS + 7, records=12)
    found = slices_until(source, lambda some: bool(some) and some[-1].until_ns == TIME_NS + 7)
    assert found[-1].position["until_ns"] == TIME_NS + 7
    assert source.server_health["records"] == 12
    assert source.trouble == ""
    service.end()
    found = slices_until(source, lambda _: source.ended)
    assert found[-1].until_ns == END_OF_TIME_NS


def test_a_server_that_disappears_is_found_again_and_the_time_between_is_a_gap(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = served(tmp_path / "s", services)
    source = opened_at(tmp_path / "s", opened, SourceOptions("mine", WANTED))
    assert wait_until(lambda: first.subscribers == 1)
    first.publish([added(2)], TIME_NS)
    slices_until(source, lambda some: len(rows(some)) == 2)
    first.stop()
    assert wait_until(lambda: source.trouble != "")
    second = served(tmp_path / "s", services)
    assert wait_until(lambda: second.subscribers == 1)
    second.publish([added(1, 1_000)], TIME_NS + 5_000_000)
    found = slices_until(source, lambda some: len(rows(some)) == 1)
    assert gaps(found) == [(TIME_NS, TIME_NS + 5_000_000, 0, "stream-not-connected", "")]
    assert source.trouble == ""
    assert "the connection ended; retrying" in caplog.text


def test_a_server_that_ends_to_offer_other_kinds_is_read_again(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService], caplog: pytest.LogCaptureFixture
) -> None:
    first = served(tmp_path / "s", services, (catalogue_kind("mempool:rejected"), ADDED))
    source = opened_at(tmp_path / "s", opened, SourceOptions("mine", WANTED))
    assert wait_until(lambda: first.subscribers == 1)
    first.publish([added(2)], TIME_NS)
    first.end("the node has other tracepoints now", final=False)
    first.stop()
    second = served(tmp_path / "s", services)
    assert wait_until(lambda: second.subscribers == 1)
    second.publish([added(1, 9)], TIME_NS + 9)
    assert rows(slices_until(source, lambda some: len(rows(some)) == 3)) == [0, 1, 9]
    assert not source.ended
    assert ": the node has other tracepoints now; retrying" in caplog.text


def test_time_without_any_server_becomes_gaps_and_holds_up_no_rule(
    tmp_path: Path, opened: list[StreamSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchdog.sources.stream.source.DOWN_S", 0.2)
    monkeypatch.setattr("watchdog.sources.stream.source.GAP_STEP_NS", 100_000_000)
    begun_ns = time.time_ns()
    source = opened_at(tmp_path / "s", opened, SourceOptions("mine", WANTED))
    found = slices_until(source, lambda some: len(gaps(some)) >= 2)
    (from_ns, to_ns, lost, reason, kinds), (following_ns, *_), *_ = gaps(found)
    assert (lost, reason, kinds) == (0, "stream-not-connected", "")
    assert begun_ns - 10**9 < from_ns < to_ns == following_ns
    assert found[-1].until_ns >= to_ns
    assert "cannot connect" in source.trouble


def test_a_resumed_source_reports_the_time_between_the_runs(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    service = served(tmp_path / "s", services)
    options = SourceOptions("mine", WANTED, position={"until_ns": TIME_NS - 1_000, "blocks": None})
    source = opened_at(tmp_path / "s", opened, options)
    assert wait_until(lambda: service.subscribers == 1)
    service.publish([added(1)], TIME_NS)
    found = slices_until(source, lambda some: len(rows(some)) == 1)
    assert gaps(found) == [(TIME_NS - 1_000, TIME_NS, 0, "stream-not-connected", "")]
    with pytest.raises(PositionError):
        StreamSource(str(tmp_path / "s"), SourceOptions(position={"until_ns": "x"}))


def test_what_a_full_inbox_made_the_server_drop_is_a_gap_with_its_number(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    service = served(tmp_path / "s", services)
    source = opened_at(tmp_path / "s", opened, SourceOptions("mine", WANTED))
    assert wait_until(lambda: service.subscribers == 1)
    sent = 0
    while not source.inbox.counts.waits or sent < 2_000_000:
        service.publish([added(100_000, sent)], TIME_NS)
        sent += 100_000
    found: list[Slice] = []

    def all_there(some: list[Slice]) -> bool:
        service.beat(TIME_NS, x=1)
        found[:] = some
        return len(rows(some)) + sum(gap[2] for gap in gaps(some)) == sent

    slices_until(source, all_there)
    assert {gap[3:] for gap in gaps(found)} == {("stream-not-read", "mempool:added")}
    assert 0 < len(rows(found)) < sent
    assert source.counters["lost_by_server"] == sent - len(rows(found))


def test_times_that_cannot_be_true_are_left_out_and_said(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    service = served(tmp_path / "s", services)
    source = opened_at(tmp_path / "s", opened, SourceOptions("mine", WANTED))
    assert wait_until(lambda: service.subscribers == 1)
    odd = added(3)
    columns = {**odd.columns, "time_ns": np.array([5, TIME_NS, (1 << 63) - 1], np.int64)}
    service.publish([dataclasses.replace(odd, columns=columns)], (1 << 63) - 2)
    found = slices_until(source, lambda some: len(rows(some)) == 1)
    assert [(gap[2], gap[3]) for gap in gaps(found)] == [(2, "implausible time")]
    assert found[-1].until_ns < time.time_ns() + 2 * 86_400 * 10**9
    assert source.untrue_times == 2


def test_a_kind_with_another_type_is_an_error_and_unknown_ones_are_passed_over(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    other = OfferedKind("mempool:added", (("time_ns", "i64", "ns"), ("fee_sat", "str", "")))
    served(tmp_path / "s", services, (other,))
    source = opened_at(tmp_path / "s", opened, SourceOptions("mine", WANTED))
    assert wait_until(lambda: "'fee_sat' of 'mempool:added' is str there and i64 here" in source.trouble)
    more = (*ADDED.fields, ("future", "u8", ""))
    kinds = (OfferedKind("mempool:added", more), OfferedKind("future:kind", (("time_ns", "i64", "ns"),)))
    service = served(tmp_path / "t", services, kinds)
    fine = opened_at(tmp_path / "t", opened, SourceOptions("mine"))
    assert wait_until(lambda: service.subscribers == 1)
    assert service.demands[-1].kinds == {"mempool:added"}
    assert fine.kinds == WANTED


# ---- messages ----


def captured(folder: Path) -> Path:
    """A capture of one connection with a question, answers, an odd type, and a message that is malformed."""
    handshake(folder, PEER, START_US, inbound=False)
    append(folder, PEER, False, record(START_US + 100_000, "getaddr") + ping(START_US + 300_000))
    answers = [
        record(START_US + 200_000, "addr", addr_payload(600)),
        pong(START_US + 350_000),
        record(START_US + 400_000, "strange", b"abc"),
        record(START_US + 500_000, "inv", b"\x05" + bytes(36)),
        record(START_US + 600_000, "block", bytes(80) + b"\x01" + bytes(5_000)),
    ]
    append(folder, PEER, True, b"".join(answers))
    return folder


def messages(folder: Path, payloads: dict[str, int]) -> list[Batch]:
    """The messages of a capture, as a producer of tracepoints would have them."""
    options = SourceOptions("theirs", MESSAGES, payloads=payloads)
    return [batch for piece in slices_of(folder, options) for batch in piece.batches]


def test_payloads_are_decoded_as_those_of_captures(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    folder = captured(tmp_path / "capture")
    service = served(tmp_path / "s", services, NET)
    source = opened_at(tmp_path / "s", opened, SourceOptions("node"))
    assert wait_until(lambda: service.subscribers == 1)
    demand = service.demands[-1]
    assert demand.kinds == MESSAGES
    assert (demand.payloads["block"], demand.payloads["verack"], demand.payloads["*"]) == (89, 0, 4_000_000)
    service.offer(messages(folder, dict(demand.payloads)), TIME_NS)
    found = slices_until(source, lambda some: bool(batches_of(some, "p2p:block")))
    direct = slices_of(folder, SourceOptions("node"))
    kinds = {batch.kind for piece in direct for batch in piece.batches} - {
        "net:inbound_connection", "net:outbound_connection", "net:closed_connection",
    }  # fmt: skip
    assert {"p2p:addr", "p2p:addr_entry", "p2p:malformed", "p2p:unknown", "p2p:pong", "p2p:version"} <= kinds
    for kind in sorted(kinds):
        (ours,), (theirs,) = batches_of(found, kind), batches_of(direct, kind)
        assert ours.columns.keys() == theirs.columns.keys(), kind
        for name, column in theirs.columns.items():
            assert ours.columns[name].tolist() == column.tolist(), (kind, name)
    assert batches_of(found, "p2p:addr")[0].numbers("solicited").tolist() == [True]
    assert source.counters["payloads_cut"] == 0


def test_a_cut_payload_gives_what_can_be_decoded_and_no_malformed_message(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    folder = captured(tmp_path / "capture")
    service = served(tmp_path / "s", services, NET)
    source = opened_at(tmp_path / "s", opened, SourceOptions("node"))
    assert wait_until(lambda: service.subscribers == 1)
    cut = messages(folder, {"*": 89, "version": 20, "addr": 100})
    for place, batch in enumerate(cut):  # and one that could not be read at all
        types = batch.strings("type")
        if "strange" in types.tolist():
            sizes = batch.numbers("payload_size").astype(np.int64)
            sizes[types.tolist().index("strange")] = -1
            blobs = batch.columns["payload"]
            whole = asked_payloads({"*": 89}, types, blobs.data, blobs.offsets[:-1], sizes)  # type: ignore[union-attr,arg-type]
            cut[place] = dataclasses.replace(batch, columns={**batch.columns, **whole})
    service.offer(cut, TIME_NS)
    found = slices_until(source, lambda some: bool(batches_of(some, "p2p:block")))
    assert batches_of(found, "p2p:block")[0].numbers("txs").tolist() == [1]
    (malformed,) = batches_of(found, "p2p:malformed")
    assert malformed.strings("type").tolist() == ["inv"]  # whole, and truly malformed
    assert not batches_of(found, "p2p:addr")
    assert not batches_of(found, "p2p:version")
    assert not batches_of(found, "p2p:unknown")
    assert (source.counters["payloads_cut"], source.counters["payloads_unreadable"]) == (3, 1)


def test_cores_connection_types_and_ids_reach_the_decoded_events(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    from watchdog.core.batch import Strings

    folder = captured(tmp_path / "capture")
    service = served(tmp_path / "s", services, NET)
    source = opened_at(tmp_path / "s", opened, SourceOptions("node"))
    assert wait_until(lambda: service.subscribers == 1)
    renamed = [
        dataclasses.replace(
            batch,
            columns={
                **batch.columns,
                "conn": np.full(batch.rows, 77, np.int64),
                "connection_type": Strings.constant("outbound-full-relay", batch.rows),
            },
            boot_ns=5,
        )
        for batch in messages(folder, {"*": 4_000_000})
    ]
    service.offer(renamed, TIME_NS)
    found = slices_until(source, lambda some: bool(batches_of(some, "p2p:block")))
    (addr,) = batches_of(found, "p2p:addr")
    assert set(PEER_FIELDS) <= addr.columns.keys()
    assert addr.strings("connection_type").tolist() == ["outbound-full-relay"]
    assert addr.numbers("conn").tolist() == [77]
    assert addr.boot_ns == 5


def test_a_server_that_decodes_by_itself_is_not_decoded_again(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    folder = captured(tmp_path / "capture")
    first = served(tmp_path / "s", services, NET)
    source = opened_at(tmp_path / "s", opened, SourceOptions("node", MESSAGES | {"p2p:ping"}))
    assert wait_until(lambda: first.subscribers == 1)
    first.offer(messages(folder, {"*": 4_000_000}), TIME_NS)
    assert batches_of(slices_until(source, lambda some: bool(batches_of(some, "p2p:ping"))), "p2p:ping")[0].rows == 1
    first.stop()
    second = served(tmp_path / "s", services, (*NET, catalogue_kind("p2p:ping")))
    assert wait_until(lambda: second.subscribers == 1)
    assert second.demands[-1].payloads == {}
    direct = [batch for piece in slices_of(folder, SourceOptions("theirs")) for batch in piece.batches]
    second.offer([batch for batch in direct if batch.kind in MESSAGES | {"p2p:ping"}], TIME_NS + 1)
    found = slices_until(source, lambda some: bool(batches_of(some, "net:outbound_message")))
    assert sum(batch.rows for batch in batches_of(found, "p2p:ping")) == 1


def test_a_configured_source_keeps_to_the_kinds_of_tracepoints(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    kinds = (*NET, catalogue_kind("rpc:peers"))
    service = served(tmp_path / "s", services, kinds)
    source = opened_at(tmp_path / "s", opened, SourceOptions("node", listed=True))
    assert wait_until(lambda: service.subscribers == 1)
    assert service.demands[-1].kinds == MESSAGES
    assert source.kinds == kinds_of(f"stream:{tmp_path / 's'}")
    service.stop()
    other = served(tmp_path / "t", services, (catalogue_kind("rpc:peers"),))
    free = opened_at(tmp_path / "t", opened, SourceOptions("node"))
    assert wait_until(lambda: other.subscribers == 1)
    assert free.kinds == {"rpc:peers", "source:gap"}


def test_a_path_that_no_socket_can_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="at most 107 bytes"):
        open_sources([f"stream:{tmp_path}/{'x' * 120}"], SourceOptions())


def test_a_declared_tracepoint_is_asked_of_a_server_that_does_not_know_it(
    tmp_path: Path, opened: list[StreamSource], services: list[StreamService]
) -> None:
    with only_here():
        declare([declaration_of("fibre:done", [("took_us", "u64")])])
        service = served(tmp_path / "s", services)
        source = opened_at(tmp_path / "s", opened, SourceOptions("n", frozenset({"fibre:done"}), listed=True))
        assert wait_until(lambda: service.subscribers == 1)
        assert service.demands[-1].tracepoints == {"fibre:done": (("took_us", "u64", ""),)}
        columns = {"time_ns": np.array([TIME_NS]), "took_us": np.array([7], np.uint64)}
        service.publish([Batch("fibre:done", "theirs", "x", columns)], TIME_NS)
        found = slices_until(source, lambda some: bool(batches_of(some, "fibre:done")))
        assert batches_of(found, "fibre:done")[0].numbers("took_us").tolist() == [7]
        assert "fibre:done" in source.kinds


def test_the_socket_of_a_node_is_named_as_such(tmp_path: Path, opened: list[StreamSource]) -> None:
    with IpcNode(tmp_path) as node:
        source = opened_at(node.socket, opened, SourceOptions("n"))
        assert wait_until(lambda: source.trouble)
        assert source.trouble == "another program answers there; the IPC socket of a node is read by ipc:SOCKET"
