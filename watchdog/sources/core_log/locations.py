"""Which events the rate limit of Core's log can take: the lines of a source location, by file and function.

Core (since v30) limits unconditional lines only, each source location for itself: after a megabyte
(RATELIMIT_MAX_BYTES) in an hour it drops the lines of that location until the hour ends. It never drops category lines
(-debug=...), and since v30 no `UpdateTip` (NO_RATE_LIMIT). A location that this table lacks gives no line that we read,
or we do not know it. Then no event counts as missing: a peer that sets the limit off must not silence rules about other
events. The incident `log-rate-limited` names the location in any case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

NO_KIND: Final = "log:other"  # the kinds of a gap that no rule reads: nothing that we know is missing
_BY_FUNCTION: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "init.cpp": {"Shutdown": ("node:stopped",)},
    "common.cpp": {"LogPackageVersion": ("node:started",)},
    "net.cpp": {"CreateNodeFromAcceptedSocket": ("log:connection_dropped",)},
    "net_processing.cpp": {
        "CheckForStaleTipAndEvictPeers": ("log:stale_tip",),
        "LogBlockHeader": ("log:header",),
        "ProcessMessage": ("log:peer_connected",),  # outbound peers; inbound ones are lines of the category net
        "SendMessages": ("log:block_stalling",),
    },
    "netgroup.cpp": {"ASMapHealthCheck": ("log:asmap_health",)},
    "validation.cpp": {"UpdateTipLog": ("log:tip",), "UpdateTip": ("log:tip",)},
}
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")


def kinds_of(file: str, function: str) -> tuple[str, ...]:
    """Return the kinds that lines of a source location give; empty for a location that is not in the table.

    file: with or without folders. function: its name alone, or all that a compiler makes of it:
    "virtual void {anonymous}::PeerManagerImpl::ProcessMessage(CNode&, const string&)".
    """
    functions = _BY_FUNCTION.get(re.split(r"[/\\]", file)[-1], {})
    plain = function.replace("(anonymous namespace)", "")
    called = _CALL.search(plain)
    return functions.get(called[1] if called else plain.strip(), ())
