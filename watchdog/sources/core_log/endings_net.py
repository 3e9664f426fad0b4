"""Forms of debug.log that say why a connection is about to end: sockets, timeouts, the operator."""

from __future__ import annotations

from watchdog.sources.core_log.form import Form, Wording, ending

FORMS: tuple[Form, ...] = (
    ending(
        "ending_socket_closed",
        rb"socket closed",
        "peer closed",
        "net.cpp",
        Wording("socket closed for peer=%", "socket closed for peer=7", "", "29 f95fb793726b"),
        Wording("socket closed, %", "socket closed, disconnecting peer=7, peeraddr=1.2.3.4:8333", "29 f95fb793726b"),
    ),
    ending(
        "ending_receive_error",
        rb"socket recv error",
        "receive error",
        "net.cpp",
        Wording(
            "socket recv error for peer=%: %", "socket recv error for peer=7: Broken pipe (32)", "", "29 f95fb793726b"
        ),
        Wording(
            "socket recv error, %: %",
            "socket recv error, disconnecting peer=7, peeraddr=1.2.3.4:8333: Broken pipe (32)",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_send_error",
        rb"socket send error",
        "send error",
        "net.cpp",
        Wording(
            "socket send error for peer=%: %", "socket send error for peer=7: Broken pipe (32)", "", "29 f95fb793726b"
        ),
        Wording(
            "socket send error, %: %",
            "socket send error, disconnecting peer=7, peeraddr=1.2.3.4:8333: Broken pipe (32)",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_send_timeout",
        rb"socket sending timeout",
        "send timeout",
        "net.cpp",
        Wording("socket sending timeout: %s peer=%", "socket sending timeout: 5s peer=7", "", "29 f95fb793726b"),
        Wording(
            "socket sending timeout: %s, %",
            "socket sending timeout: 5s, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_receive_timeout",
        rb"socket receive timeout",
        "receive timeout",
        "net.cpp",
        Wording("socket receive timeout: %s peer=%", "socket receive timeout: 5s peer=7", "", "29 f95fb793726b"),
        Wording(
            "socket receive timeout: %s, %",
            "socket receive timeout: 5s, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_no_message",
        rb"socket no message",
        "no message",
        "net.cpp",
        Wording(
            "socket no message in first % seconds, % % peer=%",
            "socket no message in first 5 seconds, 5 5 peer=7",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "socket no message in first % seconds%, %",
            "socket no message in first 5 seconds, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_handshake_timeout",
        rb"version handshake timeout",
        "handshake timeout",
        "net.cpp",
        Wording("version handshake timeout peer=%", "version handshake timeout peer=7", "", "29 f95fb793726b"),
        Wording(
            "version handshake timeout, %",
            "version handshake timeout, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_v2_handshake_timeout",
        rb"V2 handshake timeout",
        "handshake timeout",
        "net.cpp",
        Wording("V2 handshake timeout peer=%", "V2 handshake timeout peer=7", "28 c51c694ede08", "29 f95fb793726b"),
        Wording(
            "V2 handshake timeout, %",
            "V2 handshake timeout, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_node_stopping",
        rb"Stopping node, ",
        "node stopping",
        "net.cpp",
        Wording("Stopping node, %", "Stopping node, disconnecting peer=7, peeraddr=1.2.3.4:8333", "29 1d6c6e98c13e"),
    ),
    ending(
        "ending_network_off",
        rb"Network not active, ",
        "network off",
        "net.cpp",
        Wording("Network not active, dropping peer=%", "Network not active, dropping peer=7", "", "29 f95fb793726b"),
        Wording(
            "Network not active, %",
            "Network not active, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_bad_bytes",
        rb"receiving message bytes failed",
        "bad bytes",
        "net.cpp",
        Wording(
            "receiving message bytes failed, %",
            "receiving message bytes failed, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_operator",
        rb"disconnect by (?:address|subnet|id)",
        "operator",
        "net.cpp",
        Wording(
            "disconnect by address% matched peer=%; disconnecting",
            "disconnect by address=1.2.3.4 matched peer=7; disconnecting",
            "",
            "29 1d6c6e98c13e",
        ),
        Wording(
            "disconnect by address% match, %",
            "disconnect by address=1.2.3.4 match, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 1d6c6e98c13e",
        ),
        Wording(
            "disconnect by subnet% matched peer=%; disconnecting",
            "disconnect by subnet=1.2.3.0/24 matched peer=7; disconnecting",
            "",
            "29 1d6c6e98c13e",
        ),
        Wording(
            "disconnect by subnet% match, %",
            "disconnect by subnet=1.2.3.0/24 match, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 1d6c6e98c13e",
        ),
        Wording(
            "disconnect by id peer=%; disconnecting", "disconnect by id peer=7; disconnecting", "", "29 1d6c6e98c13e"
        ),
        Wording(
            "disconnect by id, %", "disconnect by id, disconnecting peer=7, peeraddr=1.2.3.4:8333", "29 1d6c6e98c13e"
        ),
    ),
)
