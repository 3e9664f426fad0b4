"""Addresses in notices, shown to a receiver as subnets or as keyed hashes, alike for alike.

The history keeps the addresses; only what leaves for this receiver is changed. Without the key of the house a hash
cannot be matched to an address by trying all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import replace

from alerts.notice import Notice
from alerts.routing import Receiver
from alerts.store.redact import LEAST_KEY_BYTES, Redactor
from watchdog.core.address import split_port

KEPT = frozenset({"url", "id", "root", "type", "rule", "rules", "aliases", "incidents", "node", "continues", "merged"})
"""Fields that name no peer; ids are hex digits that must stay equal everywhere."""
DIGITS = 12  # of a hash: 48 bits, enough to keep the peers of a node apart


def redacted(notice: Notice, receiver: Receiver) -> Notice:
    """Return the notice as this receiver may see it."""
    return notice if receiver.redact == "none" else replace(notice, body=redacted_body(notice.body, receiver))


def redacted_body(body: Mapping[str, object], receiver: Receiver) -> Mapping[str, object]:
    """Return an incident or a case as this receiver may see it."""
    if receiver.redact == "none":
        return body
    return _mapping(body, _Subnets() if receiver.redact == "subnet" else _Hashes(receiver.redact_key))


class _Hashes(Redactor):
    """HMAC-SHA256 of what a text names, under the key of the house."""

    def _name(self, kind: str, known: str) -> str:
        digest = hmac.digest(self._key, f"{kind}:{known}".encode("utf-8", "backslashreplace"), hashlib.sha256)
        return f"{kind}-{digest.hex()[:DIGITS]}"


class _Subnets(Redactor):
    """The /16 of an IPv4 address and the /32 of an IPv6 address, without the port; of hidden services the network."""

    def __init__(self) -> None:
        super().__init__(bytes(LEAST_KEY_BYTES))  # nothing is hashed

    def _place(self, text: str) -> str:
        if text[:2].upper() == "AS":
            return text
        host, _, length = split_port(text)[0].partition("/")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return next((name for name in ("onion", "i2p") if host.lower().endswith(f".{name}")), text)
        bits = 16 if address.version == 4 else 32
        kept = min(int(length), bits) if length.isascii() and length.isdigit() and len(length) <= 3 else bits
        return str(ipaddress.ip_network((address, kept), strict=False))


def _mapping(body: Mapping[str, object], redactor: Redactor) -> dict[str, object]:
    return {
        redactor.text(name): value if name in KEPT and _is_plain(value) else _value(value, redactor)
        for name, value in body.items()
    }


def _is_plain(value: object) -> bool:
    """Return whether a value is a text or a list of texts."""
    return isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(one, str) for one in value))


def _value(value: object, redactor: Redactor) -> object:
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, Mapping):
        return _mapping({str(name): one for name, one in value.items()}, redactor)
    if isinstance(value, list | tuple):
        return [_value(one, redactor) for one in value]
    return value
