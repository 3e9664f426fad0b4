"""Where a node answers: `http://HOST:PORT`, with a cookie or a user as its query on command lines."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from watchdog.core.errors import SourceError
from watchdog.core.text import printable

FORM: Final = "http://HOST:PORT[?cookie=PATH | ?user=NAME&password-file=PATH]"
CHAINS: Final[Mapping[str, tuple[int, str]]] = {
    "main": (8332, ""),
    "test": (18332, "testnet3"),
    "testnet4": (48332, "testnet4"),
    "signet": (38332, "signet"),
    "regtest": (18443, "regtest"),
}
"""Port and folder of each chain, by the name that getblockchaininfo gives (Core's CBaseChainParams)."""
QUERY: Final = ("cookie", "user", "password-file")


@dataclass(frozen=True, slots=True)
class NodeUrl:
    """A node's address. query: `cookie`, or `user` and `password-file`, as the command line gives them."""

    host: str
    port: int
    path: str = "/"
    query: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> NodeUrl:
        """Return the parts of a URL. Raise SourceError, which never repeats the text: it may hold a password."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise SourceError(f"the address of the node is not a URL; expected {FORM}") from None
        if "@" in parts.netloc or "@" in text.partition("?")[0]:
            hint = "name the user and a file of the password beside it, or use the cookie"
            raise SourceError(f"the URL of the node holds a user or a password; {hint}")
        if parts.scheme != "http" or not parts.hostname or parts.fragment or not _is_plain(text):
            raise SourceError(f"the URL of the node has another form; expected {FORM}")
        if parts.path not in ("", "/"):
            raise SourceError("the URL of the node has a path; leave it out (a wallet is not asked)")
        if port == 0:
            raise SourceError("the port of the node must be 1 to 65535")
        return cls(parts.hostname, port or CHAINS["main"][0], "/", _query(parts))

    @property
    def authority(self) -> str:
        """The host and port as an HTTP header has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL without its query, for people."""
        return f"http://{printable(self.authority)}"

    @property
    def is_loopback(self) -> bool:
        """Whether the text names this machine; a name other than `localhost` may resolve to any address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def chain(self) -> str:
        """The chain that usually has this port; empty for another port."""
        return next((name for name, (port, _) in CHAINS.items() if port == self.port), "")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _query(parts: SplitResult) -> dict[str, str]:
    """Return the query. A `+` stands for itself: these are paths, not a form."""
    pairs = [piece.partition("=")[::2] for piece in parts.query.split("&")] if parts.query else []
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in ("password", "rpcpassword", "pass"):
            raise SourceError("the URL of the node holds a password; write password-file=PATH")
        if name not in QUERY:
            raise SourceError(f"the URL of the node has an unknown option; expected {FORM}")
        if name in found or not value:
            raise SourceError(f"the URL of the node gives '{name}' {'twice' if name in found else 'no value'}")
        found[name] = unquote(value)
    if "cookie" in found and len(found) > 1:
        raise SourceError("the URL of the node names both a cookie and a user; leave one of them out")
    if len(found.keys() & {"user", "password-file"}) == 1:
        raise SourceError("the URL of the node needs both user=NAME and password-file=PATH")
    return found
