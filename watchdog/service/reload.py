"""A reload: configuration and rules are read again, and come into force together or not at all."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from alerts.delivery.sender import Sender
from watchdog.core.errors import ServiceError, StoreError, WatchdogError
from watchdog.core.text import counted
from watchdog.service.abilities import Abilities
from watchdog.service.assembly import ServiceParts, heartbeat, load_rules, routes
from watchdog.service.chores import Chores
from watchdog.service.config.read import load_config
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.hub import Hub
from watchdog.service.live_pipeline import restarted_text

FIXED = (
    "node",
    "sources",
    "source_settings",
    "database",
    "checkpoint",
    "asmap",
    "queues",
    "retention",
    "clock_skew",
    "log_level",
)
"""Keys that only a start reads."""
_LOG = logging.getLogger("watchdog.service")


class Reloader:
    """Reloads on SIGHUP, one reload at a time. Belongs to the event loop.

    What only a start reads (`FIXED`) stays as it was at the start; the answer names it.
    """

    def __init__(self, parts: ServiceParts, sender: Sender, hub: Hub, abilities: Abilities, chores: Chores) -> None:
        self._parts, self._sender, self._hub = parts, sender, hub
        self._abilities, self._chores = abilities, chores
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
                self._parts.pid_file.answer(self._count, ok=ok, text=text)
            except OSError as error:
                _LOG.error("reload: the answer cannot be written: %s", error.strerror)
            return ok, text

    async def _reloaded(self, path: Path) -> tuple[bool, str]:
        try:
            config = await self._chores.housekeeping.ask(lambda: load_config(path))
            rules = await self._chores.housekeeping.ask(lambda: load_rules(config))
        except WatchdogError as error:
            _LOG.error("reload: nothing was changed: %s", error.in_one_line())
            return False, f"nothing was changed:\n{error}"
        except OSError as error:
            return False, f"nothing was changed: {error.strerror}"
        try:
            changed = await asyncio.wrap_future(self._parts.engine.change_rules(rules))
        except ServiceError as error:
            return False, f"nothing was changed: {error}"
        self._parts.in_force.rules = rules
        self._abilities.log()
        text = f"{counted(len(rules.plans), 'rule')} ({'changed' if changed else 'as before'}), "
        text += await self._configured(config, restarted=self._restarted_text() if changed else "")
        _LOG.info("reload: %s", text)
        return True, text

    async def _configured(self, read: ServiceConfig, *, restarted: str) -> str:
        """Bring a configuration into force; return what changed. restarted: a part of the answer."""
        before, config = self._parts.in_force.config, after_reload(self._at_start, read)
        self._parts.writer.routes = routes(config)
        self._sender.configure(self._parts.writer.routes.receivers, heartbeat(config))
        self._parts.in_force.config = config
        text = f"{counted(len(config.receivers), 'receiver')} ({receivers_text(before, config)}){restarted}"
        text += await self._dead_letters_text()
        waiting = needs_restart(self._at_start, read)
        return f"{text}; needs a restart: {', '.join(waiting)}" if waiting else text

    def _restarted_text(self) -> str:
        return "; " + (restarted_text(self._parts.engine.watch.restarted_rules) or "all rules keep their state")

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
    changed = (name for name in FIXED if getattr(at_start, name) != getattr(new, name))
    keys = list(dict.fromkeys("sources" if name == "source_settings" else name for name in changed))
    return keys if _fixed_api(at_start) == _fixed_api(new) else [*keys, "api"]


def after_reload(at_start: ServiceConfig, new: ServiceConfig) -> ServiceConfig:
    """Return the configuration in force after a reload: the new one, with the fixed keys as they were at the start."""
    host, port, token = _fixed_api(at_start)
    fixed = {name: getattr(at_start, name) for name in FIXED}
    return replace(new, **fixed, api=replace(new.api, host=host, port=port, token=token))


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
