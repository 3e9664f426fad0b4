"""Parties: whom a name accuses, and how near two names are.

A party is the netblock of an address (/16, or /32 for IPv6), or a host of Tor, I2P or CJDNS. ASNs, groups of
overlay networks and loopback (where all onion peers come from) are no party: they would join strangers.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

IpRange = ipaddress.IPv4Network | ipaddress.IPv6Network
HOSTS = (".onion", ".b32.i2p")
_CJDNS = ipaddress.IPv6Network("fc00::/8")
_BLOCK = {4: 16, 6: 32}
_NEAR = {4: 24, 6: 48}
REMEMBERED = 65_536


@lru_cache(maxsize=REMEMBERED)
def network_of_name(name: str) -> IpRange | None:
    """Return an address or prefix as a network; None for anything else, and for loopback."""
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        return None
    return None if network.is_loopback else network


@lru_cache(maxsize=REMEMBERED)
def is_this_machine(name: str) -> bool:
    """Return whether a name is a loopback address, which all peers behind an onion proxy share."""
    try:
        return ipaddress.ip_network(name, strict=False).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=REMEMBERED)
def party_of(name: str) -> str | None:
    """Return the party of a name: a netblock as a prefix, or a host. None: the name accuses no one."""
    if name.endswith(HOSTS):
        return name
    network = network_of_name(name)
    if network is None:
        return None
    if network.version == 6 and network.subnet_of(_CJDNS):
        return name
    bits = _BLOCK[network.version]
    return str(network.supernet(new_prefix=bits) if network.prefixlen > bits else network)


@lru_cache(maxsize=REMEMBERED)
def near_of(name: str) -> str | None:
    """Return the /24 or /48 of an address, or of a prefix at least as long; a host itself; None for wider names."""
    network = network_of_name(name)
    if network is None or (network.version == 6 and network.subnet_of(_CJDNS)):
        return party_of(name)
    bits = _NEAR[network.version]
    return str(network.supernet(new_prefix=bits)) if network.prefixlen >= bits else None


@lru_cache(maxsize=REMEMBERED)
def is_address(name: str) -> bool:
    """Return whether a name is one host, not a prefix."""
    return "/" not in name and party_of(name) is not None
