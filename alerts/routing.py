"""Receivers: where notices are sent, and which changes each one asks for. `alerts.decide` applies it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from watchdog.core.finding import Severity

NoticeFormat = Literal["webhook", "alertmanager", "alertmanager-webhook"]
FORMATS: tuple[NoticeFormat, ...] = ("webhook", "alertmanager", "alertmanager-webhook")
"""Their encoders are in `alerts.delivery.formats`."""
DEFAULT_EVENTS = ("incident.opened", "incident.escalated", "incident.acknowledged", "incident.resolved")


@dataclass(frozen=True, slots=True)
class Receiver:
    """One target of notices. Its secrets stay in memory: the database stores nothing of a receiver but its name.

    secrets: `whsec_` and base64 as Standard Webhooks writes them, newest first. All of them sign, so that a key can be
    rotated without a rejected request. severity: the lowest that is sent. events: of `EVENT_TYPES`. rate_per_minute:
    requests. headers: sent with each request. allow_private: allow private, loopback and link-local targets.
    keepalive_s: seconds between two posts of a firing alert, in formats that need it.
    """

    name: str
    url: str = field(repr=False)
    format: NoticeFormat = "webhook"
    secrets: tuple[str, ...] = field(default=(), repr=False)
    severity: Severity = "warning"
    events: tuple[str, ...] = DEFAULT_EVENTS
    rate_per_minute: int = 60
    timeout_s: float = 10.0
    allow_private: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True
    keepalive_s: float = 60.0
