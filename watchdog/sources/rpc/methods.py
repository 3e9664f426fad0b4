"""The read-only methods that this program calls, and the lines for bitcoin.conf that allow these and no others."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

METHODS: Final = (
    "getpeerinfo",
    "getblockchaininfo",
    "uptime",
    "getnetworkinfo",
    "getnettotals",
    "getaddrmaninfo",
    "getmempoolinfo",
    "getchaintips",
    "getrawaddrman",
    "getblockheader",
    "getblockhash",
    "getorphantxs",
)
"""The allow-list. Each method reads state that the node holds in memory; none takes more than a hash or a height."""
SINCE: Final[Mapping[str, str]] = {"getaddrmaninfo": "v26", "getrawaddrman": "v26", "getorphantxs": "v29"}
"""The first version of a method that came late: Core's release notes of 26.0 and 29.0."""
PARAMS: Final[Mapping[str, tuple[object, ...]]] = {"getorphantxs": (1,)}
"""What polls ask with: verbosity 1 names the peers."""
USER: Final = "watchdog"
HASH_SHOWN: Final = "SALT$HASH"  # stands for the output of Core's share/rpcauth/rpcauth.py
WHY_THREE: Final = (
    "Without rpcwhitelistdefault=0 every other RPC user is locked out, wallets included: Bitcoin Core then allows only "
    "users that have an rpcwhitelist."
)


def rpcauth(password: str, user: str = USER, salt: str = "") -> str:
    """Return the value of `rpcauth` for a password: `USER:SALT$HASH`, as Core's share/rpcauth/rpcauth.py prints it."""
    salt = salt or secrets.token_hex(16)
    return f"{user}:{salt}${hmac.new(salt.encode(), password.encode(), hashlib.sha256).hexdigest()}"


def lines_for_node(auth: str = f"{USER}:{HASH_SHOWN}") -> tuple[str, str, str]:
    """Return the three lines of bitcoin.conf that belong together; never print one of them alone.

    auth: the value of `rpcauth`. `WHY_THREE` is the reason to print with them.
    """
    user = auth.partition(":")[0]
    return f"rpcauth={auth}", f"rpcwhitelist={user}:{','.join(METHODS)}", "rpcwhitelistdefault=0"


LINES_FOR_NODE: Final = lines_for_node()
