"""Fingerprints and ids of incidents: hashes of rule, node, key and opening time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache

import msgspec

REMEMBERED = 4_096  # texts and digests: findings ask for the same ones a few times, soon after each other
_KEY = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_FAST = msgspec.json.Encoder()


def key_text(key: Mapping[str, str]) -> str:
    """Return a key as a JSON object with sorted names: equal for equal keys; `json.loads` reverses it."""
    items = tuple(key.items())
    return _key_text(items if len(items) == 1 else tuple(sorted(items)))


@lru_cache(REMEMBERED)
def _key_text(items: tuple[tuple[str, str], ...]) -> str:
    try:
        return _FAST.encode(dict(items)).decode()
    except UnicodeEncodeError:  # a lone surrogate
        return _KEY.encode(dict(items))


def fingerprint(rule: str, node: str, incident: Mapping[str, str]) -> str:
    """Return 32 hex digits for rule, node and incident key: findings with equal ones belong to one attack."""
    return _digest((rule, node, key_text(incident)), 16)


def incident_id(rule: str, node: str, incident: Mapping[str, str], opened_ns: int) -> str:
    """Return 16 hex digits, the same in every run over the same events (64 bits: one clash beyond 10^9 incidents)."""
    return _digest((rule, node, key_text(incident), str(opened_ns)), 8)


@lru_cache(REMEMBERED)
def _digest(parts: tuple[str, ...], size_bytes: int) -> str:
    text = json.dumps(parts, ensure_ascii=True)  # a lone surrogate from a peer must not raise
    return hashlib.blake2b(text.encode("ascii"), digest_size=size_bytes, person=b"watchdog").hexdigest()
