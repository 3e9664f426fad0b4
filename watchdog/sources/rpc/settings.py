"""What a `rpc:` source is configured with: from the mapping in `watchdog.yaml`, or the query of a URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from watchdog.core.durations import MINUTE_NS, SECOND_NS
from watchdog.core.errors import SourceError
from watchdog.sources.rpc.cookie import find_cookie
from watchdog.sources.rpc.credentials import CookieCredentials, Credentials, PasswordCredentials, password_from
from watchdog.sources.rpc.schedule import CALLS, LEAST_S, MOST_S
from watchdog.sources.rpc.url import CHAINS, NodeUrl
from watchdog.sources.scheme import Setting

PLAIN_TEXT = "RPC is plain text: anyone on the network path can read the password; use a tunnel"
SETTINGS = (
    Setting("cookie", "path", "The node's cookie file.", shown="as bitcoin-cli finds it, for the chain of the port"),
    Setting("user", "text", "A user of `rpcauth`, in place of the cookie.", shown="none"),
    Setting("password", "secret", "`file: PATH` or `env: NAME`: the user's password.", shown="none"),
    Setting(
        "timeout", "duration", "How long one call may take; getrawaddrman has 60s at least.", "10s",
        unit="duration", low=SECOND_NS, high=5 * MINUTE_NS,
    ),
    Setting("budget", "whole", "Percent of time that calls may take together.", "1", unit="percent", low=1, high=100),
    Setting(
        "intervals", "intervals", "Time between two calls of a method, 10s to 1h, or `off`.",
        shown=", ".join(f"`{row.method}: {row.interval_s:.0f}s`" for row in CALLS), unit="duration by method",
        low=int(LEAST_S) * SECOND_NS, high=int(MOST_S) * SECOND_NS, choices=tuple(row.method for row in CALLS),
    ),
    Setting(
        "chain", "choice", "The chain that the node must be on; on another one nothing is judged.",
        shown="any", choices=tuple(CHAINS),
    ),
)  # fmt: skip


@runtime_checkable
class Sealed(Protocol):
    """A secret that its owner reveals on request."""

    def reveal(self) -> str:
        """Return the value."""
        ...


@dataclass(frozen=True, slots=True)
class RpcSettings:
    """intervals: seconds by method, 0 for off; those left out have their default. budget: share of time, 0 to 1."""

    timeout_s: float = 10.0
    budget: float = 0.01
    intervals: Mapping[str, float] = field(default_factory=dict)
    chain: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> RpcSettings:
        """Return the settings that a configuration gives; types were checked when it was read."""
        timeout, budget, chain = settings.get("timeout"), settings.get("budget"), settings.get("chain")
        intervals = settings.get("intervals")
        return cls(
            timeout / 1e9 if isinstance(timeout, int) else 10.0,
            budget / 100 if isinstance(budget, int) else 0.01,
            {str(name): value / 1e9 for name, value in intervals.items()} if isinstance(intervals, Mapping) else {},
            chain if isinstance(chain, str) else "",
        )


def check(place: str, settings: Mapping[str, object]) -> str:
    """Return a warning about a source, empty without one. Raise SourceError for a mistake; it shows no credentials."""
    url = NodeUrl.of(place)
    given = {name for name in ("cookie", "user", "password") if settings.get(name) is not None}
    if given and url.query:
        raise SourceError("the URL of the node has options; write them as keys of the source instead")
    if "cookie" in given and len(given) > 1:
        raise SourceError("a source has either a cookie, or a user and a password")
    if len(given & {"user", "password"}) == 1:
        raise SourceError("a source needs both 'user' and 'password'")
    return "" if url.is_loopback else f"{url.shown}: {PLAIN_TEXT}"


def credentials_of(url: NodeUrl, settings: Mapping[str, object]) -> Credentials:
    """Return how the node knows this program. Nothing is read yet, but bitcoin.conf for the place of the cookie."""
    password, user = settings.get("password"), settings.get("user")
    if isinstance(password, Sealed) and isinstance(user, str):
        return PasswordCredentials(user, password.reveal)
    if "password-file" in url.query:
        return PasswordCredentials(url.query["user"], password_from(Path(url.query["password-file"])))
    cookie = settings.get("cookie") or url.query.get("cookie")
    if isinstance(cookie, (str, Path)):
        return CookieCredentials(Path(cookie))
    chain = settings.get("chain")
    return CookieCredentials(find_cookie(chain=chain if isinstance(chain, str) else url.chain or None))
