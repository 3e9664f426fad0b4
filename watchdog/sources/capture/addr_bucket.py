"""A replica of Bitcoin Core's rate limit for addresses, one bucket for each connection.

All from Bitcoin Core src/net_processing.cpp (master of 2026-08-20), PeerManagerImpl::ProcessAddrs
and struct Peer. What Core keeps is counted the way Core counts it; only the filters that come after the
bucket (services, bans) are not replicated, so `processed` can be above Core's own counter.
"""

from __future__ import annotations

TOKENS_PER_SECOND = 0.1  # MAX_ADDR_RATE_PER_SECOND
TOKENS_CAP = 1000  # MAX_ADDR_PROCESSING_TOKEN_BUCKET = MAX_ADDR_TO_SEND: the cap of the refill only
TOKENS_FOR_GETADDR = 1000  # MAX_ADDR_TO_SEND, granted when the node sends getaddr
ENTRIES_LIMIT = 1000  # MAX_ADDR_TO_SEND: a longer message is refused as a whole
TOKENS_AT_START = 1.0  # Peer::m_addr_token_bucket


class AddrBucket:
    """Tokens of one connection; time in microseconds of the node's clock."""

    __slots__ = ("tokens", "updated_us")

    def __init__(self, updated_us: int, tokens: float = TOKENS_AT_START) -> None:
        """A bucket as Core makes it with the connection, which began at `updated_us`."""
        self.tokens = tokens
        self.updated_us = updated_us

    def grant(self) -> None:
        """The node sent getaddr: up to 1000 answers are welcome, beyond the cap if need be."""
        self.tokens += TOKENS_FOR_GETADDR

    def spend(self, now_us: int, entries: int) -> int:
        """Take a received message of `entries` addresses; returns how many the node processes.

        The rest is beyond the limit. A message of more than 1000 entries is refused before the
        bucket is looked at: 0, and nothing changes. The clock of the bucket moves only here.
        """
        if entries > ENTRIES_LIMIT:
            return 0
        tokens = self.tokens
        if tokens < TOKENS_CAP:
            elapsed = now_us - self.updated_us
            if elapsed > 0:
                tokens = min(tokens + elapsed / 1e6 * TOKENS_PER_SECOND, TOKENS_CAP)
        self.updated_us = now_us
        # one token an entry while at least one whole token is left; whole steps leave the fraction as it is
        processed = min(entries, int(tokens))
        self.tokens = tokens - processed
        return processed
