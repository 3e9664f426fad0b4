"""Receivers by format: which keys each one needs and takes, and faults that one key alone does not show."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from alerts.delivery.formats import COMMON_KEYS, ENCODERS, Encoder
from alerts.delivery.telegram import RATE
from alerts.delivery.tls import TlsFilesError, context_of
from alerts.routing import FORMATS, NoticeFormat, Receiver, TlsFiles
from watchdog.located_yaml.problem import Report
from watchdog.service.config.channel_values import OPEN
from watchdog.service.config.found import Found
from watchdog.service.config.secret import Secret
from watchdog.service.config.values import Reading, hidden

OWN = ("token", "channel", "routing_key", "chat", "topic", "from", "to", "command", "envelope")
"""Keys that go to the format as they are, beside those inside `smtp`."""


def format_of(found: Found) -> NoticeFormat | None:
    """Return the format; None for an unknown one, which `read_section` reports."""
    return next((one for one in FORMATS if one == found.values.get("format")), None)


def own_keys(found: Found) -> Mapping[str, tuple[Secret, ...]]:
    """Return the keys that belong to the format, each as one text or several."""
    own: dict[str, tuple[Secret, ...]] = {}
    for name in OWN:
        value = found.values.get(name)
        if isinstance(value, Secret):
            own[name] = (value,)
        elif isinstance(value, str):
            own[name] = (Secret(OPEN, value),)
        elif isinstance(value, tuple):
            own[name] = tuple(Secret(OPEN, one) for one in value if isinstance(one, str))
    smtp = found.maybe("smtp", dict) or {}
    return own | {f"smtp.{name}": (one,) for name, one in smtp.items()}


def tls_files(found: Found) -> TlsFiles:
    """Return the files of `tls`."""
    files: Mapping[str, Path] = found.maybe("tls", dict) or {}
    return TlsFiles(**{name: str(path) for name, path in files.items()})


def rate_of(found: Found, form: str) -> int:
    """Return requests a minute: what the file says, else what the service of the format allows."""
    rate = found.get("rate_per_minute", int)
    return RATE if form == "telegram" and "rate_per_minute" not in found.places else rate


def check_channel(name: str, found: Found, reading: Reading) -> None:
    """Report what does not fit the format of one receiver."""
    form = format_of(found)
    if form is None:
        return
    encoder, report = ENCODERS[form], reading.report
    known = (COMMON_KEYS - encoder.refused) | encoder.optional
    known |= {key for keys in encoder.required for key in keys}
    for key in found.places:
        if key not in known and key != "keepalive":
            takers = [one for one, other in ENCODERS.items() if _takes(other, key)]
            hint = f"it is for {', '.join(takers)}" if takers else "leave it out"
            report.error(found.where(key), f"'{key}' does not apply to 'format: {form}'", hint)
    given = found.places.keys()
    if not any(given >= set(keys) for keys in encoder.required):
        nearest = max(encoder.required, key=lambda keys: len(given & set(keys)))
        missing = _listed(key for key in nearest if key not in given)
        wanted = ", or ".join(_listed(keys) for keys in encoder.required)
        report.error(found.place, f"'receivers.{name}' lacks {missing}", f"'format: {form}' needs {wanted}")
        return
    _check_parts(form, found, reading)


def _listed(keys: Iterable[str]) -> str:
    """Return keys as `'a', 'b' and 'c'`."""
    *others, last = (f"'{key}'" for key in keys)
    return f"{', '.join(others)} and {last}" if others else last


def _takes(encoder: Encoder, key: str) -> bool:
    if key in COMMON_KEYS:
        return key not in encoder.refused
    return key in encoder.optional or any(key in keys for keys in encoder.required)


def _check_parts(form: NoticeFormat, found: Found, reading: Reading) -> None:
    """Report faults of values that are all there."""
    report = reading.report
    urls = [one for one in found.maybe("url", tuple) or () if isinstance(one, Secret)]
    if form == "slack" and ("token" in found.places) != ("channel" in found.places):
        report.error(found.place, "'token' and 'channel' belong together")
    if len(urls) > 1 and not form.startswith("alertmanager"):
        report.error(found.where("url"), f"'format: {form}' takes one URL", "a list is for a cluster of Alertmanagers")
    if form == "apprise":
        _check_apprise(found, urls, reading)
    draft = Receiver(
        "draft",
        urls[0].reveal() if urls else "",
        format=form,
        own={name: tuple(one.reveal() for one in values) for name, values in own_keys(found).items()},
    )
    for key, fault in ENCODERS[form].check(draft):
        report.error(found.where(key), fault)
    _check_proxy(found, report)
    if "tls" in found.places:
        try:
            context_of(tls_files(found))
        except TlsFilesError as error:
            files = tls_files(found)
            lacking = [path for path in (files.ca, files.cert, files.key) if path and not os.access(path, os.R_OK)]
            report.error(
                found.where("tls"), str(error), f"this user cannot read {' and '.join(lacking)}" if lacking else ""
            )


def _check_apprise(found: Found, urls: list[Secret], reading: Reading) -> None:
    if any(one.origin == OPEN for one in urls):
        hint = "put the whole URL into a file and write {file: PATH}, or {env: NAME}"
        reading.report.error(hidden(found.where("url"), reading), "the 'url' of apprise is a secret", hint)
    if importlib.util.find_spec("apprise") is not None:
        text = "apprise opens its own connections: target guard, 'proxy' and 'tls' do not reach them"
        reading.report.warn(found.place, text)


def _check_proxy(found: Found, report: Report) -> None:
    proxy = found.maybe("proxy", Secret)
    if proxy is None:
        return
    parts = urlsplit(proxy.reveal())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        report.error(found.where("proxy"), "'proxy' must be a URL that begins with http:// or https://")
