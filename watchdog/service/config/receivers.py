"""Receivers of `watchdog.yaml`: what one key alone does not show, and what is made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from alerts.case.house import HOUSE, incident_node
from alerts.delivery.alertmanager import API_PATH
from alerts.delivery.formats import ENCODERS
from alerts.delivery.signature import secret_key
from alerts.delivery.targets import url_fault
from alerts.delivery.template import CompiledTemplate
from alerts.notice import CASE_EVENT_TYPES, EVENT_TYPES
from alerts.routing import DEFAULTS, SUBJECTS, Subject
from watchdog.core.durations import SECOND_NS
from watchdog.core.errors import SecretError
from watchdog.core.finding import FLEET
from watchdog.located_yaml.problem import Location, Report
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.service.config.channel_values import OPEN
from watchdog.service.config.channels import check_channel, format_of, own_keys, rate_of, tls_files
from watchdog.service.config.found import Found
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ReceiverSettings
from watchdog.service.config.values import Reading

FORMER_TIMEOUT_NS = 30 * SECOND_NS
"""Where the version before cut off a longer `timeout`."""


def check_receiver(name: str, found: Found, reading: Reading) -> None:
    """Report the problems of one receiver."""
    report, fault = reading.report, ""
    urls = urls_of(found)
    if found.values.get("format") != "apprise":
        faults = [url_fault(one.reveal(), allow_private=found.get("allow_private", bool)) for one in urls]
        fault = next((one for one in faults if one), "")
    if fault:
        report.error(found.where("url"), fault)
    check_channel(name, found, reading)
    secret = found.maybe("secret", Secret)
    previous = _secrets(found)
    for key, one in [("secret", secret), *(("previous", each) for each in previous)]:
        if one is not None:
            try:
                secret_key(one.reveal())
            except SecretError as error:
                report.error(found.where(key), f"{one.origin}: {error}")
    if previous and secret is None and "secret" not in found.places:
        report.error(found.where("previous"), "'previous' without 'secret'", "name the newest key as 'secret'")
    if found.values.get("format") == "webhook" and "secret" not in found.places:
        report.warn(found.place, "notices to this receiver are not signed", "add 'secret: {file: PATH}'")
    _check_template(found, report)
    _check_alertmanager(found, () if fault else urls, report)
    _check_events(found, report)


def _check_template(found: Found, report: Report) -> None:
    form = format_of(found)
    if "template" in found.places and form is not None and not ENCODERS[form].people:
        hint = "leave it out: a template is for formats that send a text to people"
        report.warn(found.where("template"), f"'format: {form}' sends data, so 'template' changes nothing", hint)


def check_receiver_nodes(found: Found, nodes: Collection[str], report: Report) -> None:
    """Report a node that the receiver names and the configuration does not, and `*` alone, which is not all nodes."""
    names = found.maybe("nodes", tuple) or ()
    for name in names:
        if name not in nodes and name not in (HOUSE, FLEET):
            hint = did_you_mean(name, [*nodes, HOUSE], "nodes")
            report.error(found.where("nodes"), f"no node '{name[:80]}'", hint)
    if names == (HOUSE,):
        text = f"'nodes: \"{HOUSE}\"' is only what accuses no single node"
        report.warn(found.where("nodes"), text, "leave 'nodes' out to send what happens at any node")


def check_maintenance(found: Found, report: Report) -> None:
    """Report a receiver whose notices no window of `maintenance` holds back."""
    if subject_of(found) == "incidents" and found.maybe("enabled", bool) is not False:
        hint = "'about: cases' is held back; else keep it to programs, or give it a higher 'severity'"
        report.warn(found.where("about"), "'maintenance' does not hold back notices with 'about: incidents'", hint)


def heartbeat_fault(found: Found) -> tuple[str, str] | None:
    """Return why a receiver should get no heartbeats, and a hint; None when it may: no person reads one a minute."""
    form = format_of(found)
    if form is None or not ENCODERS[form].people:
        return None
    machines = ", ".join(one for one, other in ENCODERS.items() if not other.people)
    text = f"a heartbeat is for programs; 'format: {form}' is read by people"
    return text, f"formats for programs: {machines}"


def subject_of(found: Found) -> Subject:
    """Return what a receiver hears of. A file from before `about` was a key may name events of incidents: they stay."""
    about: Subject = next((one for one in SUBJECTS if one == found.values.get("about")), "cases")
    events = found.maybe("events", tuple) or ()
    if "about" not in found.places and events and all(one in EVENT_TYPES for one in events):
        return "incidents"
    return about


def _check_events(found: Found, report: Report) -> None:
    """Report an event of what the receiver does not hear of: it would never be sent."""
    about = subject_of(found)
    types, other = (CASE_EVENT_TYPES, "incidents") if about == "cases" else (EVENT_TYPES, "cases")
    for name in found.maybe("events", tuple) or ():
        if name not in types:
            hint = f"write 'about: {other}', or events that begin with '{types[0].partition('.')[0]}.'"
            report.error(found.where("events"), f"'{name}' is never sent to a receiver with 'about: {about}'", hint)
            return


def _check_alertmanager(found: Found, urls: Sequence[Secret], report: Report) -> None:
    form = found.values.get("format")
    if form != "alertmanager":
        if "keepalive" in found.places and form is not None:
            hint = f"leave it out, or write 'format: alertmanager'; '{form}' posts nothing again"
            report.error(found.where("keepalive"), "'keepalive' is for 'format: alertmanager' only", hint)
        return
    if any(urlsplit(url.reveal()).path.rstrip("/").endswith(API_PATH) for url in urls):
        report.error(found.where("url"), f"'url' is Alertmanager's base: leave out {API_PATH}")


def receiver_settings(name: str, found: Found, house: Path) -> ReceiverSettings:
    """Build a receiver without problems. house: the folder of the key for `redact: hash`."""
    secret, urls = found.maybe("secret", Secret), urls_of(found)
    default = ReceiverSettings(name, urls[0] if urls else Secret(OPEN, ""))
    about = subject_of(found)
    return ReceiverSettings(
        name=name,
        url=default.url,
        format=found.get("format", str),
        secrets=(*((secret,) if secret else ()), *_secrets(found)),
        severity=found.get("severity", str),
        events=found.maybe("events", tuple) or DEFAULTS[about],
        rate_per_minute=rate_of(found, found.get("format", str)),
        timeout_ns=found.get("timeout", int),
        allow_private=found.get("allow_private", bool),
        headers=dict(found.maybe("headers", dict) or {}),
        enabled=found.get("enabled", bool),
        keepalive_ns=found.maybe("keepalive", int) or default.keepalive_ns,
        nodes=tuple(incident_node(name) for name in found.maybe("nodes", tuple) or ()),
        about=about,
        places={"": _line(found.place), **{key: _line(place) for key, place in found.places.items()}},
        template=found.maybe("template", CompiledTemplate),
        own=own_keys(found),
        more_urls=urls[1:],
        labels={label: one.reveal() for label, one in (found.maybe("labels", dict) or {}).items()},
        proxy=found.maybe("proxy", Secret),
        tls=tls_files(found),
        redact=found.get("redact", str),
        house=house,
    )


def urls_of(found: Found) -> tuple[Secret, ...]:
    """Return the receiver's URLs; none for a format that needs none."""
    return tuple(one for one in found.maybe("url", tuple) or () if isinstance(one, Secret))


def _line(place: Location) -> str:
    """Return file and line: an answer to 'why not' needs no column, and no folder."""
    return f"{Path(place.source.name).name}:{place.line}"


def changed_defaults(name: str, found: Found) -> Iterator[str]:
    """Yield a line for each way in which the previous version read this receiver differently."""
    if "severity" not in found.places:
        yield (
            f"receiver '{name}' has no 'severity': it gets incidents from 'warning' on; "
            "they began at 'info' in the version before ('severity: info' brings these back)"
        )
    if "about" not in found.places:
        yield (
            f"receiver '{name}' has no 'about': its 'events' are about incidents, and so is it"
            if subject_of(found) == "incidents"
            else f"receiver '{name}' has no 'about': it gets a few notices of each case; in the version before it got "
            "those of every incident ('about: incidents' brings these back)"
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
