"""`watchdog.yaml` to a `ServiceConfig`: all mistakes at once, each with its place; nothing beyond files is touched."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from alerts.store.address import address_fault
from rules.exceptions import ExceptionSource, read_exceptions
from watchdog.core.errors import WatchdogError
from watchdog.located_yaml import values
from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.nodes import Node, Scalar, Table
from watchdog.located_yaml.problem import Location, Problem, Report, SourceText, plain
from watchdog.located_yaml.reader import read_file, read_yaml, source_text
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.located_yaml.tracepoints import read_tracepoints
from watchdog.service.config.attention import attention_plan, check_attention, read_escalation, read_reminders, reminded
from watchdog.service.config.channel_values import SHAPES, read_channel_value
from watchdog.service.config.found import Found
from watchdog.service.config.holds import read_silences, read_windows
from watchdog.service.config.keys import NODES, OPTIONAL, RECEIVER, RECEIVERS, SECTIONS, TOP
from watchdog.service.config.nodes import check_nodes, node_settings, read_nodes
from watchdog.service.config.receivers import (
    changed_defaults,
    check_maintenance,
    check_receiver,
    check_receiver_nodes,
    heartbeat_fault,
    receiver_settings,
)
from watchdog.service.config.recorder import read_recorder, read_recorder_value, recorder_settings
from watchdog.service.config.secret import Secret
from watchdog.service.config.section import read_section
from watchdog.service.config.settings import (
    ApiSettings,
    CheckpointSettings,
    HeartbeatSettings,
    QueueSettings,
    RecorderSettings,
    RetentionSettings,
    ServiceConfig,
)
from watchdog.service.config.shapes import Section, Shape
from watchdog.service.config.sources import read_sources
from watchdog.service.config.template import read_template
from watchdog.service.config.tokens import has_token, read_tokens
from watchdog.service.config.values import ConfigValue, Reading, check_token, split_listen

DEFAULT_PATH = Path("watchdog.yaml")


@dataclass(frozen=True, slots=True)
class NamedRules:
    """Which rules a configuration names: `rules`, `packs` and `except`."""

    paths: tuple[Path, ...]
    packs: tuple[str, ...]
    exceptions: tuple[ExceptionSource, ...] = ()


class ConfigError(WatchdogError):
    """A configuration cannot be used; `problems` has every mistake.

    rules: those that it names all the same, so that their mistakes can be reported too; None when it names none.
    """

    def __init__(self, problems: tuple[Problem, ...], rules: NamedRules | None = None) -> None:
        super().__init__("\n".join(problem.render() for problem in problems))
        self.problems, self.rules = problems, rules

    @property
    def unreadable(self) -> bool:
        """Whether the file itself could not be read."""
        return any(problem.unreadable for problem in self.problems)

    def in_one_line(self) -> str:
        """Return the first problem with its hint, and the count of the others."""
        first, more = self.problems[0], len(self.problems) - 1
        place = first.place.source.name if first.unreadable else str(first.place)
        hint = f"; {first.hint}" if first.hint else ""
        rest = f" (and {more} more: 'watchdog check' shows them all)" if more else ""
        return f"{plain(place)}: {plain(first.message + hint)}{rest}"


def load_config(path: Path, environment: Mapping[str, str] | None = None, *, text: str | None = None) -> ServiceConfig:
    """Read and check a configuration; ConfigError with every mistake, file:line:column.

    text: the content that the file would have; it is not read then, and need not exist.
    Reads the files of secrets that it names, and nothing else: no rules, no sources, no database. Whether the folder of
    the database is there is looked up.
    """
    report = Report()
    environment = os.environ if environment is None else environment
    source = read_file(path, report, str(path)) if text is None else source_text(str(path), text)
    reading = Reading(path.resolve().parent, environment, report)
    config: ServiceConfig | None = None
    rules: NamedRules | None = None
    if source is not None:
        node = read_yaml(source, report)
        if not report.problems:
            rules = _named_rules(node, reading.folder)
            config = _config(path, node, source, reading)
    if report.problems or config is None:
        raise ConfigError(tuple(_shown(problem, reading) for problem in report.ordered()), rules)
    return replace(config, warnings=tuple(_shown(problem, reading).render() for problem in report.warnings))


def declare_tracepoints(path: Path) -> None:
    """Make the tracepoints known that a configuration declares, whatever else is wrong with it.

    ConfigError: mistakes in the declarations, or the file cannot be read.
    """
    report = Report()
    source = read_file(path, report, str(path))
    node = read_yaml(source, report) if source is not None else None
    for entry in node.entries if isinstance(node, Table) else ():
        if entry.key.text == "tracepoints" and not (isinstance(entry.value, Scalar) and entry.value.empty):
            read_tracepoints(entry.value, report)
    if report.problems:
        raise ConfigError(report.ordered())


def _shown(problem: Problem, reading: Reading) -> Problem:
    """Return the problem, without its line if a secret is on it."""
    place = problem.place
    if place.line not in reading.hidden:
        return problem
    return replace(problem, place=replace(place, source=SourceText(place.source.name)))


def _named_rules(node: Node | None, folder: Path) -> NamedRules | None:
    """Return which rules a configuration names, whatever else is wrong with it; None when that is wrong."""
    keys = tuple(key for key in TOP.keys if key.name in ("rules", "packs", "except"))
    entries = node.entries if isinstance(node, Table) else ()
    own = tuple(entry for entry in entries if entry.key.text in {key.name for key in keys})
    reading = Reading(folder, {}, Report())
    found = _read(replace(TOP, keys=keys), Table(own, Location(SourceText(""))), reading)
    if reading.report.problems:
        return None
    return NamedRules(found.maybe("rules", tuple) or (), found.get("packs", tuple), found.maybe("except", tuple) or ())


def _config(path: Path, node: Node | None, source: SourceText, reading: Reading) -> ServiceConfig | None:
    report = reading.report
    root = Table((), Location(source)) if node is None else values.table(node, "configuration", report)
    if root is None:
        return None
    by_name = {section.name: section for section in SECTIONS}
    names = (*(key.name for key in TOP.keys), *by_name)
    tables: dict[str, Table] = {}
    for entry in root.entries:
        name = entry.key.text
        if name in by_name and not (isinstance(entry.value, Scalar) and entry.value.empty):
            found = values.table(entry.value, name, report)
            tables |= {name: found} if found else {}
        elif name not in names:
            report.error(entry.key.place, f"unknown key '{name[:80]}'", partial(did_you_mean, name, names, "keys"))
    own = Table(tuple(one for one in root.entries if one.key.text not in by_name and one.key.text in names), root.place)
    top = _read(TOP, own, reading)
    found_sections = {
        name: _read(section, tables.get(name, Table((), root.place)), reading)
        for name, section in by_name.items()
        if not section.by_name and (name not in OPTIONAL or name in tables)
    }
    parts = _Parts(
        top,
        found_sections,
        read_nodes(tables.get(NODES.name), reading, _value),
        _receivers(tables.get(RECEIVERS.name), reading),
    )
    check_nodes(top, parts.nodes, tables.get(NODES.name), reading)
    _check(parts, reading)
    for entry in own.entries:
        if entry.key.text == "escalation":
            check_attention(entry.value, parts.receivers, report)
    recorder = recorder_settings(found_sections["recorder"], report) if "recorder" in found_sections else None
    return None if report.problems else _assembled(path, parts, recorder, reading)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The tables of a file: the top, its sections, and those by name."""

    top: Found
    sections: Mapping[str, Found]
    nodes: Mapping[str, Found]
    receivers: Mapping[str, Found]


def _read(section: Section, table: Table, reading: Reading) -> Found:
    return read_section(section, table, reading, _value)


def _value(key: Key[Shape], node: Node, reading: Reading) -> ConfigValue | None:
    if key.shape == "sources":
        return read_sources(node, key, reading)
    if key.shape == "escalation":
        return read_escalation(node, key.name, reading)
    if key.shape == "reminders":
        return read_reminders(node, key, reading.report)
    if key.shape == "tokens":
        return read_tokens(node, key.name, reading)
    if key.shape in SHAPES:
        return read_channel_value(key, node, reading)
    if key.shape == "recorder":
        return read_recorder(node, key.name, reading)
    if key.shape == "template":
        return read_template(node, key.name, reading)
    if key.shape == "silences":
        return read_silences(node, reading)
    if key.shape == "exceptions":
        return tuple(read_exceptions(node, reading.report))
    if key.shape == "windows":
        return read_windows(node, reading)
    return read_recorder_value(key, node, reading)


def _receivers(table: Table | None, reading: Reading) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for entry in table.entries if table else ():
        name = entry.key.text
        if not RECEIVER.fullmatch(name) or len(name) > 64:
            hint = "small letters, digits, - and _, a letter first, at most 64"
            reading.report.error(entry.key.place, f"bad name of a receiver '{name[:80]}'", hint)
            continue
        inside = values.table(entry.value, name, reading.report)
        if inside is not None:
            section = replace(RECEIVERS, name=f"receivers.{name}")
            found[name] = _read(section, inside, reading)
    return found


def _check(parts: _Parts, reading: Reading) -> None:
    """Check what depends on several values."""
    report, top, sections, receivers = reading.report, parts.top, parts.sections, parts.receivers
    database = top.maybe("database", Secret)
    if database is not None:
        _check_database(database, top.where("database"), reading)
    api = sections["api"]
    token, listen = api.maybe("token", Secret), api.maybe("listen", str)
    if token is not None:
        check_token(token, api.where("token"), report)
    if listen is not None and not has_token(api):
        host = split_listen(listen)[0]
        if not ipaddress.ip_address(host).is_loopback:
            hint = "add 'token: {file: PATH}' to 'api', or listen on 127.0.0.1"
            report.error(api.where("listen"), f"listening on {host} needs a token", hint)
    for own, found in receivers.items():
        check_receiver(own, found, reading)
        check_receiver_nodes(found, parts.nodes or (top.maybe("node", str) or "",), report)
        if top.maybe("maintenance", tuple):
            check_maintenance(found, report)
    _check_heartbeat(sections.get("heartbeat"), receivers, report)


def _check_heartbeat(beat: Found | None, receivers: Mapping[str, Found], report: Report) -> None:
    name = beat.maybe("receiver", str) if beat is not None else None
    if beat is None or name is None:
        return
    if name not in receivers:
        report.error(beat.where("receiver"), f"no receiver '{name[:80]}'", did_you_mean(name, receivers, "receivers"))
    elif fault := heartbeat_fault(receivers[name]):
        report.error(beat.where("receiver"), *fault)


def _check_database(database: Secret, place: Location, reading: Reading) -> None:
    if not database.reveal().startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        reading.report.error(place, "'database' must begin with sqlite:/// or postgresql://")
        return
    message, _, hint = address_fault(_placed(database, reading.folder).reveal()).partition("; ")
    if message:
        reading.report.error(place, message, hint)


def _assembled(path: Path, parts: _Parts, recorder: RecorderSettings | None, reading: Reading) -> ServiceConfig:
    top, sections, receivers = parts.top, parts.sections, parts.receivers
    checkpoint, api = sections["checkpoint"], sections["api"]
    retention, queues = sections["retention"], sections["queues"]
    host, port = split_listen(api.get("listen", str))
    beat, asmap, plan = sections.get("heartbeat"), top.maybe("asmap", Path), attention_plan(top)
    house = checkpoint.maybe("folder", Path) or reading.folder
    return ServiceConfig(
        path=path.resolve(),
        nodes=node_settings(top, parts.nodes, recorder),
        several=bool(parts.nodes),
        database=_placed(top.get("database", Secret), reading.folder),
        checkpoint=CheckpointSettings(house, checkpoint.get("every", int)),
        rules=top.maybe("rules", tuple) or (),
        packs=top.get("packs", tuple),
        tracepoints=top.maybe("tracepoints", tuple) or (),
        silences=top.maybe("silences", tuple) or (),
        exceptions=top.maybe("except", tuple) or (),
        maintenance=top.maybe("maintenance", tuple) or (),
        asmap=str(asmap) if asmap else None,
        api=ApiSettings(
            host,
            port,
            api.maybe("token", Secret),
            api.maybe("public_url", str) or "",
            api.maybe("tokens", tuple) or (),
        ),
        receivers=tuple(
            reminded(receiver_settings(name, found, house), found, plan) for name, found in receivers.items()
        ),
        attention=plan,
        heartbeat=HeartbeatSettings(beat.get("receiver", str), beat.get("every", int)) if beat else None,
        retention=RetentionSettings(retention.get("resolved", int), retention.get("deliveries", int)),
        queues=QueueSettings(queues.get("changes", int), queues.get("events", int)),
        clock_skew=top.get("clock_skew", int),
        log_level=top.get("log_level", str),
        log_format=top.get("log_format", str),
        start=top.get("start", str),
        changed=tuple(line for name, found in receivers.items() for line in changed_defaults(name, found)),
    )


def _placed(database: Secret, folder: Path) -> Secret:
    """Place a relative SQLite file beside the configuration."""
    head, _, rest = database.reveal().partition("sqlite:///")
    if head or not rest or rest.startswith(("/", ":memory:")):
        return database
    return Secret(database.origin, f"sqlite:///{folder / rest}")
