"""Addresses as Core prints them, to packed bytes and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.core.address import (
    CJDNS,
    I2P,
    IPV4,
    IPV6,
    MAPPED,
    ONION,
    Address,
    address_text,
    parse_address,
    split_port,
)

# the test vectors of BIP155's Tor v3 and I2P sections, as Core's netbase tests use them
ONION_TEXT = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
ONION_KEY = bytes.fromhex("79bcc625184b05194975c28b66b66b0469f7f6556fb1ac3189a79b40dda32f1f")
I2P_TEXT = "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p"
I2P_KEY = bytes.fromhex("a2894dabaec08c0051a481a6dac88b64f98232ae42d4b6fd2fa81952dfe36a87")


def printed_service(network: int, packed: bytes, port: int) -> str:
    """As Core prints an address with its port, IPv6 and CJDNS in brackets."""
    text = address_text(network, packed)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4:8333", Address(IPV4, MAPPED + b"\1\2\3\4", 8333)),
        ("1.2.3.4", Address(IPV4, MAPPED + b"\1\2\3\4", 0)),
        ("[2a01::1]:8333", Address(IPV6, bytes.fromhex("2a01" + "00" * 13 + "01"), 8333)),
        ("2a01::1", Address(IPV6, bytes.fromhex("2a01" + "00" * 13 + "01"), 0)),
        ("[::102:304]:1", Address(IPV6, bytes(12) + b"\1\2\3\4", 1)),
        ("[fc00:1:2:3:4:5:6:7]:8333", Address(CJDNS, bytes.fromhex("fc000001000200030004000500060007"), 8333)),
        (f"{ONION_TEXT}:8333", Address(ONION, ONION_KEY, 8333)),
        (f"{I2P_TEXT}:0", Address(I2P, I2P_KEY, 0)),
    ],
)
def test_addresses_of_every_network_are_read_and_printed_as_core_does(text: str, address: Address) -> None:
    assert parse_address(text) == address
    printed = printed_service(address.network, address.packed, address.port)
    assert parse_address(printed) == address
    assert split_port(printed)[0] == split_port(text)[0]


@pytest.mark.parametrize(
    "text",
    ["", ":", "[]", "1.2.3:8333", "1.2.3.4:99999", "1.2.3.4:-1", "[1.2.3.4", "x.onion", "a" * 56 + ".onion", "host:1",
     ".b32.i2p", "1.2.3.4\0", "١.2.3.4", "[2a01::1]x:1", "a" * 10_000],
)  # fmt: skip
def test_other_texts_are_no_address(text: str) -> None:
    assert parse_address(text) is None


def test_a_scope_is_left_out() -> None:
    assert parse_address("[fe80::1%3]:8333") == Address(IPV6, bytes.fromhex("fe80" + "00" * 13 + "01"), 8333)


@given(st.text(max_size=80))
def test_any_text_can_be_asked_about(text: str) -> None:
    host, port = split_port(text)
    assert 0 <= port <= 65535
    assert len(host) <= len(text)
    parse_address(text)


@given(st.sampled_from([IPV4, IPV6, CJDNS, ONION, I2P]), st.binary(min_size=32, max_size=32), st.integers(0, 65535))
def test_what_is_printed_is_read_back(network: int, raw: bytes, port: int) -> None:
    packed = {IPV4: MAPPED + raw[:4], IPV6: b"\x20" + raw[:15], CJDNS: b"\xfc" + raw[:15]}.get(network, raw)
    assert parse_address(printed_service(network, packed, port)) == Address(network, packed, port)


@given(st.integers(0, 9), st.binary(max_size=40))
def test_text_of_any_bytes_is_plain_ascii(network: int, raw: bytes) -> None:
    assert address_text(network, raw).isascii()
