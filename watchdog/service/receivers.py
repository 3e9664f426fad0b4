"""Receivers as delivery takes them, from the settings of `watchdog.yaml`."""

from __future__ import annotations

from typing import cast

from alerts.delivery.sender import HeartbeatPlan
from alerts.routing import Format, Receiver
from watchdog.core.finding import Severity
from watchdog.service.settings import HeartbeatSettings, ReceiverSettings


def receiver_of(settings: ReceiverSettings) -> Receiver:
    """One receiver with its secrets revealed; the configuration reader has checked format, severity and secrets."""
    return Receiver(
        name=settings.name,
        url=settings.url.reveal(),
        format=cast("Format", settings.format),
        secrets=tuple(secret.reveal() for secret in settings.secrets),
        severity=cast("Severity", settings.severity),
        events=settings.events,
        rate_per_minute=settings.rate_per_minute,
        timeout_s=settings.timeout_ns / 1e9,
        allow_private=settings.allow_private,
        headers={name: value.reveal() for name, value in settings.headers.items()},
        enabled=settings.enabled,
    )


def heartbeat_of(settings: HeartbeatSettings | None) -> HeartbeatPlan | None:
    """The plan of the heartbeat, None without one."""
    return None if settings is None else HeartbeatPlan(settings.receiver, settings.every_ns / 1e9)
