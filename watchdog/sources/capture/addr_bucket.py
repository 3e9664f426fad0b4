"""A replica of Bitcoin Core's rate limit for addresses, one bucket for each connection.

It follows PeerManagerImpl::ProcessAddrs and struct Peer, and counts as Core counts. Only the filters after the bucket
(services, bans) are not replicated, so `processed` can be above Core's own counter.
"""

from __future__ import annotations

from watchdog.core.core_constants import (
    ADDR_TOKENS_AT_START,
    MAX_ADDR_PROCESSING_TOKEN_BUCKET,
    MAX_ADDR_RATE_PER_SECOND,
    MAX_ADDR_TO_SEND,
)


class AddrBucket:
    """Tokens of one connection; time in microseconds of the node's clock."""

    __slots__ = ("tokens", "updated_us")

    def __init__(self, updated_us: int, tokens: float = ADDR_TOKENS_AT_START) -> None:
        """Fill the bucket as Core does for a connection that began at `updated_us`."""
        self.tokens = tokens
        self.updated_us = updated_us

    def grant(self) -> None:
        """Allow the answer to a getaddr of the node: 1000 tokens, also above the cap, which bounds only the refill."""
        self.tokens += MAX_ADDR_TO_SEND

    def spend(self, now_us: int, entries: int) -> int:
        """Take a received message of `entries` addresses, and return the number that the node processes.

        The rest is beyond the limit. A message of more than 1000 entries is refused before the
        bucket is looked at: 0, and nothing changes. The clock of the bucket moves only here.
        """
        if entries > MAX_ADDR_TO_SEND:
            return 0
        tokens = self.tokens
        if tokens < MAX_ADDR_PROCESSING_TOKEN_BUCKET:
            elapsed = now_us - self.updated_us
            if elapsed > 0:
                tokens = min(tokens + elapsed / 1e6 * MAX_ADDR_RATE_PER_SECOND, MAX_ADDR_PROCESSING_TOKEN_BUCKET)
        self.updated_us = now_us
        # one token an entry while at least one whole token is left; whole steps leave the fraction as it is
        processed = min(entries, int(tokens))
        self.tokens = tokens - processed
        return processed
