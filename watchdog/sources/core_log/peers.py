"""Forms of debug.log about what peers do: addresses, misbehaviour, broken bytes, slow blocks, headers."""

from __future__ import annotations

from watchdog.sources.core_log.form import HASH, ID, PEER, Form, Wording, form

_NET, _PROCESSING = "net.cpp", "net_processing.cpp"
_BLOCK = "00000000000000000001aa00000000000000000000000000000000000000ab01"

_BEHAVIOUR: tuple[Form, ...] = (
    form(
        "addr_received",
        rb"Received addr: ",
        rb"Received addr: (?P<entries>\d{1,9}) addresses \((?P<processed>\d{1,9}) processed, "
        rb"(?P<limited>\d{1,9}) rate-limited\) from " + PEER,
        "addr_received",
        ("log:addr_received",),
        _PROCESSING,
        Wording(
            "Received addr: % addresses (% processed, % rate-limited) from peer=%%",
            "Received addr: 10 addresses (1 processed, 9 rate-limited) from peer=7, peeraddr=1.2.3.4:8333",
            "",
            "23 4c87665707af",
        ),
        Wording(
            "Received addr: % addresses (% processed, % rate-limited) from peer=%",
            "Received addr: 10 addresses (1 processed, 9 rate-limited) from peer=7",
            "23 4c87665707af",
        ),
    ),
    form(
        "misbehaving",
        rb"Misbehaving: ",
        rb"Misbehaving: " + PEER + rb"(?: \(-?\d{1,9} -> (?P<score>-?\d{1,9})\))?"
        rb"(?: (?:BAN|DISCOURAGE) THRESHOLD EXCEEDED)?(?::? (?P<why>.{0,400}))?",
        "misbehaving",
        ("log:misbehaving", "log:disconnected"),
        _PROCESSING,
        Wording("Misbehaving: peer=% (% -> %)%", "Misbehaving: peer=7 (0 -> 20): unrequested", "", "23 f372623807c5"),
        Wording(
            "Misbehaving: peer=% (% -> %) DISCOURAGE THRESHOLD EXCEEDED%",
            "Misbehaving: peer=7 (80 -> 100) DISCOURAGE THRESHOLD EXCEEDED: bad-txns",
            "",
            "23 f372623807c5",
        ),
        Wording(
            "Misbehaving: peer=% (% -> %)%%",
            "Misbehaving: peer=7 (80 -> 100) DISCOURAGE THRESHOLD EXCEEDED: bad-txns",
            "23 f372623807c5",
            "28 a52837b9e969",
        ),
        Wording("Misbehaving: peer=%%", "Misbehaving: peer=7: headers message size = 2001", "28 a52837b9e969"),
    ),
    form(
        "peer_stalling",
        rb"Peer is stalling block download",
        rb"Peer is stalling block download[,;]? disconnecting " + PEER,
        "stalling",
        ("log:block_stalling", "log:disconnected"),
        _PROCESSING,
        Wording(
            "Peer is stalling block download, %",
            "Peer is stalling block download, disconnecting peer=7",
            "29 f95fb793726b",
        ),
    ),
    form(
        "numbered_peer_stalling",
        rb"Peer=\d{1,18}.{0,320}? is stalling",
        rb"Peer=" + ID + rb" is stalling block download.{0,60}",
        "stalling",
        ("log:block_stalling", "log:disconnected"),
        _PROCESSING,
        Wording(
            "Peer=% is stalling block download, disconnecting",
            "Peer=7 is stalling block download, disconnecting",
            "",
            "26 8b5923164184",
        ),
        Wording(
            "Peer=%% is stalling block download, disconnecting",
            "Peer=7 peeraddr=1.2.3.4:8333 is stalling block download, disconnecting",
            "26 8b5923164184",
            "29 f95fb793726b",
        ),
    ),
    form(
        "download_timeout",
        rb"Timeout downloading ",
        rb"Timeout downloading (?P<what>block|headers)(?: [0-9a-f]{64})?,?(?: from)?(?: noban)?(?: peer,)?(?: not)?"
        rb"(?: disconnecting)? " + PEER + rb".{0,60}",
        "stalling",
        ("log:block_stalling", "log:disconnected"),
        _PROCESSING,
        Wording(
            "Timeout downloading block % from peer=%, disconnecting",
            f"Timeout downloading block {_BLOCK} from peer=7, disconnecting",
            "",
            "26 8b5923164184",
        ),
        Wording(
            "Timeout downloading block % from peer=%%, disconnecting",
            f"Timeout downloading block {_BLOCK} from peer=7 peeraddr=1.2.3.4:8333, disconnecting",
            "26 8b5923164184",
            "29 f95fb793726b",
        ),
        Wording(
            "Timeout downloading block %, %",
            f"Timeout downloading block {_BLOCK}, disconnecting peer=7",
            "29 f95fb793726b",
        ),
        Wording(
            "Timeout downloading headers from peer=%, disconnecting",
            "Timeout downloading headers from peer=7, disconnecting",
            "",
            "26 8b5923164184",
        ),
        Wording(
            "Timeout downloading headers from peer=%%, disconnecting",
            "Timeout downloading headers from peer=7 peeraddr=1.2.3.4:8333, disconnecting",
            "26 8b5923164184",
            "29 f95fb793726b",
        ),
        Wording(
            "Timeout downloading headers, %", "Timeout downloading headers, disconnecting peer=7", "29 f95fb793726b"
        ),
        Wording(
            "Timeout downloading headers from noban peer=%, not disconnecting",
            "Timeout downloading headers from noban peer=7, not disconnecting",
            "",
            "26 8b5923164184",
        ),
        Wording(
            "Timeout downloading headers from noban peer=%%, not disconnecting",
            "Timeout downloading headers from noban peer=7 peeraddr=1.2.3.4:8333, not disconnecting",
            "26 8b5923164184",
            "29 f95fb793726b",
        ),
        Wording(
            "Timeout downloading headers from noban peer, not %",
            "Timeout downloading headers from noban peer, not disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
)

_BYTES: tuple[Form, ...] = (
    form(
        "header_error",
        rb"Header error: ",
        rb"Header error: (?P<detail>.{1,300}), " + PEER,
        "protocol_error",
        ("log:protocol_error",),
        _NET,
        Wording("Header error: Unable to deserialize, peer=%", "Header error: Unable to deserialize, peer=7"),
        Wording(
            "Header error: Wrong MessageStart % received, peer=%",
            "Header error: Wrong MessageStart e3e1f3e8 received, peer=7",
        ),
        Wording(
            "Header error: Size too large (%, % bytes), peer=%",
            "Header error: Size too large (tx, 4000001 bytes), peer=7",
        ),
        Wording(
            "Header error: Wrong checksum (%, % bytes), expected % was %, peer=%",
            "Header error: Wrong checksum (inv, 37 bytes), expected 01020304 was 05060708, peer=7",
        ),
        Wording(
            "Header error: Invalid message type (%, % bytes), peer=%",
            "Header error: Invalid message type (ping, 8 bytes), peer=7",
        ),
    ),
    form(
        "v2_transport_error",
        rb"V2 transport error: ",
        rb"V2 transport error: (?:(?P<v2>.{1,300}?),? "
        + PEER
        + rb"|(?P<alone>V1 peer with wrong MessageStart .{1,99}))",
        "protocol_error",
        ("log:protocol_error",),
        _NET,
        Wording(
            "V2 transport error: V1 peer with wrong MessageStart %",
            "V2 transport error: V1 peer with wrong MessageStart e3e1f3e8",
            "26 4e1a38c6df91",
        ),
        Wording(
            "V2 transport error: missing garbage terminator, peer=%",
            "V2 transport error: missing garbage terminator, peer=7",
            "26 4e1a38c6df91",
        ),
        Wording(
            "V2 transport error: packet too large (% bytes), peer=%",
            "V2 transport error: packet too large (9999999 bytes), peer=7",
            "26 4e1a38c6df91",
        ),
        Wording(
            "V2 transport error: packet decryption failure (% bytes), peer=%",
            "V2 transport error: packet decryption failure (13 bytes), peer=7",
            "26 4e1a38c6df91",
        ),
        Wording(
            "V2 transport error: invalid message type (% bytes contents), peer=%",
            "V2 transport error: invalid message type (13 bytes contents), peer=7",
            "26 4e1a38c6df91",
        ),
    ),
    form(
        "parse_error",
        rb"ProcessMessages\([^)]{0,80}bytes\): ",
        rb"ProcessMessages\((?P<parse>.{1,60}, \d{1,10} bytes\): (?:Exception '.{0,300}|Unknown exception)) caught",
        "protocol_error",
        ("log:protocol_error",),
        _PROCESSING,
        Wording(
            "%(%, % bytes): Exception '%' (%) caught",
            "ProcessMessages(tx, 20 bytes): Exception 'DataStream::read(): end of data' (x) caught",
        ),
        Wording("%(%, % bytes): Unknown exception caught", "ProcessMessages(tx, 20 bytes): Unknown exception caught"),
    ),
)

_HEADERS: tuple[Form, ...] = (
    form(
        "new_header",
        rb"Saw new ",
        rb"Saw new (?:cmpctblock )?header hash=" + HASH + rb"(?: height=(?P<height>-?\d{1,10}))?(?: " + PEER + rb")?",
        "header",
        ("log:header",),
        _PROCESSING,
        Wording(
            "Saw new header hash=% height=%",
            f"Saw new header hash={_BLOCK} height=845100",
            "25 664500fc71a3",
            "30 7a4a2a38ea37",
        ),
        Wording(
            "Saw new cmpctblock header hash=% peer=%",
            f"Saw new cmpctblock header hash={_BLOCK} peer=7",
            "25 664500fc71a3",
            "30 7a4a2a38ea37",
        ),
        Wording(
            "Saw new %header hash=% height=% peer=%%",
            f"Saw new cmpctblock header hash={_BLOCK} height=845100 peer=7, peeraddr=1.2.3.4:8333",
            "30 7a4a2a38ea37",
            "32 e96d9e6492c5",
        ),
        Wording(
            "Saw new %header hash=% height=% %",
            f"Saw new header hash={_BLOCK} height=845100 peer=7, peeraddr=1.2.3.4:8333",
            "32 e96d9e6492c5",
        ),
    ),
    form(
        "low_work_headers",
        rb"Ignoring low-work chain",
        rb"Ignoring low-work chain \(height=-?\d{1,10}\) from " + PEER,
        "low_work",
        ("log:low_work_headers",),
        _PROCESSING,
        Wording(
            "Ignoring low-work chain (height=%) from peer=%",
            "Ignoring low-work chain (height=12) from peer=7",
            "24 e9035f867a36",
        ),
    ),
)

FORMS: tuple[Form, ...] = (*_BEHAVIOUR, *_BYTES, *_HEADERS)
