"""What a `nats:` source is configured with: by the mapping in `watchdog.yaml`, or the query of a URL. Needs no package.

nats://HOST:PORT[?user=NAME&password-file=PATH | ?token-file=PATH | ?creds=PATH][&protocol=...][&subjects=A,B]
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from watchdog.core.errors import SourceError
from watchdog.core.text import printable
from watchdog.sources.rpc.credentials import password_from
from watchdog.sources.rpc.settings import Sealed
from watchdog.sources.scheme import Setting

FLAT, MILLISECONDS, THREADS = "2024-11", "2025-12", "2026-01"
PROTOCOLS: Final = (THREADS, MILLISECONDS, FLAT)
"""The forms of the envelope, by the month in which each began, the newest first; one `.proto` file each."""
PORT: Final = 4222  # of nats-server
SUBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "netmsg": ("net:inbound_message", "net:outbound_message", "p2p:"),
    "netconn": ("net:",),
    "mempool": ("mempool:",),
    "validation": ("validation:",),
    "addrman": ("addrman:attempt_add", "addrman:move_to_good"),
    "rpc": ("rpc:", "peer:", "node:started"),
}
"""Subjects that peer-observer's extractors publish on and that are read, with the kinds of each or their beginnings."""
EXTRA: Final = "pip install 'bitcoin-watchdog[nats]'"
FORM: Final = "nats://HOST:PORT or tls://HOST:PORT"
PLAIN_TEXT: Final = "NATS is plain text here: use tls:// or a tunnel"
_QUERY: Final = ("user", "password-file", "token-file", "creds", "ca", "protocol", "subjects")
_SUBJECT = re.compile(r"[A-Za-z0-9_>*-]+(\.[A-Za-z0-9_>*-]+)*")
_KEYS: Final[Mapping[str, str]] = {"password-file": "password", "token-file": "token"}
SETTINGS: Final = (
    Setting("protocol", "choice", "Form of the messages, by the month in which peer-observer began to send it.",
            shown="found from the first 100 messages", choices=tuple(reversed(PROTOCOLS))),
    Setting("subjects", "text", "Subjects to subscribe to, with commas between.", ",".join(SUBJECTS)),
    Setting("user", "text", "A user of the server.", shown="none"),
    Setting("password", "secret", "`file: PATH` or `env: NAME`: the user's password.", shown="none"),
    Setting("token", "secret", "`file: PATH` or `env: NAME`: the server's token.", shown="none"),
    Setting("creds", "path", "A credentials file (JWT and seed); needs the package nkeys as well.", shown="none"),
    Setting("ca", "path", "Certificates that the server's must be signed with, for `tls://`.", shown="the system's"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NatsUrl:
    """Where the server is. query: the options of a command line."""

    scheme: str
    host: str
    port: int
    query: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> NatsUrl:
        """Return the parts of a URL. Raise SourceError, which never repeats the text: it may hold a password."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise SourceError(f"the address of the NATS server is not a URL; expected {FORM}") from None
        if "@" in text.partition("?")[0]:
            hint = "name the user and a file of the password beside it"
            raise SourceError(f"the URL of the NATS server holds a user, a password or a token; {hint}")
        plain = text.isascii() and text.isprintable() and " " not in text
        if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.fragment or not plain:
            raise SourceError(f"the URL of the NATS server has another form; expected {FORM}")
        if parts.path not in ("", "/"):
            raise SourceError(f"the URL of the NATS server has a path; expected {FORM}")
        if port == 0:
            raise SourceError("the port of the NATS server must be 1 to 65535")
        return cls(parts.scheme, parts.hostname, port or PORT, _query(parts))

    @property
    def shown(self) -> str:
        """The URL without its query, for people and for the client."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{printable(host)}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the text names this machine; a name other than `localhost` may resolve to any address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """password, token: called for each connection, so that only their owner keeps them; they may raise OSError."""

    protocol: str = ""
    subjects: tuple[str, ...] = tuple(SUBJECTS)
    user: str = ""
    password: Callable[[], str] | None = None
    token: Callable[[], str] | None = None
    creds: Path | None = None
    ca: Path | None = None

    @classmethod
    def of(cls, url: NatsUrl, settings: Mapping[str, object]) -> NatsSettings:
        """Return what the configuration or the command line gives. Nothing is read yet. SourceError for a mistake."""
        given: dict[str, object] = {_KEYS.get(name, name): value for name, value in url.query.items()}
        given |= {name: value for name, value in settings.items() if value not in (None, "")}
        subjects = given.get("subjects")
        user = given.get("user")
        return cls(
            _protocol(given.get("protocol")),
            _subjects(subjects) if isinstance(subjects, str) else tuple(SUBJECTS),
            user if isinstance(user, str) else "",
            _secret(given.get("password")),
            _secret(given.get("token")),
            _path(given.get("creds")),
            _path(given.get("ca")),
        )


def check_nats(place: str, settings: Mapping[str, object]) -> str:
    """Return a warning about a place, empty for none; the registry calls it, see `scheme.PlaceCheck`.

    Raises SourceError for a mistake; a missing package is one, as it keeps the configuration from being run.
    """
    url = NatsUrl.of(place)
    # `settings` repeats the default of `subjects`, which says nothing
    given = {name for name, value in settings.items() if value not in (None, "", SETTINGS[1].default)}
    if given and url.query:
        raise SourceError("the URL of the NATS server has options; write them as keys of the source instead")
    found = NatsSettings.of(url, {name: settings[name] for name in given})
    ways = [bool(found.user or found.password), found.token is not None, found.creds is not None]
    if sum(ways) > 1:
        raise SourceError("a source has either a user and a password, or a token, or a file of credentials")
    if bool(found.user) != (found.password is not None):
        raise SourceError("a source needs both 'user' and 'password'")
    if found.ca is not None and url.scheme != "tls":
        raise SourceError("'ca' is for tls:// alone")
    require_packages(creds=found.creds is not None)
    return "" if url.scheme == "tls" or url.is_loopback else f"{url.shown}: {PLAIN_TEXT}"


def require_packages(*, creds: bool = False, client: bool = True) -> None:
    """Raise SourceError with the line that installs what is missing. creds: whether a file of credentials is used."""
    if not find_spec("google") or not find_spec("google.protobuf"):
        raise SourceError(f"the package protobuf is not installed; {EXTRA}")
    if client and not find_spec("nats"):
        raise SourceError(f"the package nats-py is not installed; {EXTRA}")
    if creds and not find_spec("nkeys"):
        raise SourceError("'creds' needs the package nkeys, which is not installed; pip install 'nats-py[nkeys]'")


def _query(parts: SplitResult) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in parts.query.split("&") if parts.query else []:
        name, _, value = piece.partition("=")
        if name in ("password", "pass", "token"):
            raise SourceError(f"the URL of the NATS server holds a secret; write {name}-file=PATH")
        if name not in _QUERY:
            raise SourceError(f"the URL of the NATS server has an unknown option; there are {', '.join(_QUERY)}")
        if name in found or not value:
            raise SourceError(f"the URL of the NATS server gives '{name}' {'twice' if name in found else 'no value'}")
        found[name] = unquote(value)
    return found


def _protocol(value: object) -> str:
    if value is None or value in PROTOCOLS:
        return str(value or "")
    raise SourceError(f"'{printable(str(value), 40)}' is no protocol; there are {', '.join(reversed(PROTOCOLS))}")


def _subjects(text: str) -> tuple[str, ...]:
    subjects = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for subject in subjects:
        if not _SUBJECT.fullmatch(subject) or len(subject) > 100:
            raise SourceError(
                f"'{printable(subject, 40)}' is no subject; expected subjects such as {','.join(SUBJECTS)}"
            )
    if len(subjects) > 32:
        raise SourceError("there are more than 32 subjects")
    return subjects


def _secret(value: object) -> Callable[[], str] | None:
    if isinstance(value, Sealed):
        return value.reveal
    return password_from(Path(value)) if isinstance(value, str) else None


def _path(value: object) -> Path | None:
    return Path(value) if isinstance(value, (str, Path)) else None
