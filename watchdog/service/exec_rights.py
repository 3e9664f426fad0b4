"""Programs as receivers: a configuration alone cannot make the service run one."""

from __future__ import annotations

from watchdog.core.errors import ServiceError
from watchdog.service.config.settings import ServiceConfig


def check_exec(config: ServiceConfig) -> None:
    """Raise ServiceError for a receiver that runs a program, unless the command line permits it."""
    names = [one.name for one in config.receivers if one.format == "exec" and one.enabled]
    if names and not config.allow_exec:
        raise ServiceError(
            f"receiver '{names[0]}' runs a program ('format: exec'): start it with 'watchdog run --allow-exec'"
        )
