"""The stream between a server and its readers: what is asked for comes, and who is slow loses by itself."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.stream_rig import ADDED, TIME_NS, Kept, added, in_loop, served
from tests.support.waiting import reached
from watchdog.core.batch import Blobs
from watchdog.core.errors import SourceError
from watchdog.core.where_tree import Apply, FieldValue
from watchdog.stream.client import StreamClient, StreamLoss
from watchdog.stream.offer import Demand, OfferedKind, catalogue_kind
from watchdog.stream.schema import ACKNOWLEDGE_S, SUBSCRIBERS_MOST, WINDOW_BATCHES
from watchdog.stream.server import FLUSH_ROWS


def has_rows(kept: Kept, rows: int) -> bool:
    """Whether so many events have arrived."""
    return len(kept.column("vsize_vb")) == rows


def test_what_is_wanted_comes_as_it_was(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            client, kept = await rig.greeted()
            assert await client.subscribe({"mempool:added": None}, {}, {}) == (ADDED,)
            rig.server.publish([added(10), added(5, 10)], TIME_NS)
            await reached(lambda: bool(kept.batches))
            (batch,) = kept.batches  # gathered to one
            assert (batch.kind, batch.node, batch.source, batch.boot_ns) == (
                "mempool:added",
                "ours",
                "stream:test",
                TIME_NS - 5,
            )
            assert kept.column("vsize_vb") == list(range(15))
            assert kept.column("time_ns") == [TIME_NS + number * 1_000 for number in range(15)]
            blobs = batch.columns["txid"]
            assert isinstance(blobs, Blobs)
            assert [int.from_bytes(one, "little") for one in blobs.tolist()] == list(range(15))
            assert kept.until_ns == TIME_NS

    in_loop(work)


def test_each_reader_gets_its_kinds_and_rows_and_the_owner_hears_of_the_union(tmp_path: Path) -> None:
    async def work() -> None:
        kinds = (ADDED, catalogue_kind("mempool:rejected"))
        async with served(tmp_path, kinds) as rig:
            some, kept_some = await rig.greeted()
            large = Apply(">=", (FieldValue("vsize_vb"), 8))
            await some.subscribe({"mempool:added": large}, {"tx": 10}, {})
            other, kept_other = await rig.reader("mempool:rejected", payloads={"*": 5, "inv": 7})
            assert rig.demands[-1] == Demand(
                frozenset({"mempool:added", "mempool:rejected"}), {"*": 5, "inv": 7, "tx": 10}
            )
            rig.server.publish([added(10)], TIME_NS)
            await reached(lambda: bool(kept_some.batches))
            assert kept_some.column("vsize_vb") == [8, 9]
            assert not kept_other.batches
            some.close()
            await reached(lambda: len(rig.demands) == 3)
            assert rig.demands[-1].kinds == {"mempool:rejected"}
            other.close()
            await reached(lambda: rig.demands[-1] == Demand())
            assert rig.server.subscribers == 0

    in_loop(work)


def test_heartbeats_carry_watermark_and_health(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            _, kept = await rig.reader("mempool:added")
            rig.server.heartbeat(TIME_NS + 9, {"records": 3.5})
            await reached(lambda: kept.beats == 1)
            assert kept.until_ns == TIME_NS + 9
            assert kept.health.pop("sent_s") == pytest.approx(time.time(), abs=60)
            assert kept.health == {"records": 3.5, "lost_by_reader": 0.0}

    in_loop(work)


def test_a_reader_that_does_not_acknowledge_loses_events_hears_of_it_and_holds_up_no_other(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            slow = await rig.slow_reader("mempool:added")
            _, kept = await rig.reader("mempool:added")
            for number in range(WINDOW_BATCHES + 4):
                rig.server.publish([added(FLUSH_ROWS, number * FLUSH_ROWS)], TIME_NS)
                await reached(partial(has_rows, kept, (number + 1) * FLUSH_ROWS))
            assert not kept.losses
            await reached(lambda: len(slow.kept.batches) == WINDOW_BATCHES)
            slow.free.set()
            await reached(lambda: not rig.unacknowledged)
            rig.server.publish([added(1, 7)], TIME_NS)
            await reached(lambda: bool(slow.kept.losses))
            first, last = WINDOW_BATCHES * FLUSH_ROWS, (WINDOW_BATCHES + 4) * FLUSH_ROWS - 1
            lost = StreamLoss("mempool:added", 4 * FLUSH_ROWS, TIME_NS + first * 1_000, TIME_NS + last * 1_000)
            assert slow.kept.losses == [lost]
            assert slow.kept.story[-2:] == ["lost", "events"]
            assert slow.kept.column("vsize_vb") == [*range(first), 7]
            rig.server.heartbeat(TIME_NS, {})
            await reached(lambda: kept.beats == 1)

    in_loop(work)


def test_the_window_counts_bytes_and_a_larger_batch_is_divided(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            slow = await rig.slow_reader("mempool:added")
            rig.server.publish([added(250_000)], TIME_NS)  # 13 MB
            await reached(lambda: slow.kept.batches)
            arrived = len(slow.kept.column("vsize_vb"))
            assert 0 < arrived < 250_000
            slow.free.set()
            await reached(lambda: not rig.unacknowledged)
            rig.server.publish([added(1)], TIME_NS)
            await reached(lambda: bool(slow.kept.losses))
            assert slow.kept.losses[0].events == 250_000 - arrived

    in_loop(work)


def test_nothing_is_lost_where_the_producer_waits_for_room(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            client, kept = await rig.reader("mempool:added")
            for number in range(40):
                await rig.server.offer([added(50_000, number * 50_000)], TIME_NS)
            await rig.server.end("the source has ended", final=True)
            assert await client.ended() == "the source has ended"
            assert kept.column("vsize_vb") == list(range(2_000_000))
            assert not kept.losses

    in_loop(work)


def test_a_minute_without_an_acknowledgement_disconnects(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        now_s = [0.0]
        async with served(tmp_path, monotonic=lambda: now_s[0]) as rig:
            await rig.slow_reader("mempool:added")
            _, kept = await rig.reader("mempool:added")
            rig.server.heartbeat(TIME_NS, {})
            await reached(lambda: kept.beats == 1)
            now_s[0] = ACKNOWLEDGE_S + 1
            await reached(lambda: rig.server.subscribers == 1)
            rig.server.heartbeat(TIME_NS, {})
            await reached(lambda: kept.beats == 2)

    in_loop(work)
    assert "acknowledged nothing for 60 s" in caplog.text


def test_a_reader_that_leaves_amid_a_delivery_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def work() -> None:
        async with served(tmp_path) as rig:
            slow = await rig.slow_reader("mempool:added")
            rig.server.publish([added(FLUSH_ROWS)], TIME_NS)
            await reached(lambda: bool(slow.kept.batches))
            slow.stream.close()
            await reached(lambda: rig.server.subscribers == 0)

    in_loop(work)
    assert [one.message for one in caplog.records if "reader" in one.message] == [
        "stream: a reader subscribed to 1 kind",
        "stream: a reader left",
    ]
    assert not [one for one in caplog.records if one.levelname == "WARNING"]


def test_refusals_say_why(tmp_path: Path) -> None:
    async def refused(client: StreamClient, kind: str, **more: object) -> str:
        with pytest.raises(SourceError) as caught:
            await client.subscribe({kind: more.get("where")}, {}, more.get("tracepoints", {}))  # type: ignore[arg-type,dict-item]
        return str(caught.value)

    async def work() -> None:
        async with served(tmp_path) as rig:
            client, _ = await rig.greeted()
            assert "the kind 'p2p:\\x1baddr' is not offered" in await refused(client, "p2p:\x1baddr")
            where = Apply("==", (FieldValue("nothing"), 1))
            assert "has no field 'nothing'" in await refused(client, "mempool:added", where=where)
            odd = {"a b:c": ()}
            assert "no name of a tracepoint" in await refused(client, "mempool:added", tracepoints=odd)
            many = {"a:b": tuple((f"x{n}", "u64", "") for n in range(13))}
            assert "13 fields are more than 12" in await refused(client, "mempool:added", tracepoints=many)
            text = {"a:b": (("x", "u128", ""),)}
            assert "a field of type 'u128'" in await refused(client, "mempool:added", tracepoints=text)
            known = {"mempool:added": (("x", "u64", ""),)}
            assert "cannot be declared" in await refused(client, "mempool:added", tracepoints=known)
            await client.subscribe({"mempool:added": None}, {}, {})
            assert "one subscription" in await refused(client, "mempool:added")

    in_loop(work)


def test_declared_tracepoints_become_kinds_and_reach_the_owner(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            fields = (("latency", "u64", "us"),)
            client, _ = await rig.greeted()
            kinds = await client.subscribe({"fibre:block": None}, {}, {"fibre:block": fields})
            assert kinds == (OfferedKind("fibre:block", (("time_ns", "i64", "ns"), *fields)),)
            assert rig.demands == [Demand(frozenset({"fibre:block"}), {}, {"fibre:block": fields})]
            other, _ = await rig.greeted()
            with pytest.raises(SourceError, match="declared otherwise"):
                await other.subscribe({}, {}, {"fibre:block": (("latency", "i64", "us"),)})

    in_loop(work)


def test_the_owner_can_refuse_a_subscriber(tmp_path: Path) -> None:
    async def work() -> None:
        def refuse(demand: Demand) -> None:
            if demand.tracepoints:
                raise SourceError("the binary has no probe 'fibre:block'")

        async with served(tmp_path, on_demand=refuse) as rig:
            client, _ = await rig.greeted()
            with pytest.raises(SourceError, match="has no probe 'fibre:block'"):
                await client.subscribe({"fibre:block": None}, {}, {"fibre:block": ()})
            assert rig.server.subscribers == 0

    in_loop(work)


def test_a_seventeenth_reader_is_refused_and_a_place_becomes_free(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            readers = [await rig.reader("mempool:added") for _ in range(SUBSCRIBERS_MOST)]
            late, _ = await rig.greeted()
            with pytest.raises(SourceError, match="16 readers have subscribed"):
                await late.subscribe({"mempool:added": None}, {}, {})
            readers[0][0].close()
            await reached(lambda: rig.server.subscribers == SUBSCRIBERS_MOST - 1)
            await late.subscribe({"mempool:added": None}, {}, {})

    in_loop(work)
