"""The place of a `zmq:` source: the endpoint of each topic. Needs no ZMQ library.

    hashblock=tcp://127.0.0.1:28332,sequence=tcp://127.0.0.1:28333

The topics are those of Bitcoin Core that hold what rules can use (doc/zmq.md there): `hashblock` and `sequence`. They
may share an endpoint, as Core's `-zmqpubhashblock` and `-zmqpubsequence` may.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Final

from watchdog.core.errors import SourceError

HASHBLOCK: Final = "hashblock"
SEQUENCE: Final = "sequence"
KINDS_OF_TOPIC: Final[Mapping[str, tuple[str, ...]]] = {
    HASHBLOCK: ("zmq:tip",),
    SEQUENCE: ("zmq:block", "zmq:mempool"),
}
"""The topics, and the kinds that each gives."""
OWN_KINDS: Final = frozenset({"node:started", "source:gap"})
"""Kinds that follow from the counters of any topic."""
EXTRA: Final = "pip install 'bitcoin-watchdog[zmq]'"
LONGEST: Final = 100  # bytes of an ipc: path; sockaddr_un holds 108 (Linux unix(7))
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
_FORM: Final = "write tcp://HOST:PORT or ipc:///PATH, as in the node's -zmqpub options"


def endpoints_of(place: str) -> dict[str, str]:
    """Return the endpoint of each topic, by topic in the order of `KINDS_OF_TOPIC`.

    Raises SourceError, with a hint after a semicolon, for an unknown topic, one that is named twice, or an endpoint
    that nothing can connect to.
    """
    given: dict[str, str] = {}
    for part in place.split(","):
        topic, equals, endpoint = part.partition("=")
        if not equals or topic not in KINDS_OF_TOPIC:
            raise SourceError(f"zmq: '{part[:80]}' names no topic; {_meant(topic, endpoint)}")
        if topic in given:
            raise SourceError(f"zmq: '{topic}' is given twice; a source reads one publisher of each topic")
        if fault := _fault(endpoint):
            raise SourceError(f"zmq: bad endpoint '{endpoint[:80]}' of '{topic}'; {fault}")
        given[topic] = endpoint
    return {topic: given[topic] for topic in KINDS_OF_TOPIC if topic in given}


def check_zmq(place: str, _settings: Mapping[str, object]) -> str:
    """Return a warning about a place, empty for none; the registry calls it, see `scheme.Check`.

    Raises SourceError for a mistake; the missing library is one, as it keeps the configuration from being run.
    """
    far = [endpoint for endpoint in endpoints_of(place).values() if not _is_local(endpoint)]
    if not find_spec("zmq"):
        raise SourceError(f"zmq: the package pyzmq is not installed; {EXTRA}")
    if not far:
        return ""
    return f"'{far[0]}' is beyond this machine: ZMQ has neither encryption nor authentication, so keep it in a tunnel"


def kinds_at(place: str) -> frozenset[str]:
    """Return the kinds that the topics of a place give; those of all topics where it cannot be read."""
    try:
        topics = set(endpoints_of(place))
    except SourceError:
        topics = set(KINDS_OF_TOPIC)
    return OWN_KINDS.union(*(KINDS_OF_TOPIC[topic] for topic in topics))


def _meant(topic: str, endpoint: str) -> str:
    close = get_close_matches(topic, KINDS_OF_TOPIC, 1)
    if close and endpoint:
        return f"did you mean '{close[0]}'?"
    return f"write zmq:{HASHBLOCK}=tcp://HOST:PORT,{SEQUENCE}=tcp://HOST:PORT, or one of both"


def _fault(endpoint: str) -> str:
    """Return why nothing can connect to an endpoint, and what to write; empty when something might."""
    if endpoint.startswith("ipc://"):
        path = endpoint.removeprefix("ipc://")
        plain = path.startswith(("/", "@")) and path.isprintable() and len(path.encode()) <= LONGEST
        return "" if plain else f"an ipc path is absolute, and has at most {LONGEST} bytes"
    if not endpoint.startswith("tcp://"):
        return _FORM
    host, colon, port = endpoint.removeprefix("tcp://").rpartition(":")
    if host in {"*", "0.0.0.0", "[::]"}:  # noqa: S104 - refused, not bound
        return f"'{host}' is where the node listens; write the address to connect to, such as 127.0.0.1"
    if not colon or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 1 << 16):
        return f"it needs a port from 1 to 65535; {_FORM}"
    if not _is_host(host):
        return f"'{host[:80]}' is no host; {_FORM}"
    return ""


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return bool(_HOST.fullmatch(host))
    try:
        return bool(ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))) and host.endswith("]")
    except ValueError:
        return False


def _is_local(endpoint: str) -> bool:
    if endpoint.startswith("ipc://"):
        return True
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
