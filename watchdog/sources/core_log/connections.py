"""Forms of debug.log about connections: tried, set up, turned away, shaken hands, closed."""

from __future__ import annotations

from watchdog.sources.core_log.form import IGNORED, PEER, Form, Wording, form

_NET, _PROCESSING = "net.cpp", "net_processing.cpp"

PEER_KINDS = (
    "log:addr_received",
    "log:block_stalling",
    "log:connection_accepted",
    "log:connection_added",
    "log:connection_dropped",
    "log:disconnected",
    "log:evicted",
    "log:feeler_completed",
    "log:header",
    "log:low_work_headers",
    "log:misbehaving",
    "log:peer_connected",
    "log:protocol_error",
    "log:version",
)

_ATTEMPTS: tuple[Form, ...] = (
    form(
        "trying_connection",
        rb"trying (?:v\d+ )?connection ",
        rb"trying (?:(?P<transport>v\d{1,2}) )?connection (?:\((?P<type>[a-z-]{1,30})\) )?(?:to )?"
        rb"(?P<to>[^\s,]{1,300}),? lastseen=.{0,60}",
        "trying",
        PEER_KINDS,
        _NET,
        Wording(
            "trying connection % lastseen=%hrs", "trying connection 1.2.3.4:8333 lastseen=4.0hrs", "", "26 6f882e6f8689"
        ),
        Wording(
            "trying % connection % lastseen=%hrs",
            "trying v1 connection 1.2.3.4:8333 lastseen=4.0hrs",
            "26 6f882e6f8689",
            "31 6b0a980de94b",
        ),
        Wording(
            "trying % connection (%) to %, lastseen=%hrs",
            "trying v2 connection (outbound-full-relay) to 1.2.3.4:8333, lastseen=4.0hrs",
            "31 6b0a980de94b",
        ),
    ),
    form(
        "attempt_timed_out",
        rb"connection attempt to ",
        rb"connection attempt to (?P<to>\S{1,300}) timed out",
        "attempt_failed",
        PEER_KINDS,
        "netbase.cpp",
        Wording("connection attempt to % timed out", "connection attempt to 1.2.3.4:8333 timed out"),
    ),
    form(
        "attempt_refused",
        rb"connect\(\) to ",
        rb"connect\(\) to (?P<to>\S{1,300}) failed(?: after wait)?: .{0,300}",
        "attempt_failed",
        PEER_KINDS,
        "netbase.cpp",
        Wording(
            "connect() to % failed after wait: %",
            "connect() to 1.2.3.4:8333 failed after wait: Connection refused (111)",
        ),
        Wording("connect() to % failed: %", "connect() to 1.2.3.4:8333 failed: Network is unreachable (101)"),
    ),
    form(
        "attempt_failed_i2p",
        rb"Error connecting to ",
        rb"Error connecting to (?P<to>[^\s,]{1,300}?)(?::|,) .{0,600}",
        "attempt_failed",
        PEER_KINDS,
        "i2p.cpp",
        Wording("Error connecting to %: %", "Error connecting to abcd.b32.i2p:0: Connection timed out"),
        Wording(
            "Error connecting to %, connection refused due to arbitrary port %",
            "Error connecting to abcd.b32.i2p:8333, connection refused due to arbitrary port 8333",
            "28 a78ca706f66e",
        ),
    ),
    form(
        "making_feeler",
        rb"Making feeler connection",
        rb"Making feeler connection(?: to (?P<to>\S{1,300}))?",
        "feeler_attempt",
        ("log:feeler_attempt", *PEER_KINDS),
        _NET,
        Wording("Making feeler connection to %", "Making feeler connection to 1.2.3.4:8333"),
    ),
)

_OPENING: tuple[Form, ...] = (
    form(
        "connection_added",
        rb"Added connection",
        rb"Added connection(?: to (?P<to>\S{1,300}))? " + PEER,
        "connection_added",
        PEER_KINDS,
        _NET,
        Wording("Added connection to % peer=%", "Added connection to 1.2.3.4:8333 peer=7"),
        Wording("Added connection peer=%", "Added connection peer=7"),
    ),
    form(
        "connection_accepted",
        rb"connection from \S{1,300} accept",
        rb"connection from (?P<to>\S{1,300}) accepted",
        "connection_accepted",
        PEER_KINDS,
        _NET,
        Wording("connection from % accepted", "connection from 1.2.3.4:50001 accepted"),
    ),
    form(
        "connection_dropped",
        rb"connection from ",
        rb"connection from (?P<to>\S{1,300}) dropped[: (]{0,3}(?P<why>[^()]{0,100})\)?",
        "connection_dropped",
        ("log:connection_dropped",),
        _NET,
        Wording("connection from % dropped (banned)", "connection from 1.2.3.4:50001 dropped (banned)"),
        Wording("connection from % dropped (discouraged)", "connection from 1.2.3.4:50001 dropped (discouraged)"),
        Wording(
            "connection from % dropped: not accepting new connections",
            "connection from 1.2.3.4:50001 dropped: not accepting new connections",
        ),
        Wording(
            "connection from % dropped: non-selectable socket",
            "connection from 1.2.3.4:50001 dropped: non-selectable socket",
        ),
    ),
    form(
        "connection_without_nodelay",
        rb"connection from \S{1,300}: ",
        rb"connection from \S{1,300}: unable to set TCP_NODELAY, continuing anyway",
        IGNORED,
        ("log:connection_dropped",),
        _NET,
        Wording(
            "connection from %: unable to set TCP_NODELAY, continuing anyway",
            "connection from 1.2.3.4:50001: unable to set TCP_NODELAY, continuing anyway",
            "24 6300b9556ec9",
        ),
    ),
    form(
        "slots_full",
        rb"failed to find an eviction candidate",
        rb"failed to find an eviction candidate - connection dropped \((?P<why>full)\)",
        "connection_dropped",
        ("log:connection_dropped",),
        _NET,
        Wording(
            "failed to find an eviction candidate - connection dropped (full)",
            "failed to find an eviction candidate - connection dropped (full)",
        ),
    ),
    form(
        "relay_slots_full",
        rb"failed to find a tx-relaying eviction candidate",
        rb"failed to find a tx-relaying eviction candidate - connection dropped after (?P<after>\S{1,30}) message, "
        + PEER,
        "peer_dropped",
        ("log:connection_dropped", "log:disconnected"),
        _PROCESSING,
        Wording(
            "failed to find a tx-relaying eviction candidate - connection dropped after % message, peer=%",
            "failed to find a tx-relaying eviction candidate - connection dropped after version message, peer=7",
            "32 11ebbd907217",
        ),
    ),
)

_HANDSHAKE: tuple[Form, ...] = (
    form(
        "version",
        rb"receive version message",
        rb"receive version message: (?P<agent>.{0,1100}): version (?P<version>\d{1,10}), "
        rb"blocks=(?P<height>-?\d{1,10}), us=\S{0,300}, (?:txrelay=(?P<relay>[01]), )?" + PEER,
        "version",
        PEER_KINDS,
        _PROCESSING,
        Wording(
            "receive version message: %: version %, blocks=%, us=%, txrelay=%, peer=%%",
            "receive version message: /Satoshi:22.0.0/: version 70016, blocks=7, us=[::]:0, txrelay=1, peer=7"
            ", peeraddr=1.2.3.4:8333",
            "",
            "26 4c40837a4549",
        ),
        Wording(
            "receive version message: %: version %, blocks=%, us=%, txrelay=%, peer=%%%",
            "receive version message: /Satoshi:26.0.0/: version 70016, blocks=7, us=[::]:0, txrelay=1, peer=7"
            " peeraddr=1.2.3.4:8333, mapped_as=9",
            "26 4c40837a4549",
            "32 e96d9e6492c5",
        ),
        Wording(
            "receive version message: %: version %, blocks=%, us=%, txrelay=%, %%",
            "receive version message: <no user agent>: version 70016, blocks=7, us=[::]:0, txrelay=0, peer=7"
            ", peeraddr=1.2.3.4:8333, mapped_as=9",
            "32 e96d9e6492c5",
        ),
    ),
    form(
        "peer_connected",
        rb"New .{0,60}?peer connected",
        rb"New (?P<type>[a-z-]{1,30}) (?:(?P<early>v\d{1,2}) )?peer connected: "
        rb"(?:transport: (?P<transport>\S{1,20}), )?version: (?P<version>\d{1,10}),? "
        rb"(?:blocks=(?P<height>-?\d{1,10}),? )?" + PEER + rb"(?: \((?P<full>[a-z-]{1,30})\))?",
        "peer_connected",
        PEER_KINDS,
        _PROCESSING,
        Wording(
            "New outbound peer connected: version: %, blocks=%, peer=%% (%)",
            "New outbound peer connected: version: 70015, blocks=7, peer=7, peeraddr=1.2.3.4:8333 (block-relay-only)",
            "",
            "26 4c40837a4549",
        ),
        Wording(
            "New % % peer connected: version: %, blocks=%, peer=%%%",
            "New outbound-full-relay v2 peer connected: version: 70016, blocks=7, peer=7, peeraddr=1.2.3.4:8333"
            ", mapped_as=9",
            "26 6f882e6f8689",
            "31 cca113f5b022",
        ),
        Wording(
            "New % peer connected: transport: %, version: %, blocks=% peer=%%%",
            "New inbound peer connected: transport: v2, version: 70016, blocks=7 peer=7, peeraddr=1.2.3.4:50001",
            "31 cca113f5b022",
            "32 e96d9e6492c5",
        ),
        Wording(
            "New % peer connected: transport: %, version: %, %%",
            "New inbound peer connected: transport: v1, version: 70016, peer=7, peeraddr=1.2.3.4:50001, mapped_as=9",
            "32 51a4dc5515fd",
        ),
    ),
    form(
        "feeler_completed",
        rb"feeler connection completed",
        rb"feeler connection completed[,;]? (?:disconnecting )?" + PEER + rb"(?:; disconnecting)?",
        "feeler_completed",
        PEER_KINDS,
        _PROCESSING,
        Wording(
            "feeler connection completed peer=%; disconnecting",
            "feeler connection completed peer=7; disconnecting",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "feeler connection completed, %", "feeler connection completed, disconnecting peer=7", "29 f95fb793726b"
        ),
    ),
)

_CLOSING: tuple[Form, ...] = (
    form(
        "socket_reset",
        rb"Resetting socket",
        rb"Resetting socket for " + PEER,
        "closed",
        PEER_KINDS,
        _NET,
        Wording(
            "Resetting socket for peer=%%",
            "Resetting socket for peer=7, peeraddr=1.2.3.4:8333",
            "29 1d6c6e98c13e",
            "32 e96d9e6492c5",
        ),
        Wording("Resetting socket for %", "Resetting socket for peer=7, peeraddr=1.2.3.4:8333", "32 e96d9e6492c5"),
    ),
    form(
        "disconnecting",
        rb"disconnecting peer=",
        rb"disconnecting " + PEER,
        "closed",
        PEER_KINDS,
        _NET,
        Wording("disconnecting peer=%", "disconnecting peer=7", "", "29 f95fb793726b"),
        Wording(
            "disconnecting peer=%%", "disconnecting peer=7, peeraddr=1.2.3.4:8333", "29 f95fb793726b", "32 e96d9e6492c5"
        ),
        Wording("disconnecting %", "disconnecting peer=7, peeraddr=1.2.3.4:8333", "32 e96d9e6492c5"),
    ),
    form(
        "nodestate_cleared",
        rb"Cleared nodestate",
        rb"Cleared nodestate for " + PEER,
        "cleared",
        PEER_KINDS,
        _PROCESSING,
        Wording("Cleared nodestate for peer=%", "Cleared nodestate for peer=7"),
    ),
    form(
        "evicted",
        rb"selected .{0,40}?connection for eviction",
        rb"selected (?P<type>[a-z-]{1,30}) connection for eviction[,;]? (?:disconnecting )?"
        + PEER
        + rb"(?:; disconnecting)?",
        "evicted",
        PEER_KINDS,
        _NET,
        Wording(
            "selected % connection for eviction peer=%; disconnecting",
            "selected inbound connection for eviction peer=7; disconnecting",
            "",
            "29 1d6c6e98c13e",
        ),
        Wording(
            "selected % connection for eviction, %",
            "selected inbound connection for eviction, disconnecting peer=7, peeraddr=1.2.3.4:50001",
            "29 1d6c6e98c13e",
        ),
    ),
    form(
        "connected_to_self",
        rb"connected to self at ",
        rb"connected to self at (?P<to>\S{1,300}), disconnecting",
        "connected_to_self",
        ("log:disconnected",),
        _PROCESSING,
        Wording("connected to self at %, disconnecting", "connected to self at 1.2.3.4:8333, disconnecting"),
    ),
)

FORMS: tuple[Form, ...] = (*_ATTEMPTS, *_OPENING, *_HANDSHAKE, *_CLOSING)
