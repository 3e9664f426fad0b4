"""Receivers: where notices are sent, and which changes each one asks for. `alerts.decide` applies it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from alerts.delivery.template import CompiledTemplate
from watchdog.core.finding import Severity

NoticeFormat = Literal[
    "webhook", "alertmanager", "alertmanager-webhook", "slack", "pagerduty", "telegram", "teams", "email", "exec",
    "apprise",
]  # fmt: skip
FORMATS: tuple[NoticeFormat, ...] = get_args(NoticeFormat)
"""Their encoders are in `alerts.delivery.formats`."""
Subject = Literal["cases", "incidents"]
SUBJECTS: tuple[Subject, ...] = ("cases", "incidents")
Redaction = Literal["none", "subnet", "hash"]
REDACTIONS: tuple[Redaction, ...] = get_args(Redaction)
DEFAULT_EVENTS = ("incident.opened", "incident.escalated", "incident.acknowledged", "incident.resolved")
DEFAULT_CASE_EVENTS = (
    "case.opened",
    "case.severity",
    "case.stage",
    "case.merged",
    "case.acknowledged",
    "case.resolved",
    "case.reopened",
)
DEFAULTS: Mapping[Subject, tuple[str, ...]] = {"cases": DEFAULT_CASE_EVENTS, "incidents": DEFAULT_EVENTS}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files; empty where the system's certificates or no client certificate are used.

    ca: certificates that may sign the receiver's. cert, key: shown to a receiver that asks for them.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Receiver:
    """One target of notices. Its secrets stay in memory: the database stores nothing of a receiver but its name.

    secrets: `whsec_` and base64 as Standard Webhooks writes them, newest first. All of them sign, so that a key can be
    rotated without a rejected request. about: what it hears of. severity: the lowest that is sent. events: types of
    notices about these; empty: the default ones. rate_per_minute: requests. headers: sent with each request.
    allow_private: allow private, loopback and link-local targets. keepalive_s: seconds between two posts of a firing
    alert, in formats that need it. nodes: only changes at these nodes are sent; empty: at all. places: where a key is
    written, such as `watchdog.yaml:12`; that of the receiver itself under `""`.

    own: keys of its format alone, by name (`smtp.host` for a key inside `smtp`), with every secret among them.
    template: of messages, None for the usual text. urls: all members of a cluster, the first of which is `url`.
    labels: added to each alert. proxy: URL of an HTTP proxy. redact: how addresses are shown; redact_key: for `hash`.
    """

    name: str
    url: str = field(repr=False)
    format: NoticeFormat = "webhook"
    secrets: tuple[str, ...] = field(default=(), repr=False)
    severity: Severity = "warning"
    events: tuple[str, ...] = ()
    rate_per_minute: int = 60
    timeout_s: float = 10.0
    allow_private: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True
    keepalive_s: float = 60.0
    nodes: tuple[str, ...] = ()
    about: Subject = "cases"
    places: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    urls: tuple[str, ...] = field(default=(), repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    proxy: str = field(default="", repr=False)
    tls: TlsFiles = TlsFiles()
    template: CompiledTemplate | None = None
    redact: Redaction = "none"
    redact_key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Fill in the events that are sent by default."""
        if not self.events:
            object.__setattr__(self, "events", DEFAULTS[self.about])

    def place(self, key: str) -> str:
        """Return where a key is written, else where the receiver is; empty for one that no file names."""
        return self.places.get(key) or self.places.get("", "")

    def text(self, key: str) -> str:
        """Return the text of a key of its format, of a list the first; empty when missing."""
        return next(iter(self.own.get(key, ())), "")

    def several(self, key: str) -> tuple[str, ...]:
        """Return the texts of a key of its format; empty when missing."""
        return self.own.get(key, ())
