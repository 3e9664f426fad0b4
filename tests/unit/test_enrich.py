"""Networks, netgroups, subnets and AS numbers as Bitcoin Core sees them."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.parts import shared
from watchdog.core import enrich
from watchdog.core.address import CJDNS, I2P, IPV4, IPV6, MAPPED, ONION, OTHER, parse_address
from watchdog.core.enrich import CidrSet, Enricher, PeerFacts, impossible, routable
from watchdog.core.errors import SourceError
from watchdog.core.prefix import prefix_texts

UNROUTABLE_BLOCKS = [
    ipaddress.ip_network(text)
    for text in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "255.255.255.255/32",
        "::/127",
        "::ffff:0:0/96",
        "2001:10::/28",
        "2001:20::/28",
        "2001:db8::/32",
        "fc00::/7",
        "fe80::/64",
    ]
]


def columns(*texts: str) -> tuple[enrich.Codes, enrich.Packed]:
    """Networks and packed addresses, with zeros behind."""
    parsed = [parse_address(text) for text in texts]
    packed = b"".join(address.packed.ljust(32, b"\0") for address in parsed if address)
    networks = np.array([address.network for address in parsed if address], np.uint8)
    return networks, np.frombuffer(packed, np.uint8).reshape(-1, 32)


# the cases of Core's own netbase tests, and the borders of its groups
GROUPS = {
    "127.0.0.1": "local",
    "0.1.2.3": "local",
    "::1": "local",
    "257.0.0.1": "unroutable",
    "10.0.0.1": "unroutable",
    "169.254.1.1": "unroutable",
    "255.255.255.255": "unroutable",
    "2001:db8::1": "unroutable",
    "fe80::1": "unroutable",
    "1.2.3.4": "1.2.0.0/16",
    "::ffff:0:102:304": "1.2.0.0/16",
    "64:ff9b::102:304": "1.2.0.0/16",
    "2002:102:304:9999:9999:9999:9999:9999": "1.2.0.0/16",
    "2001:0:9999:9999:9999:9999:fefd:fcfb": "1.2.0.0/16",
    "2001:470:abcd:9999:9999:9999:9999:9999": "2001:470:a000::/36",
    "2001:2001:9999:9999:9999:9999:9999:9999": "2001:2001::/32",
    "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion": "onion:7",
    "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p": "i2p:10",
    "fc12:3456::1": "cjdns:1",
}


@pytest.mark.parametrize(("text", "group"), GROUPS.items())
def test_netgroups_are_those_of_core(text: str, group: str) -> None:
    assert prefix_texts([Enricher().peer(text).netgroup]) == [group]


def test_many_addresses_at_once_give_what_one_gives() -> None:
    texts = [text for text in GROUPS if parse_address(text)]
    networks, packed = columns(*texts)
    enricher = Enricher()
    alone = [enricher.peer(text) for text in texts]
    assert enricher.netgroups(networks, packed).tolist() == [facts.netgroup for facts in alone]
    assert enricher.place(networks, packed).netblocks.tolist() == [facts.netblock for facts in alone]
    assert enricher.subnets(networks, packed).tolist() == [facts.subnet for facts in alone]
    assert enricher.asns(networks, packed).tolist() == [0] * len(texts)


BORDERS = [bytes.fromhex(start) for start in (
    "", "00" * 8, "00" * 15, "0064ff9b" + "00" * 8, "00" * 8 + "ffff0000", "20010470", "2001", "20010000",
    "2002", "fc", "fd", "fe80" + "00" * 6, "20010db8", "20010010",
)]  # fmt: skip
TAILS = st.one_of(st.binary(min_size=16, max_size=16), st.binary(max_size=2).map(lambda raw: raw.rjust(16, b"\0")))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(BORDERS), TAILS), min_size=1, max_size=20))
def test_one_address_has_the_facts_that_many_have(raws: list[tuple[bool, bytes, bytes]]) -> None:
    packed = [(start + tail)[:4] if four else (start + tail)[:16] for four, start, tail in raws]
    packed += [bytes([first, second, 1, 1]) for first in (0, 127, 192, 198, 255) for second in (0, 18, 51, 168, 255)]
    texts = [str(ipaddress.ip_address(raw)) for raw in packed]
    texts = [text for text in texts if parse_address(text)]
    networks, many = columns(*texts)
    enricher = Enricher()
    groups, blocks, numbers, reachable = enricher.place(networks, many)
    alone = [enricher.peer(text) for text in texts]
    assert groups.tolist() == [facts.netgroup for facts in alone]
    assert blocks.tolist() == [facts.netblock for facts in alone] == groups.tolist()
    assert numbers.tolist() == [facts.asn for facts in alone]
    assert enricher.subnets(networks, many).tolist() == [facts.subnet for facts in alone]
    assert reachable.tolist() == [facts.network != "unroutable" for facts in alone]


@pytest.mark.parametrize(
    ("text", "addr", "network", "subnet"),
    [
        ("136.43.7.1:8333", "136.43.7.1", "ipv4", "136.43.7.0/24"),
        ("[2a01:4f8:12:3::1]:8333", "2a01:4f8:12:3::1", "ipv6", "2a01:4f8:12::/48"),
        ("[2002:102:304::1]:8333", "2002:102:304::1", "ipv4", "2002:102:304::/48"),
        ("127.0.0.1:38333", "127.0.0.1", "unroutable", "local"),
        ("10.1.1.71:8333", "10.1.1.71", "unroutable", "unroutable"),
        ("who\x1b[2Jami:1", "who\\x1b[2Jami", "unroutable", "unroutable"),
        ("", "", "unroutable", "unroutable"),
    ],
)
def test_facts_of_a_peer(text: str, addr: str, network: str, subnet: str) -> None:
    facts = Enricher().peer(text)
    assert (facts.addr, facts.network, prefix_texts([facts.subnet])) == (addr, network, [subnet])


def test_the_cache_of_peers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrich, "MAX_PEERS", 3)
    enricher = Enricher()
    facts = [enricher.peer(f"1.2.3.{last}") for last in range(10)]
    assert len(enricher._peers) == 3
    assert enricher.peer("1.2.3.9") is facts[9]
    assert enricher.peer("1.2.3.0") == facts[0]


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=16, max_size=16)), min_size=1, max_size=20))
def test_random_addresses_are_routable_unless_in_a_block_that_core_refuses(raws: list[tuple[bool, bytes]]) -> None:
    blocks = [block.network_address.packed[:6] for block in UNROUTABLE_BLOCKS]
    cases = raws + [(len(block) < 5, (block + raw)[:16]) for block in blocks for _, raw in raws[:1]]
    networks = np.array([IPV4 if four else IPV6 for four, _ in cases], np.uint8)
    packed = np.frombuffer(b"".join(MAPPED + raw[:4] if four else raw for four, raw in cases), np.uint8).reshape(-1, 16)
    addresses = [ipaddress.ip_address(raw[:4] if four else raw) for four, raw in cases]
    expected = [not any(address in block for block in UNROUTABLE_BLOCKS) for address in addresses]
    assert routable(networks, packed).tolist() == expected


def test_overlay_addresses_are_routable_and_unknown_networks_are_not() -> None:
    packed = np.zeros((5, 16), np.uint8)
    packed[2:4, 0] = [0xFC, 0xFD]
    assert routable(np.array([ONION, I2P, CJDNS, CJDNS, OTHER], np.uint8), packed).tolist() == [1, 1, 1, 0, 0]


def test_multicast_and_class_e_are_impossible() -> None:
    networks, packed = columns("223.255.255.255", "224.0.0.0", "255.1.2.3", "e001::")
    assert impossible(networks, packed).tolist() == [False, True, True, False]


@given(
    st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 128)), max_size=6),
    st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=10),
)
def test_membership_in_a_list_is_that_of_the_standard_library(nets: list[tuple[bytes, int]], raws: list[bytes]) -> None:
    networks = [ipaddress.ip_network((raw, length), strict=False) for raw, length in nets]
    members = CidrSet([str(network) for network in networks])
    raws += [network.broadcast_address.packed for network in networks]
    packed = np.frombuffer(b"".join(raws), np.uint8).reshape(-1, 16)
    expected = [any(ipaddress.ip_address(raw) in network for network in networks) for raw in raws]
    assert members.contains(np.full(len(raws), IPV6, np.uint8), packed).tolist() == expected


def test_lists_hold_networks_and_single_addresses_of_both_families() -> None:
    members = CidrSet(["162.218.65.0/24", "91.198.115.7", "2604:d500::/32"])
    assert "162.218.65.9:8333" in members
    assert "[2604:d500:1::1]:8333" in members
    assert "91.198.115.7" in members
    assert "91.198.115.8" not in members
    assert "nonsense" not in members
    assert 7 not in members


def test_a_list_that_is_missing_or_holds_something_else_is_one_clear_error() -> None:
    enricher = Enricher(None, {"spies": ("1.2.3.0/24",), "broken": ("1.2.3.0/33",)})
    networks, packed = columns("1.2.3.4", "1.2.4.4")
    assert enricher.listed("spies", networks, packed).tolist() == [True, False]
    with pytest.raises(SourceError, match=r"no list named 'spy'; there are: broken, spies"):
        enricher.listed("spy", networks, packed)
    with pytest.raises(SourceError, match=r"list 'broken': '1.2.3.0/33'"):
        enricher.listed("broken", networks, packed)


def test_with_an_asmap_the_group_is_the_as_of_routable_addresses_and_tunnels() -> None:
    enricher = Enricher(str(shared("data") / "asmap.dat"))
    facts = enricher.peer("1.1.1.1:8333")
    assert facts == PeerFacts("1.1.1.1", "ipv4", facts.netgroup, facts.netblock, facts.subnet, 13335)
    assert prefix_texts([facts.netgroup, facts.netblock, facts.subnet]) == ["AS13335", "1.1.0.0/16", "1.1.1.0/24"]
    assert enricher.peer("[2002:101:101::1]:8333").asn == 13335
    assert enricher.peer("10.0.0.1:8333").asn == 0
    assert prefix_texts([enricher.peer("10.0.0.1:8333").netgroup]) == ["unroutable"]
    assert prefix_texts([enricher.peer("[fc12:3456::1]:8333").netgroup]) == ["cjdns:1"]


def test_a_netblock_is_the_netgroup_of_a_node_without_an_asmap_for_one_and_for_many() -> None:
    plain, mapped = Enricher(), Enricher(str(shared("data") / "asmap.dat"))
    texts = [
        *(text for text in GROUPS if parse_address(text)),
        "1.1.1.1",
        "8.8.8.8",
        "2a01:4f8:12:3::1",
        "2002:101:101::1",
    ]
    networks, packed = columns(*texts)
    want = [plain.peer(text).netgroup for text in texts]
    assert [mapped.peer(text).netblock for text in texts] == want
    places = mapped.place(networks, packed)
    assert places.netblocks.tolist() == want
    assert places.netgroups.tolist() == [mapped.peer(text).netgroup for text in texts]
    assert (places.netgroups != places.netblocks).tolist() == (places.asns > 0).tolist()
    assert np.count_nonzero(places.asns) >= 4
