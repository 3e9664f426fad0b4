"""Forms of debug.log that say why a connection is about to end: the node has no use for the peer."""

from __future__ import annotations

from watchdog.sources.core_log.form import Form, Wording, ending

FORMS: tuple[Form, ...] = (
    ending(
        "ending_ping_timeout",
        rb"ping timeout",
        "ping timeout",
        "net_processing.cpp",
        Wording("ping timeout: %s peer=%", "ping timeout: 5s peer=7", "", "29 1d6c6e98c13e"),
        Wording(
            "ping timeout: %s, %", "ping timeout: 5s, disconnecting peer=7, peeraddr=1.2.3.4:8333", "29 1d6c6e98c13e"
        ),
    ),
    ending(
        "ending_extra_peer",
        rb"disconnecting extra ",
        "extra peer",
        "net_processing.cpp",
        Wording(
            "disconnecting extra outbound peer=% (last block announcement received at time %)",
            "disconnecting extra outbound peer=7 (last block announcement received at time 5)",
        ),
        Wording(
            "disconnecting extra block-relay-only peer=% (last block received at time %)",
            "disconnecting extra block-relay-only peer=7 (last block received at time 5)",
        ),
    ),
    ending(
        "ending_discouraged",
        rb"Disconnecting and discouraging",
        "misbehaving",
        "net_processing.cpp",
        Wording("Disconnecting and discouraging peer %!", "Disconnecting and discouraging peer 7!"),
    ),
    ending(
        "ending_not_discouraged",
        rb"Warning: disconnecting but not discouraging",
        "misbehaving",
        "net_processing.cpp",
        Wording(
            "Warning: disconnecting but not discouraging % peer %!",
            "Warning: disconnecting but not discouraging 5 peer 7!",
        ),
    ),
    ending(
        "ending_old_chain",
        rb"Outbound peer has old chain",
        "chain behind",
        "net_processing.cpp",
        Wording(
            "Outbound peer has old chain, best known block = %, %",
            "Outbound peer has old chain, best known block = 5, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_outbound",
        rb"Disconnecting outbound peer",
        "chain behind",
        "net_processing.cpp",
        Wording(
            "Disconnecting outbound peer % for old chain, best known block = %",
            "Disconnecting outbound peer 7 for old chain, best known block = 5",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "Disconnecting outbound peer % -- headers chain has insufficient work",
            "Disconnecting outbound peer 7 -- headers chain has insufficient work",
            "",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_little_work",
        rb"outbound peer headers chain",
        "chain behind",
        "net_processing.cpp",
        Wording(
            "outbound peer headers chain has insufficient work, %",
            "outbound peer headers chain has insufficient work, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_private_broadcast",
        rb"Disconnecting: ",
        "private broadcast",
        "net_processing.cpp",
        Wording(
            "Disconnecting: did not complete the transaction send within % seconds, peer=%%",
            "Disconnecting: did not complete the transaction send within 5 seconds, peer=7, peeraddr=1.2.3.4:8333",
            "31 f970cb39fb64",
            "32 e96d9e6492c5",
        ),
        Wording(
            "Disconnecting: did not complete the transaction send within % seconds, %",
            "Disconnecting: did not complete the transaction send within 5 seconds, disconnecting "
            "peer=7, peeraddr=1.2.3.4:8333",
            "32 e96d9e6492c5",
        ),
        Wording(
            "Disconnecting: does not support transaction relay (connected in vain), %",
            "Disconnecting: does not support transaction relay (connected in vain), disconnecting "
            "peer=7, peeraddr=1.2.3.4:8333",
            "32 e96d9e6492c5",
        ),
        Wording(
            "Disconnecting: got GETDATA without sending an INV, %",
            "Disconnecting: got GETDATA without sending an INV, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "32 e96d9e6492c5",
        ),
        Wording(
            "Disconnecting: got an unexpected GETDATA message, %",
            "Disconnecting: got an unexpected GETDATA message, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "32 e96d9e6492c5",
        ),
        Wording(
            "Disconnecting: no more transactions for private broadcast (connected in vain), %",
            "Disconnecting: no more transactions for private broadcast (connected in vain), "
            "disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "32 e96d9e6492c5",
        ),
    ),
    ending(
        "ending_mempool_bandwidth",
        rb"mempool request with bandwidth",
        "upload limit",
        "net_processing.cpp",
        Wording(
            "mempool request with bandwidth limit reached, disconnect peer=%",
            "mempool request with bandwidth limit reached, disconnect peer=7",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "mempool request with bandwidth limit reached, %",
            "mempool request with bandwidth limit reached, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_services",
        rb"peer(?:=\d{1,18})? does not offer",
        "services missing",
        "net_processing.cpp",
        Wording(
            "peer=% does not offer the expected services (% offered, % expected); disconnecting",
            "peer=7 does not offer the expected services (5 offered, 5 expected); disconnecting",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "peer does not offer the expected services (% offered, % expected), %",
            "peer does not offer the expected services (5 offered, 5 expected), disconnecting peer=7, "
            "peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_obsolete",
        rb"peer(?:=\d{1,18})? using obsolete",
        "obsolete version",
        "net_processing.cpp",
        Wording(
            "peer=% using obsolete version %; disconnecting",
            "peer=7 using obsolete version 5; disconnecting",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "peer using obsolete version %, %",
            "peer using obsolete version 5, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_addr_fetch_done",
        rb"addrfetch connection completed",
        "addr-fetch done",
        "net_processing.cpp",
        Wording(
            "addrfetch connection completed peer=%; disconnecting",
            "addrfetch connection completed peer=7; disconnecting",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "addrfetch connection completed, %",
            "addrfetch connection completed, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_addr_fetch_timeout",
        rb"addrfetch connection timeout",
        "addr-fetch timeout",
        "net_processing.cpp",
        Wording(
            "addrfetch connection timeout; disconnecting peer=%",
            "addrfetch connection timeout; disconnecting peer=7",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "addrfetch connection timeout, %",
            "addrfetch connection timeout, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_upload_limit",
        rb"historical block serving limit",
        "upload limit",
        "net_processing.cpp",
        Wording(
            "historical block serving limit reached, disconnect peer=%",
            "historical block serving limit reached, disconnect peer=7",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "historical block serving limit reached, %",
            "historical block serving limit reached, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_pruned_block",
        rb"Ignore block request below",
        "pruned block asked",
        "net_processing.cpp",
        Wording(
            "Ignore block request below NODE_NETWORK_LIMITED threshold, disconnect peer=%",
            "Ignore block request below NODE_NETWORK_LIMITED threshold, disconnect peer=7",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "Ignore block request below NODE_NETWORK_LIMITED threshold, %",
            "Ignore block request below NODE_NETWORK_LIMITED threshold, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_block_pruned",
        rb"Block was pruned before it could be read",
        "pruned block asked",
        "net_processing.cpp",
        Wording(
            "Block was pruned before it could be read, disconnect peer=%",
            "Block was pruned before it could be read, disconnect peer=7",
            "28 573f6311658a",
            "29 f95fb793726b",
        ),
        Wording(
            "Block was pruned before it could be read, %",
            "Block was pruned before it could be read, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_block_unreadable",
        rb"Cannot load block from disk",
        "block unreadable",
        "net_processing.cpp",
        Wording(
            "Cannot load block from disk, disconnect peer=%",
            "Cannot load block from disk, disconnect peer=7",
            "28 573f6311658a",
            "29 f95fb793726b",
        ),
        Wording(
            "Cannot load block from disk, %",
            "Cannot load block from disk, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
)
