"""Receivers of `watchdog.yaml`: what one key alone does not show, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from alerts.delivery.alertmanager import API_PATH
from alerts.delivery.signature import secret_key
from alerts.delivery.targets import url_fault
from watchdog.core.durations import SECOND_NS
from watchdog.core.errors import SecretError
from watchdog.located_yaml.problem import Location, Report
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ReceiverSettings
from watchdog.service.config.values import ConfigValue

FORMER_TIMEOUT_NS = 30 * SECOND_NS
"""Where the version before cut off a longer `timeout`."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """The values of one table with defaults filled in, and where each was written."""

    values: Mapping[str, ConfigValue]
    places: Mapping[str, Location]
    place: Location

    def get(self, name: str, type_: type[T]) -> T:
        """Return a value that is required or has a default, of the type of the key's shape."""
        value = self.values[name]
        assert isinstance(value, type_)
        return value

    def maybe(self, name: str, type_: type[T]) -> T | None:
        """Return a value; None when missing."""
        value = self.values.get(name)
        assert value is None or isinstance(value, type_)
        return value

    def where(self, name: str) -> Location:
        """Return the value's place; for a default, that of the table."""
        return self.places.get(name, self.place)


def check_receiver(found: Found, report: Report) -> None:
    """Report the problems of one receiver."""
    url = found.maybe("url", Secret)
    fault = url_fault(url.reveal(), allow_private=found.get("allow_private", bool)) if url is not None else None
    if fault:
        report.error(found.where("url"), fault)
    secret = found.maybe("secret", Secret)
    previous = _secrets(found)
    for name, one in [("secret", secret), *(("previous", each) for each in previous)]:
        if one is not None:
            try:
                secret_key(one.reveal())
            except SecretError as error:
                report.error(found.where(name), f"{one.origin}: {error}")
    if previous and secret is None and "secret" not in found.places:
        report.error(found.where("previous"), "'previous' without 'secret'", "name the newest key as 'secret'")
    if found.values.get("format") == "webhook" and "secret" not in found.places:
        report.warn(found.place, "notices to this receiver are not signed", "add 'secret: {file: PATH}'")
    _check_alertmanager(found, None if fault else url, report)


def _check_alertmanager(found: Found, url: Secret | None, report: Report) -> None:
    form = found.values.get("format")
    if form != "alertmanager":
        if "keepalive" in found.places and form is not None:
            hint = f"leave it out, or write 'format: alertmanager'; '{form}' posts nothing again"
            report.error(found.where("keepalive"), "'keepalive' is for 'format: alertmanager' only", hint)
        return
    if url is not None and urlsplit(url.reveal()).path.rstrip("/").endswith(API_PATH):
        report.error(found.where("url"), f"'url' is Alertmanager's base: leave out {API_PATH}")


def receiver_settings(name: str, found: Found) -> ReceiverSettings:
    """Build a receiver without problems."""
    secret, default = found.maybe("secret", Secret), ReceiverSettings(name, found.get("url", Secret))
    return ReceiverSettings(
        name=name,
        url=found.get("url", Secret),
        format=found.get("format", str),
        secrets=(*((secret,) if secret else ()), *_secrets(found)),
        severity=found.get("severity", str),
        events=found.maybe("events", tuple) or default.events,
        rate_per_minute=found.get("rate_per_minute", int),
        timeout_ns=found.get("timeout", int),
        allow_private=found.get("allow_private", bool),
        headers=dict(found.maybe("headers", dict) or {}),
        enabled=found.get("enabled", bool),
        keepalive_ns=found.maybe("keepalive", int) or default.keepalive_ns,
    )


def changed_defaults(name: str, found: Found) -> Iterator[str]:
    """Yield a line for each way in which the previous version read this receiver differently."""
    if "severity" not in found.places:
        yield (
            f"receiver '{name}' has no 'severity': it gets incidents from 'warning' on; "
            "they began at 'info' in the version before ('severity: info' brings these back)"
        )
    if found.get("timeout", int) > FORMER_TIMEOUT_NS:
        timeout_s = found.get("timeout", int) / 1e9
        yield f"receiver '{name}': its timeout is {timeout_s:g} s; the version before cut it to 30 s"
    if found.values.get("format") == "alertmanager":
        yield (
            f"receiver '{name}': 'format: alertmanager' posts to Alertmanager's API, <url>{API_PATH}; "
            "what the version before sent is 'format: alertmanager-webhook'"
        )


def _secrets(found: Found) -> tuple[Secret, ...]:
    previous = found.maybe("previous", tuple) or ()
    return tuple(one for one in previous if isinstance(one, Secret))
