"""What a recording holds: by hand (`watchdog record`) and by the service (`recorder`)."""

from __future__ import annotations

import re
from typing import Final

LEFT_OUT: Final = frozenset({"rpc:addrman_entry"})
"""A poll of the address tables has tens of thousands of rows: recorded only when named."""
MESSAGE_TYPE: Final = re.compile(r"\*|[ -~]{1,12}")
"""A type of the P2P protocol, 12 bytes at most, or * for all that have no size of their own."""
