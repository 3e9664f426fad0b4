"""The pack of message floods on scripted time lines: an attack, a benign twin and an evasion for each rule."""

from __future__ import annotations

import re
from typing import Any

import pytest

from alerts.incident import Incident
from tests.support.packs import HOUR, MINUTE, Rows, honest, incidents, of_rule, opened_s, peer

pytestmark = pytest.mark.scenario

START = 30 * MINUTE
ATTACKER = peer(900, "84.141.0.17")


def found(events: dict[str, Rows], *, until: float = 2 * HOUR) -> list[Incident]:
    """The incidents of the pack, until a time in seconds after the start."""
    return incidents("message-floods", events, until=until)


def every(gap: float, start: float, end: float, who: dict[str, Any], **fields: Any) -> Rows:
    """The same event of a peer again and again, `gap` seconds apart."""
    return [{**who, "t": start + n * gap, "flow": "received", **fields} for n in range(int((end - start) / gap))]


def messages(type_: str, gap: float, minutes: float, who: dict[str, Any] = ATTACKER) -> dict[str, Rows]:
    return {"net:inbound_message": every(gap, START, START + minutes * MINUTE, who, type=type_, size=40)}


# types      ::::::::::                          one type, one a second and a hundred a second
@pytest.mark.parametrize("type_", ["sendcmpct", "feefilter", "sendheaders", "mempool", "pong", "verack", "getblocktxn"])
@pytest.mark.parametrize(("gap", "worst", "limit_s"), [(1.0, "warning", 40), (0.01, "high", 60)])
@pytest.mark.attack("control-storm")
def test_a_storm_of_control_messages_is_seen(type_: str, gap: float, worst: str, limit_s: float) -> None:
    (storm,) = of_rule(found(messages(type_, gap, 3)), "control-storm")
    assert opened_s(storm) - START <= limit_s
    assert "84.141.0.17" in storm.entities
    assert type_ in storm.summary
    assert storm.severity == worst


# handshake  |     |     |                       sixty peers connect within a minute, blocks come each half minute
@pytest.mark.benign("control-storm")
def test_handshakes_and_a_burst_of_blocks_are_silent() -> None:
    once = ("version", "verack", "wtxidrelay", "sendaddrv2", "sendheaders", "sendcmpct", "feefilter")
    shaken = [{**honest(n), "t": START + n, "type": name, "size": 60} for n in range(60) for name in once]
    blocks = [
        row
        for name in ("cmpctblock", "getblocktxn")
        for row in every(30, START, START + 5 * MINUTE, honest(3, "out"), type=name, size=9_000)
    ]
    assert found({"net:inbound_message": [*shaken, *blocks]}) == []


# types      . . . . . . .                       18 in 5 minutes: below what costs anything
@pytest.mark.evasion("control-storm")
def test_a_patient_peer_stays_below_the_storm() -> None:
    assert found(messages("feefilter", 300 / 18, 60)) == []


# getheaders ::::::::::                          ten a second
@pytest.mark.parametrize("type_", ["getheaders", "getblocks", "getcfilters"])
@pytest.mark.attack("request-storm")
def test_a_storm_of_requests_is_seen(type_: str) -> None:
    (storm,) = of_rule(found(messages(type_, 0.1, 10)), "request-storm")
    assert opened_s(storm) - START <= 220
    assert storm.severity == "warning"


# getheaders ||||||                              a first synchronisation at full speed
@pytest.mark.parametrize(("type_", "count"), [("getheaders", 460), ("getcfilters", 920), ("getcfheaders", 460)])
@pytest.mark.benign("request-storm")
def test_a_first_synchronisation_is_no_storm(type_: str, count: int) -> None:
    assert found(messages(type_, 0.2, count * 0.2 / 60)) == []


# getheaders . . . . . . .                       599 in 5 minutes, as the page of the rule accepts
@pytest.mark.evasion("request-storm")
def test_as_many_requests_as_a_synchronisation_pass() -> None:
    assert found(messages("getheaders", 0.51, 60)) == []


# getdata    ::::::::::                          small requests ten times a second, or large ones
@pytest.mark.parametrize(("gap", "size"), [(0.1, 1), (10, 1_000)])
@pytest.mark.attack("getdata-flood")
def test_a_flood_of_getdata_is_seen(gap: float, size: int) -> None:
    asked = every(gap, START, START + 10 * MINUTE, ATTACKER, tx=size, entries=size)
    (flood,) = of_rule(found({"p2p:getdata": asked}), "getdata-flood")
    assert opened_s(flood) - START <= 220
    assert "84.141.0.17" in flood.entities


# getdata    .:.:.:.:.:                          a mempool surge to an outbound peer; a peer that fetches blocks
@pytest.mark.benign("getdata-flood")
def test_a_surge_and_a_synchronising_peer_are_silent() -> None:
    surge = every(2, 0, HOUR, honest(1, "out"), tx=30, entries=30)
    blocks = every(0.1, 0, HOUR, honest(2), block=16, entries=16)
    assert found({"p2p:getdata": [*surge, *blocks]}) == []


# getdata    b:b:b:b:b:b                         requests for blocks are left out, as the page of the rule accepts
@pytest.mark.evasion("getdata-flood")
def test_requests_for_blocks_do_not_count() -> None:
    assert found({"p2p:getdata": every(0.05, START, START + 10 * MINUTE, ATTACKER, block=1, entries=1)}) == []


# tx         ::::::::::                          never asked for
@pytest.mark.parametrize(("kind", "fields"), [("p2p:tx", {}), ("p2p:notfound", {"entries": 5, "tx": 5})])
@pytest.mark.attack("unasked-data")
def test_data_that_was_not_asked_for_is_seen(kind: str, fields: dict[str, int]) -> None:
    (flood,) = of_rule(found({kind: every(0.5, START, START + 5 * MINUTE, ATTACKER, **fields)}), "unasked-data")
    assert opened_s(flood) - START <= 150
    assert flood.severity == "warning"


# asked      .:.:.:.:.:                          14 transactions a second, each asked for; some not found
@pytest.mark.benign("unasked-data")
def test_answers_are_silent_at_the_rate_of_a_surge() -> None:
    who = honest(1, "out")
    asked = every(1, 0, HOUR, who, flow="sent", tx=14, entries=14)
    told = every(1 / 13, 0.4, HOUR, who)
    gone = every(1, 0.5, HOUR, who, entries=1, tx=1)
    assert found({"p2p:getdata": asked, "p2p:tx": told, "p2p:notfound": gone}) == []


# block      ::::::::::                          one old block that the node has, again and again
@pytest.mark.attack("unasked-data")
def test_blocks_that_were_not_asked_for_are_seen() -> None:
    (flood,) = of_rule(found(messages("block", 1.0, 5)), "unasked-data")
    assert opened_s(flood) - START <= 80
    assert re.search(r"and \d\d+ blocks, of which 0 were", flood.summary)
    assert flood.severity == "warning"


# asked      .:.:.:.:.:                          a node that synchronises: 16 blocks on their way from each peer
@pytest.mark.benign("unasked-data")
def test_blocks_of_a_first_synchronisation_are_silent() -> None:
    who = honest(1, "out")
    asked = every(0.5, 0, HOUR, who, flow="sent", block=1, entries=1)
    come = every(0.5, 8, HOUR, who, type="block", size=1_500_000)
    assert found({"p2p:getdata": asked[: len(come)], "net:inbound_message": come}) == []


# block      . . . . . . .                       32 in 5 minutes: twice what may be answers
@pytest.mark.evasion("unasked-data")
def test_a_few_pushed_blocks_pass() -> None:
    assert found(messages("block", 300 / 32, 60)) == []


# tx         . . . . . . .                       100 in 5 minutes: as many as may be answers
@pytest.mark.evasion("unasked-data")
def test_a_few_pushed_transactions_pass() -> None:
    assert found({"p2p:tx": every(3, START, START + HOUR, ATTACKER)}) == []


# addr       0 0 0 0 0 0                         messages without an address
@pytest.mark.attack("empty-addr")
def test_empty_addr_messages_are_seen() -> None:
    (storm,) = of_rule(found({"p2p:addr": every(1, START, START + 2 * MINUTE, ATTACKER, entries=0)}), "empty-addr")
    assert opened_s(storm) - START <= 20
    assert storm.severity == "warning"


# addr       1 1 1 1 1 1                         one address each: other rules count those
@pytest.mark.benign("empty-addr")
@pytest.mark.evasion("empty-addr")
def test_messages_with_an_address_are_not_empty() -> None:
    assert found({"p2p:addr": every(1, START, START + 10 * MINUTE, ATTACKER, entries=1)}) == []


def broken(count: int, netblocks: int, gap: float) -> dict[str, Rows]:
    rows = [{**honest(n % netblocks), "t": START + n * gap, "flow": "received"} for n in range(count)]
    return {"p2p:malformed": rows}


# malformed  x  x  x  x  x                       two of each netblock
@pytest.mark.attack("malformed-spread")
def test_unreadable_messages_of_many_netblocks_are_seen() -> None:
    (spread,) = of_rule(found(broken(120, 60, 10)), "malformed-spread")
    assert spread.severity == "warning"


# malformed  x        x        x                 what scanners send
@pytest.mark.benign("malformed-spread")
def test_the_background_of_scanners_is_silent() -> None:
    assert found(broken(60, 50, 150)) == []


# malformed  x   x   x   x                       29 an hour
@pytest.mark.evasion("malformed-spread")
def test_fewer_than_thirty_an_hour_pass() -> None:
    assert found(broken(40, 40, 130)) == []


def fetched(answered: int, blocks: int = 6) -> dict[str, Rows]:
    """A peer is asked for the transactions of a block each ten minutes, and answers some."""
    return {
        "p2p:getblocktxn": every(600, START, START + blocks * 600, ATTACKER, flow="sent"),
        "p2p:blocktxn": every(600, START + 1, START + answered * 600 + 1, ATTACKER),
    }


# blocktxn   ? ? ?                               asked, never answered
@pytest.mark.attack("compact-block-stalled")
def test_a14_kept_transactions_are_seen_with_the_second_block() -> None:
    (stall,) = of_rule(found(fetched(0)), "compact-block-stalled")
    assert opened_s(stall) - START <= 620
    assert stall.severity == "high"


# blocktxn   | | | | | ?                         one is missing
@pytest.mark.benign("compact-block-stalled")
@pytest.mark.evasion("compact-block-stalled")
def test_one_missing_answer_is_silent() -> None:
    assert found(fetched(5)) == []


def polls(waiting: int, peers: int, **fields: Any) -> dict[str, Rows]:
    """Polls each 30 s of an hour; so many of the peers wait for a pong."""
    times = range(0, HOUR, 30)
    rows = [
        {**honest(n), "t": now, "ping_wait_us": 9_000_000 if n < waiting and now >= START else -1, **fields}
        for now in times
        for n in range(peers)
    ]
    return {"rpc:peers": [{"t": now, "inbound": peers} for now in times], "rpc:peer": rows}


# pingwait   ......::::::                        a third of the peers
@pytest.mark.attack("local-backlog")
def test_peers_that_wait_are_seen() -> None:
    (backlog,) = of_rule(found(polls(20, 60, presynced_headers=-1), until=HOUR), "local-backlog")
    assert opened_s(backlog) - START <= 150


# pingwait   ......::::::                        an eighth of the peers; four of eight
@pytest.mark.parametrize(("waiting", "peers"), [(10, 80), (4, 8)])
@pytest.mark.benign("local-backlog")
@pytest.mark.evasion("local-backlog")
def test_a_few_slow_peers_are_silent(waiting: int, peers: int) -> None:
    assert found(polls(waiting, peers, presynced_headers=-1), until=HOUR) == []


def chain(*, ibd: bool, direction: str, presynced: int) -> dict[str, Rows]:
    times = range(0, HOUR, 30)
    offers = [{**honest(1, direction), "t": now, "presynced_headers": presynced} for now in times if now >= START]
    return {"rpc:chain": [{"t": now, "ibd": ibd, "blocks": 900_000} for now in times], "rpc:peer": offers}


# headers    ......======                        an outbound peer has a long chain without work
@pytest.mark.attack("low-work-headers")
def test_an_outbound_peer_on_a_chain_of_little_work_is_seen() -> None:
    seen = found(chain(ibd=False, direction="out", presynced=20_000), until=HOUR)
    (offer,) = of_rule(seen, "low-work-headers")
    assert opened_s(offer) - START <= 60


@pytest.mark.parametrize(("ibd", "presynced"), [(True, 20_000), (False, -1)])
@pytest.mark.benign("low-work-headers")
def test_a_synchronising_node_is_silent(ibd: bool, presynced: int) -> None:
    assert found(chain(ibd=ibd, direction="out", presynced=presynced), until=HOUR) == []


@pytest.mark.evasion("low-work-headers")
def test_inbound_peers_may_offer_any_chain() -> None:
    assert found(chain(ibd=False, direction="in", presynced=20_000), until=HOUR) == []
