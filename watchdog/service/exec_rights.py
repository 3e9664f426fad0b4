"""Programs as receivers: a configuration alone cannot make any command run one."""

from __future__ import annotations

from collections.abc import Iterable

from watchdog.core.errors import ServiceError
from watchdog.service.config.settings import ReceiverSettings, ServiceConfig

EXEC_HELP = "permit receivers of the format exec, which run a program"


def check_exec(config: ServiceConfig) -> None:
    """Raise ServiceError for a receiver that runs a program, unless the command line permits it."""
    if not config.allow_exec:
        refuse_exec(config.receivers, "watchdog run")


def refuse_exec(receivers: Iterable[ReceiverSettings], command: str) -> None:
    """Raise ServiceError for a receiver that is on and runs a program. command: that would run it, without its flag."""
    for one in receivers:
        if one.format == "exec" and one.enabled:
            raise ServiceError(
                f"receiver '{one.name}' runs a program ('format: exec'): permit it with '{command} --allow-exec'"
            )
