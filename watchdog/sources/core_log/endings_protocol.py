"""Forms of debug.log that say why a connection is about to end: the peer broke the protocol."""

from __future__ import annotations

from watchdog.sources.core_log.form import Form, Wording, ending

FORMS: tuple[Form, ...] = (
    ending(
        "ending_wtxidrelay",
        rb"wtxidrelay received",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "wtxidrelay received after verack from peer=%; disconnecting",
            "wtxidrelay received after verack from peer=7; disconnecting",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "wtxidrelay received after verack, %",
            "wtxidrelay received after verack, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_sendaddrv2",
        rb"sendaddrv2 received",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "sendaddrv2 received after verack from peer=%; disconnecting",
            "sendaddrv2 received after verack from peer=7; disconnecting",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "sendaddrv2 received after verack, %",
            "sendaddrv2 received after verack, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_sendtxrcncl",
        rb"sendtxrcncl received",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "sendtxrcncl received after verack from peer=%; disconnecting",
            "sendtxrcncl received after verack from peer=7; disconnecting",
            "25 e7a0e9627196",
            "29 f95fb793726b",
        ),
        Wording(
            "sendtxrcncl received after verack, %",
            "sendtxrcncl received after verack, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
        Wording(
            "sendtxrcncl received from peer=% to which we indicated no tx relay; disconnecting",
            "sendtxrcncl received from peer=7 to which we indicated no tx relay; disconnecting",
            "25 e7a0e9627196",
            "29 f95fb793726b",
        ),
        Wording(
            "sendtxrcncl received to which we indicated no tx relay, %",
            "sendtxrcncl received to which we indicated no tx relay, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
        Wording(
            "sendtxrcncl received from peer=% which indicated no tx relay to us; disconnecting",
            "sendtxrcncl received from peer=7 which indicated no tx relay to us; disconnecting",
            "25 bcee94d1078c",
            "29 f95fb793726b",
        ),
        Wording(
            "sendtxrcncl received which indicated no tx relay to us, %",
            "sendtxrcncl received which indicated no tx relay to us, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_txreconciliation",
        rb"txreconciliation protocol violation",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "txreconciliation protocol violation from peer=% (sendtxrcncl received from already "
            "registered peer); disconnecting",
            "txreconciliation protocol violation from peer=7 (sendtxrcncl received from already "
            "registered peer); disconnecting",
            "25 e7a0e9627196",
            "29 f95fb793726b",
        ),
        Wording(
            "txreconciliation protocol violation (sendtxrcncl received from already registered peer), %",
            "txreconciliation protocol violation (sendtxrcncl received from already registered peer), "
            "disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
        Wording(
            "txreconciliation protocol violation from peer=%; disconnecting",
            "txreconciliation protocol violation from peer=7; disconnecting",
            "25 e7a0e9627196",
            "29 f95fb793726b",
        ),
        Wording(
            "txreconciliation protocol violation, %",
            "txreconciliation protocol violation, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_bloom",
        rb"filter(?:load|add|clear) received",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "filterload received despite not offering bloom services from peer=%; disconnecting",
            "filterload received despite not offering bloom services from peer=7; disconnecting",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "filterload received despite not offering bloom services, %",
            "filterload received despite not offering bloom services, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
        Wording(
            "filteradd received despite not offering bloom services from peer=%; disconnecting",
            "filteradd received despite not offering bloom services from peer=7; disconnecting",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "filteradd received despite not offering bloom services, %",
            "filteradd received despite not offering bloom services, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
        Wording(
            "filterclear received despite not offering bloom services from peer=%; disconnecting",
            "filterclear received despite not offering bloom services from peer=7; disconnecting",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "filterclear received despite not offering bloom services, %",
            "filterclear received despite not offering bloom services, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_filtered_block",
        rb"filtered block request received",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "filtered block request received when NODE_BLOOM service disabled, %",
            "filtered block request received when NODE_BLOOM service disabled, disconnecting peer=7, "
            "peeraddr=1.2.3.4:8333",
            "32 975a314667ed",
        ),
    ),
    ending(
        "ending_feature",
        rb"feature received",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "feature received after verack, %",
            "feature received after verack, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "32 8598ec220450",
        ),
        Wording(
            "feature received with incompatible version %, %",
            "feature received with incompatible version 5, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "32 8598ec220450",
        ),
    ),
    ending(
        "ending_feature_payload",
        rb"invalid feature payload",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "invalid feature payload, %",
            "invalid feature payload, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "32 8598ec220450",
        ),
    ),
    ending(
        "ending_getblocktxn",
        rb"getblocktxn received",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "getblocktxn received with no transaction indexes, %",
            "getblocktxn received with no transaction indexes, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "32 975a314667ed",
        ),
    ),
    ending(
        "ending_mempool_request",
        rb"mempool request with bloom",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "mempool request with bloom filters disabled, disconnect peer=%",
            "mempool request with bloom filters disabled, disconnect peer=7",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "mempool request with bloom filters disabled, %",
            "mempool request with bloom filters disabled, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_getblocks_locator",
        rb"getblocks locator",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "getblocks locator size % > %, disconnect peer=%",
            "getblocks locator size 5 > 5, disconnect peer=7",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "getblocks locator size % > %, %",
            "getblocks locator size 5 > 5, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_getheaders_locator",
        rb"getheaders locator",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "getheaders locator size % > %, disconnect peer=%",
            "getheaders locator size 5 > 5, disconnect peer=7",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "getheaders locator size % > %, %",
            "getheaders locator size 5 > 5, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_unsolicited_tx",
        rb"transaction (?:sent|\([^)]{0,80}\) inv sent) in violation",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "transaction sent in violation of protocol peer=%",
            "transaction sent in violation of protocol peer=7",
            "",
            "29 1d6c6e98c13e",
        ),
        Wording(
            "transaction sent in violation of protocol, %",
            "transaction sent in violation of protocol, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 1d6c6e98c13e",
        ),
        Wording(
            "transaction (%) inv sent in violation of protocol, disconnecting peer=%",
            "transaction (5) inv sent in violation of protocol, disconnecting peer=7",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "transaction (%) inv sent in violation of protocol, %",
            "transaction (5) inv sent in violation of protocol, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
    ending(
        "ending_filter_request",
        rb"peer (?:\d{1,18} )?(?:requested|sent invalid) ",
        "protocol violation",
        "net_processing.cpp",
        Wording(
            "peer % requested unsupported block filter type: %",
            "peer 7 requested unsupported block filter type: 5",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "peer requested unsupported block filter type: %, %",
            "peer requested unsupported block filter type: 5, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
        Wording(
            "peer % requested invalid block hash: %", "peer 7 requested invalid block hash: 5", "", "29 f95fb793726b"
        ),
        Wording(
            "peer requested invalid block hash: %, %",
            "peer requested invalid block hash: 5, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
        Wording(
            "peer % requested too many cfilters/cfheaders: % / %",
            "peer 7 requested too many cfilters/cfheaders: 5 / 5",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "peer requested too many cfilters/cfheaders: % / %, %",
            "peer requested too many cfilters/cfheaders: 5 / 5, disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
        Wording(
            "peer % sent invalid getcfilters/getcfheaders with start height % and stop height %",
            "peer 7 sent invalid getcfilters/getcfheaders with start height 5 and stop height 5",
            "",
            "29 f95fb793726b",
        ),
        Wording(
            "peer sent invalid getcfilters/getcfheaders with start height % and stop height %, %",
            "peer sent invalid getcfilters/getcfheaders with start height 5 and stop height 5, "
            "disconnecting peer=7, peeraddr=1.2.3.4:8333",
            "29 f95fb793726b",
        ),
    ),
)
