"""Where webhooks may go, judged by the address that is connected to."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.targets import TargetRefusedError, kind_of, refusal, socket_guard, url_fault


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd00::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("198.18.0.1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:0:169.254.169.254", "link-local"),
        ("::127.0.0.1", "loopback"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("64:ff9b::a00:1", "private"),
        ("64:ff9b:1::808:808", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2002:a00:1::1", "private"),
        ("2001::1", "reserved"),
    ],
)
def test_addresses_that_are_not_public_are_refused_by_name(address: str, kind: str) -> None:
    assert kind_of(ipaddress.ip_address(address)) == kind


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public_addresses_are_fine(address: str) -> None:
    assert kind_of(ipaddress.ip_address(address)) is None


SPECIAL = """
unspecified  0.0.0.0/8 ::/128
loopback     127.0.0.0/8 ::1/128
link-local   169.254.0.0/16 fe80::/10
multicast    224.0.0.0/4 ff00::/8
private      10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10 64:ff9b:1::/48
reserved     192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
reserved     100::/64 2001::/23 2001:db8::/32 3fff::/20 5f00::/16
"""
"""IANA's registries of special-purpose addresses, written down a second time."""
LINES = [line.split() for line in SPECIAL.strip().splitlines()]
RANGES = [(ipaddress.ip_network(text), kind) for kind, *texts in LINES for text in texts]


@pytest.mark.parametrize(("network", "kind"), RANGES, ids=str)
def test_every_special_range_is_refused_from_its_first_address_to_its_last_and_no_further(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network, kind: str
) -> None:
    assert [kind_of(network[place]) for place in (0, -1)] == [kind, kind]
    bits = network.max_prefixlen
    for beside in (int(network[0]) - 1, int(network[-1]) + 1):
        if not 0 < beside < 1 << bits:
            continue
        address = ipaddress.IPv4Address(beside) if bits == 32 else ipaddress.IPv6Address(beside)
        own = [name for other, name in RANGES if other.version == address.version and address in other]
        embedded = bits == 128 and beside >> 32 in (0, 0xFFFF, 0xFFFF_0000)
        assert embedded or kind_of(address) == (own[0] if own else None)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_taken_for_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    odd = address.is_private or address.is_loopback or address.is_multicast or address.is_link_local
    # what Python says of an address that stands for an IPv4 address changed between its bug-fix releases
    stands_in = isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.sixtofour) is not None
    if odd and not stands_in:
        assert kind_of(address) is not None


@given(st.ip_addresses(v=4))
def test_an_address_that_stands_for_another_is_judged_as_that(address: ipaddress.IPv4Address) -> None:
    bits = int(address)
    mapped, translated, compatible = 0xFFFF << 32 | bits, 0xFFFF << 48 | bits, max(bits, 2)  # ::0 and ::1 are our own
    for stands_in in (mapped, translated, compatible, 0x64FF9B << 96 | bits, 0x2002 << 112 | bits << 80):
        assert kind_of(ipaddress.IPv6Address(stands_in)) == kind_of(address)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", ""])
def test_what_is_no_plain_address_is_refused(host: str) -> None:
    assert refusal(host) is not None


def test_the_guard_refuses_the_address_that_would_be_connected_to() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "innocent.example", ("127.0.0.1", 80))
    with pytest.raises(TargetRefusedError, match=r"127\.0\.0\.1 is loopback; 'allow_private: true' would permit it"):
        socket_guard(allow_private=False)(info)
    socket_guard(allow_private=True)(info).close()


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://hooks.example.com/T0KEN", None),
        ("http://8.8.8.8:8080/", None),
        ("https://[2606:4700::1]/", None),
        ("ftp://example.com/", "scheme 'ftp'"),
        ("example.com/hook", "scheme ''"),
        ("https:///hook", "names no host"),
        ("https://example.com:99999/", "not a URL"),
        ("https://example.com:0/", "port 0"),
        ("http://127.0.0.1/", "loopback"),
        ("http://[::ffff:10.0.0.1]/", "private"),
        ("http://2130706433/", "no plain IP address"),
        ("http://localhost:8080/", "loopback"),
        ("http://[::1/", "not a URL"),
        ("http://127.1/", "no plain IP address"),
        ("http://[::1]/", "loopback"),
        ("http://[fe80::1%eth0]/", "link-local"),
        ("http://[2606:4700::1%e t]/", "holds a blank"),
        ("http://[2606:4700::1%e~t]/", "no name and no address"),
        ("http://a.localhost/", "loopback"),
        ("https://example.com./hook", None),
        ("https://example..com/", "no name and no address"),
        (f"https://{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 62}/", None),
        (f"https://{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 63}/", "no name and no address"),
        ("https://example.com\\@127.0.0.1/", "a backslash"),
        ("https://exam\u200bple.com/", "cannot be seen"),
    ],
)
def test_a_url_is_judged_without_a_network(url: str, fault: str | None) -> None:
    said = url_fault(url, allow_private=False)
    assert said is None if fault is None else said is not None and fault in said
    assert "T0KEN" not in (said or "")


def test_private_urls_are_fine_where_allowed() -> None:
    assert url_fault("http://10.0.0.1/hook", allow_private=True) is None
    assert url_fault("ftp://10.0.0.1/hook", allow_private=True) is not None
