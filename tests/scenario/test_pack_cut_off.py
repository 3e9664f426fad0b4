"""A node that gets no more blocks: what an attacker sends, and what stops as well, changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.incident import Incident
from rules.load import PACKS, load
from tests.support.capture_files import MINUTE_US, SECOND_US, START_US, append, handshake, ping, record, slices_of
from tests.support.chain import EASIEST, compact, headers, mined
from tests.support.packs import HOUR, MINUTE, Rows, incidents, of_rule, opened_s
from tests.support.witness import saw
from watchdog.core.batch import Batch
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline
from watchdog.sources.capture.source import KINDS

pytestmark = pytest.mark.scenario

START_S = START_US // SECOND_US
LAST_BLOCK_MIN = 30
ENDS_MIN = 5 * 60
HONEST = tuple(f"{20 + n}.7.9.{n}_8333" for n in range(3))
STRANGERS = ("84.141.0.17_50000", "85.141.0.17_50000", "86.141.0.17_50000")
STRANGER = STRANGERS[0]
TX = bytes.fromhex("01000000" + "01" + "00" * 36 + "00" + "ffffffff" + "01" + "00" * 8 + "00" + "00000000")
STALLED = ("block-gap", "blocks-stalled")


def background(root: Path, *, txs_until_min: int) -> None:
    """Three outbound peers: pings all the time, a block each 10 minutes for half an hour, a transaction a minute."""
    for n, folder in enumerate(HONEST):
        handshake(root, folder, START_US + n, inbound=False)
        pings = b"".join(ping(START_US + minute * MINUTE_US) for minute in range(1, ENDS_MIN, 2))
        append(root, folder, False, pings)
    handshake(root, STRANGER, START_US, inbound=True)
    received = []
    for minute in range(1, ENDS_MIN):
        if minute % 10 == 0 and minute <= LAST_BLOCK_MIN:
            header = mined(START_S + minute * MINUTE, salt=minute)
            received.append(record(START_US + minute * MINUTE_US, "headers", headers(header)))
            for folder in HONEST[1:]:
                append(root, folder, True, record(START_US + minute * MINUTE_US + 9, "headers", headers(header)))
            append(
                root, STRANGER, False, record(START_US + minute * MINUTE_US + SECOND_US, "cmpctblock", compact(header))
            )
        if minute < txs_until_min:
            received.append(record(START_US + minute * MINUTE_US + 1, "tx", TX))
    append(root, HONEST[0], True, b"".join(received))


def found(root: Path) -> list[Incident]:
    """The incidents of the message pack over a whole capture."""
    plans = load([PACKS / "message-anomaly.yaml"], packs=False).plans
    (name,) = {slice_.source for slice_ in slices_of(root)}
    course = Pipeline(Engine(plans, {name: KINDS}))
    batches: list[Batch] = []
    for slice_ in slices_of(root):
        batches += slice_.batches
        course.process(slice_)
    course.finish()
    seen = list(course.books.incidents())
    saw(plans, batches, (incident.rule for incident in seen))
    return seen


def junk(at_us: int, kind: str) -> bytes:
    """Return the free messages of one peer, different each time."""
    now, salt = at_us // SECOND_US, at_us % 1_000_003
    last = mined(START_S + LAST_BLOCK_MIN * MINUTE, salt=LAST_BLOCK_MIN)
    payloads = {
        "zeros": ("headers", headers(bytes(80))),
        "invented": ("headers", headers(salt.to_bytes(80, "little"))),
        "own easy target": ("headers", headers(mined(now, EASIEST, salt=salt))),
        "as hard as the chain": ("headers", headers(mined(now, salt=salt))),
        "the last block again": ("headers", headers(last)),
        "compact": ("cmpctblock", compact(salt.to_bytes(80, "little"))),
    }
    return record(at_us, *payloads[kind])


# blocks     | | |                               and then junk each 25 minutes, from one peer or from an outbound one
@pytest.mark.parametrize(
    "kind", ["zeros", "invented", "own easy target", "as hard as the chain", "the last block again", "compact"]
)
@pytest.mark.parametrize("folder", [STRANGER, HONEST[2]], ids=["in", "out"])
def test_f3_junk_of_one_peer_does_not_hide_that_blocks_stay_away(tmp_path: Path, folder: str, kind: str) -> None:
    background(tmp_path, txs_until_min=ENDS_MIN)
    spam = [junk(START_US + minute * MINUTE_US + 7, kind) for minute in range(LAST_BLOCK_MIN + 15, ENDS_MIN, 25)]
    append(tmp_path, folder, True, b"".join(spam))
    seen = found(tmp_path)
    (gap,), (stalled,) = of_rule(seen, "block-gap"), of_rule(seen, "blocks-stalled")
    assert opened_s(gap) + 1_700_000_000 - START_S <= (LAST_BLOCK_MIN + 64) * MINUTE
    assert (gap.severity, stalled.severity) == ("info", "warning")
    assert gap.resolved_ns is None
    assert stalled.resolved_ns is None


# blocks and txs stop together, or transactions a little later; pings continue
@pytest.mark.parametrize("later_min", [0, 5, 70])
def test_f3_blocks_and_transactions_that_stop_together_are_told_and_silence_resolves_nothing(
    tmp_path: Path, later_min: int
) -> None:
    background(tmp_path, txs_until_min=LAST_BLOCK_MIN + later_min)
    seen = found(tmp_path)
    for rule in STALLED:
        (incident,) = of_rule(seen, rule)
        assert incident.resolved_ns is None, "the node is still cut off"
    assert of_rule(seen, "blocks-stalled")[0].severity == "high", "no gap between blocks stops transactions"


def test_a_new_block_ends_it(tmp_path: Path) -> None:
    background(tmp_path, txs_until_min=ENDS_MIN)
    back_min = LAST_BLOCK_MIN + 120
    header = mined(START_S + back_min * MINUTE, salt=back_min)
    for folder in STRANGERS:
        append(tmp_path, folder, True, record(START_US + back_min * MINUTE_US, "headers", headers(header)))
    seen = found(tmp_path)
    assert [one for rule in STALLED for one in of_rule(seen, rule) if one.opened_ns < (START_S + back_min * 60) * 10**9]
    first = min(of_rule(seen, "blocks-stalled"), key=lambda one: one.opened_ns)
    assert first.resolved_ns is not None
    assert first.resolved_ns >= (START_S + back_min * MINUTE) * 10**9


# headers    | | | | | | | | |                   real ones, passed on by peers; the node never has the blocks
def test_headers_of_real_blocks_without_the_blocks_are_told(tmp_path: Path) -> None:
    background(tmp_path, txs_until_min=ENDS_MIN)
    minutes = range(LAST_BLOCK_MIN + 10, ENDS_MIN, 10)
    real = [
        record(START_US + minute * MINUTE_US, "headers", headers(mined(START_S + minute * MINUTE, salt=minute)))
        for minute in minutes
    ]
    for folder in STRANGERS:
        append(tmp_path, folder, True, b"".join(real))
    seen = found(tmp_path)
    assert not of_rule(seen, "block-gap")
    (withheld,) = of_rule(seen, "blocks-not-relayed")
    assert withheld.resolved_ns is None


def polled(events: dict[str, Rows], rule: str, pack: str = "eclipse") -> Incident:
    (incident,) = of_rule(incidents(pack, events, until=6 * HOUR), rule)
    return incident


def other(until: float = 6 * HOUR) -> Rows:
    """Return events of another kind, so that time advances after the polls stop."""
    return [{"t": now, "lag_ms": 0} for now in range(0, int(until), 60)]


# tip age    /////|                              and then no poll says anything
def test_f3_polls_that_stop_do_not_resolve_a_stale_tip() -> None:
    chain = [{"t": now, "tip_age_s": now} for now in range(0, 2 * HOUR, 60)]
    stale = polled({"rpc:chain": chain, "source:heartbeat": other()}, "eclipse-stale-tip")
    assert stale.resolved_ns is None
    ended = [*chain, *({"t": now, "tip_age_s": 30} for now in range(3 * HOUR, 4 * HOUR, 60))]
    assert polled({"rpc:chain": ended, "source:heartbeat": other()}, "eclipse-stale-tip").resolved_ns is not None


def test_f3_polls_that_stop_do_not_resolve_a_cut_off_node() -> None:
    chain = [{"t": now, "tip_age_s": now} for now in range(0, 2 * HOUR, 60)]
    replaced = [{"t": 10 * MINUTE + n * 20} for n in range(10)]
    events = {"rpc:chain": chain, "peer:outbound_replaced": replaced, "source:heartbeat": other()}
    assert polled(events, "eclipse-cut-off").resolved_ns is None


def test_f3_polls_that_stop_do_not_resolve_missing_outbound_peers_or_a_switched_off_network() -> None:
    few = [{"t": now, "outbound": 3, "uptime_s": 9_000} for now in range(0, HOUR, 60)]
    assert polled({"rpc:peers": few, "source:heartbeat": other()}, "eclipse-outbound-deficit").resolved_ns is None
    crowded = [{"t": now, "outbound": 10, "outbound_top_asn": 6, "uptime_s": 9_000} for now in range(0, HOUR, 60)]
    assert polled({"rpc:peers": crowded, "source:heartbeat": other()}, "eclipse-outbound-as").resolved_ns is None
    off = [{"t": now, "network_active": False} for now in range(0, HOUR, 30)]
    events = {"rpc:network": off, "source:heartbeat": other()}
    assert polled(events, "network-inactive", "node").resolved_ns is None
    late = [{"t": now, "network_active": True, "time_offset_s": 900} for now in range(0, HOUR, 60)]
    events = {"rpc:network": late, "source:heartbeat": other()}
    assert polled(events, "clock-offset", "node").resolved_ns is None


# log        tip . . stale stale stale .         the log alone, which then falls silent
@pytest.mark.attack("stale-tip-logged")
def test_the_log_alone_tells_of_a_stale_tip_and_its_silence_resolves_nothing() -> None:
    tips = [{"t": 60, "height": 800_000}]
    warned = [{"t": now, "tip_age_s": now - 60} for now in range(40 * MINUTE, 150 * MINUTE, 10 * MINUTE)]
    events = {"log:tip": tips, "log:stale_tip": warned, "source:heartbeat": other()}
    stale = polled(events, "stale-tip-logged", "message-anomaly")
    assert (stale.severity, stale.resolved_ns) == ("high", None)
    events["log:tip"] = [*tips, {"t": 200 * MINUTE, "height": 800_001}]
    assert polled(events, "stale-tip-logged", "message-anomaly").resolved_ns is not None


# log        tip . . stale stale tip .           a gap of fifty minutes, of which Core warns twice
@pytest.mark.benign("stale-tip-logged")
def test_stale_tips_of_less_than_an_hour_are_silent_in_the_log() -> None:
    tips = [{"t": 60, "height": 800_000}, {"t": 51 * MINUTE, "height": 800_001}]
    warned = [{"t": now, "tip_age_s": now - 60} for now in (31 * MINUTE, 41 * MINUTE)]
    events: dict[str, Rows] = {"log:tip": tips, "log:stale_tip": warned, "source:heartbeat": other()}
    assert of_rule(incidents("message-anomaly", events, until=6 * HOUR), "stale-tip-logged") == []
