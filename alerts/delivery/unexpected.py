"""What is left of an attempt that our own code failed: a refusal with its place, so that no other notice waits for it.

Without it one notice that an encoder cannot take would end the service, and again after each restart: all receivers
would be blind.
"""

from __future__ import annotations

import logging
from pathlib import Path

from alerts.delivery.answers import Response
from alerts.delivery.journal import line
from alerts.delivery.schedule import RetryDecision

_LOG = logging.getLogger("watchdog.delivery")


def failed_here(error: Exception, receiver: str, what: str) -> Response:
    """Return the refusal of an attempt that raised, and log where. what: an id, for the log.

    The text of the error is left out: it may hold a secret, or what a peer sent.
    """
    place, trace = "", error.__traceback__
    while trace is not None:
        place, trace = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}", trace.tb_next
    text = f"the watchdog failed: {type(error).__name__} at {place}"
    _LOG.error(line("delivery-fault", receiver=receiver, id=what, error=text, hint="this is a bug; please report it"))
    return Response(None, None, text, 0.0, RetryDecision.REFUSED)
