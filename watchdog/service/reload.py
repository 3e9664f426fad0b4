"""A reload: configuration and rules are read again, and come into force together or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from alerts.delivery.sender import Sender
from rules.load import RuleSet
from watchdog.core.errors import ServiceError, StoreError, StoreUnavailableError, WatchdogError
from watchdog.core.text import counted
from watchdog.service.abilities import Abilities
from watchdog.service.assembly import ServiceParts, heartbeat, load_rules, routes
from watchdog.service.audit_log import audit_reload
from watchdog.service.chores import Chores
from watchdog.service.config.read import load_config
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import NodeSettings, ServiceConfig
from watchdog.service.engine_thread import discard
from watchdog.service.exec_rights import check_exec
from watchdog.service.hub import Hub
from watchdog.service.live_pipeline import restarted_text
from watchdog.service.reload_nodes import NodeReloader, changes_of

FIXED = (
    "several",
    "database",
    "checkpoint",
    "asmap",
    "tracepoints",
    "queues",
    "retention",
    "clock_skew",
    "log_level",
    "log_format",
)
"""Keys that only a start reads."""
_LOG = logging.getLogger("watchdog.service")


class Reloader:
    """Reloads on SIGHUP, one reload at a time. Belongs to the event loop.

    What only a start reads (`FIXED`, the sources of a node) stays as it was at the start; the answer names it.
    """

    def __init__(self, parts: ServiceParts, sender: Sender, hub: Hub, abilities: Abilities, chores: Chores) -> None:
        self._parts, self._sender, self._hub = parts, sender, hub
        self._abilities, self._chores = abilities, chores
        self._nodes = NodeReloader(parts, chores)
        self._at_start: Final = parts.in_force.config
        self._count = 0  # of reloads since the start

    async def reload(self) -> tuple[bool, str]:
        """Read configuration and rules, and bring all of it into force or nothing.

        Return whether that worked, and what changed or why nothing did. Live pages and the file that
        `watchdog reload` waits for get the same answer.
        """
        async with self._parts.in_force.lock:
            self._count += 1
            ok, text = await self._reloaded(self._parts.in_force.config.path)
            self._hub.announce("reload", {"ok": ok, "text": text})
            try:
                await self._chores.housekeeping.ask(partial(self._audit, ok=ok, text=text))
            except StoreUnavailableError as error:
                _LOG.warning("audit: %s", error)
            try:
                await self._chores.housekeeping.ask(lambda: self._parts.pid_file.answer(self._count, ok=ok, text=text))
            except OSError as error:
                _LOG.error("reload: the answer cannot be written: %s", error.strerror)
            return ok, text

    def _audit(self, *, ok: bool, text: str) -> None:
        parts = self._parts
        audit_reload(parts.store.audit, parts.in_force.rules, parts.start.wall_ns(), ok=ok, text=text)

    async def _reloaded(self, path: Path) -> tuple[bool, str]:
        try:
            read = config = await self._chores.housekeeping.ask(lambda: self._read(path))
            rules = await self._chores.housekeeping.ask(lambda: load_rules(read))
        except WatchdogError as error:
            _LOG.error("reload: nothing was changed: %s", error.in_one_line())
            return False, f"nothing was changed:\n{error}"
        except OSError as error:
            return False, f"nothing was changed: {error.strerror}"
        running = self._parts.in_force.config
        node_changes = changes_of(running, config)
        config = after_reload(self._at_start, config, (*node_changes.kept, *node_changes.added))
        try:
            new = await self._nodes.built(config, node_changes.added, rules)
        except (WatchdogError, OSError) as error:
            text = error.in_one_line() if isinstance(error, WatchdogError) else str(error)
            _LOG.error("reload: nothing was changed: %s", text)
            return False, f"nothing was changed: {text}"
        for engine in new:
            await self._chores.housekeeping.ask(lambda engine=engine: self._abilities.look_at(engine))  # type: ignore[misc] # mypy cannot infer a lambda with a default
        try:
            changed = await self._rules_changed(rules, node_changes.removed)
        except ServiceError as error:
            for engine in new:
                discard(engine)
            return False, f"nothing was changed: {error}"
        self._parts.in_force.rules = rules
        await self._nodes.remove(node_changes.removed)
        self._nodes.start(new)
        self._abilities.log()
        text = f"{counted(len(rules.plans), 'rule')} ({'changed' if changed else 'as before'}), "
        text += f"{node_changes.text}, " if node_changes.text else ""
        waiting = needs_restart(replace(self._at_start, nodes=running.nodes), read)
        text += await self._configured(config, restarted=self._restarted_text() if changed else "", waiting=waiting)
        _LOG.info("reload: %s", text)
        return True, text

    def _read(self, path: Path) -> ServiceConfig:
        """Read the configuration. WatchdogError: it cannot be used, or its receivers cannot."""
        read = replace(load_config(path), allow_exec=self._at_start.allow_exec)
        check_exec(read)
        routes(read)  # makes the key of the house, if that is new
        return read

    async def _rules_changed(self, rules: RuleSet, removed: Sequence[str]) -> bool:
        """Replace the rules of all nodes that stay; return whether they differ. ServiceError: nothing was changed."""
        engines = [engine for engine in self._parts.nodes.loops if engine.node not in removed]
        full = next((engine.node for engine in engines if engine.orders.full), None)
        if full is not None:
            raise ServiceError(f"the engine of node {full} is far behind and takes no more commands; try again later")
        return any(await asyncio.gather(*(asyncio.wrap_future(engine.change_rules(rules)) for engine in engines)))

    async def _configured(self, config: ServiceConfig, *, restarted: str, waiting: Sequence[str]) -> str:
        """Bring a configuration into force; return what changed. restarted: a part of the answer."""
        before = self._parts.in_force.config
        self._parts.writer.routes = await self._chores.housekeeping.ask(lambda: routes(config))
        self._sender.configure(self._parts.writer.routes.receivers, heartbeat(config))
        self._parts.in_force.config = config
        text = f"{counted(len(config.receivers), 'receiver')} ({receivers_text(before, config)}){restarted}"
        text += await self._dead_letters_text()
        return f"{text}; needs a restart: {', '.join(waiting)}" if waiting else text

    def _restarted_text(self) -> str:
        restarted = frozenset().union(*(engine.watch.restarted_rules for engine in self._parts.nodes.loops))
        return "; " + (restarted_text(restarted) or "all rules keep their state")

    async def _dead_letters_text(self) -> str:
        """Dead-letter notices of removed receivers. The chores try again later if the database does not answer."""
        try:
            count = await self._chores.dead_letter_removed_receivers()
        except StoreError as error:
            _LOG.warning("dead letters: %s", error)
            return ""
        return f"; {counted(count, 'undeliverable notice')} moved to dead letters" if count else ""


def needs_restart(at_start: ServiceConfig, new: ServiceConfig) -> list[str]:
    """Return the keys that differ from those at the start and that a reload does not bring into force."""
    keys = [*changes_of(at_start, new).waits]
    keys += [name for name in FIXED if name != "several" and getattr(at_start, name) != getattr(new, name)]
    return keys if _fixed_api(at_start) == _fixed_api(new) else [*keys, "api"]


def after_reload(at_start: ServiceConfig, new: ServiceConfig, nodes: tuple[NodeSettings, ...]) -> ServiceConfig:
    """Return the configuration in force after a reload: the new one, with the fixed keys as they were at the start.

    nodes: those that are watched from now on.
    """
    host, port, token = _fixed_api(at_start)
    fixed = {name: getattr(at_start, name) for name in FIXED}
    return replace(new, **fixed, nodes=nodes, api=replace(new.api, host=host, port=port, token=token))


def receivers_text(old: ServiceConfig, new: ServiceConfig) -> str:
    """Return what a reload changes for receivers and heartbeat, by name: `new: chat; changed: ops`."""
    before, after = ({receiver.name: receiver for receiver in config.receivers} for config in (old, new))
    names_by_change = {
        "new": after.keys() - before.keys(),
        "changed": {name for name in after.keys() & before.keys() if after[name] != before[name]},
        "removed": before.keys() - after.keys(),
    }
    parts = [f"{change}: {', '.join(sorted(names))}" for change, names in names_by_change.items() if names]
    if old.heartbeat != new.heartbeat:
        parts.append("heartbeat changed")
    return "; ".join(parts) or "as before"


def _fixed_api(config: ServiceConfig) -> tuple[str, int, Secret | None]:
    return config.api.host, config.api.port, config.api.token
