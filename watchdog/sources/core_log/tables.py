"""Forms of debug.log about the address tables, the chain, and the node itself."""

from __future__ import annotations

from watchdog.sources.core_log.form import HASH, Form, Wording, form

_ADDRMAN = "addrman.cpp"
_SLOT = rb"\[(?P<bucket>\d{1,9})\]\[(?P<position>\d{1,9})\]"
_MAPPED = rb"(?: mapped to AS(?P<asn>\d{1,10}))?"
_TOKEN = rb"(?=\S{0,300}[.:])\S{1,300}"  # an address, with its dots or colons
_BLOCK = "00000000000000000001aa00000000000000000000000000000000000000ab01"

_NEW_TABLE: tuple[Form, ...] = (
    form(
        "addrman_inserted",
        rb"Added " + _TOKEN + rb" ",
        rb"Added (?P<address>\S{1,300})" + _MAPPED + rb" to new" + _SLOT,
        "inserted",
        ("log:addrman_inserted",),
        _ADDRMAN,
        Wording(
            "Added % mapped to AS% to new[%][%]",
            "Added 1.2.3.4:8333 mapped to AS9 to new[763][39]",
            "23 69986de383ff",
            "27 4733de324225",
        ),
        Wording("Added %% to new[%][%]", "Added [2a01:4f8::1]:8333 to new[763][39]", "27 4733de324225"),
    ),
    form(
        "addrman_batch",
        rb"Added \d{1,9} addresses ",
        rb"Added (?P<added>\d{1,9}) addresses \(of (?P<offered>\d{1,9})\) from (?P<source>\S{1,300}): "
        rb"(?P<tried>\d{1,9}) tried, (?P<new>\d{1,9}) new",
        "batch",
        ("log:addrman_batch",),
        _ADDRMAN,
        Wording(
            "Added % addresses (of %) from %: % tried, % new",
            "Added 9 addresses (of 10) from 1.2.3.4: 100 tried, 2000 new",
            "23 994aaaa88d41",
        ),
    ),
    form(
        "addrman_removed",
        rb"Removed " + _TOKEN + rb" from ",
        rb"Removed (?P<address>\S{1,300}) from new" + _SLOT,
        "removed",
        ("log:addrman_removed",),
        _ADDRMAN,
        Wording("Removed % from new[%][%]", "Removed 1.2.3.4:8333 from new[821][53]", "23 69986de383ff"),
    ),
)

_TRIED_TABLE: tuple[Form, ...] = (
    form(
        "addrman_tried",
        rb"Moved " + _TOKEN + rb"(?: mapped to \S{1,20})? to ",
        rb"Moved (?P<address>\S{1,300})" + _MAPPED + rb" to tried" + _SLOT,
        "tried",
        ("log:addrman_tried",),
        _ADDRMAN,
        Wording(
            "Moved % mapped to AS% to tried[%][%]",
            "Moved 1.2.3.4:8333 mapped to AS9 to tried[163][28]",
            "23 69986de383ff",
            "27 4733de324225",
        ),
        Wording("Moved %% to tried[%][%]", "Moved 1.2.3.4:8333 to tried[163][28]", "27 4733de324225"),
    ),
    form(
        "addrman_tried_without_slot",
        rb"Moving " + _TOKEN + rb" to ",
        rb"Moving (?P<address>\S{1,300}) to tried",
        "tried_somewhere",
        ("log:addrman_tried",),
        _ADDRMAN,
        Wording("Moving % to tried", "Moving 1.2.3.4:8333 to tried", "", "23 69986de383ff"),
    ),
    form(
        "addrman_evicted",
        rb"Moved " + _TOKEN + rb" from ",
        rb"Moved (?P<address>\S{1,300})"
        + _MAPPED
        + rb" from tried\[\d{1,9}\]\[\d{1,9}\] to new"
        + _SLOT
        + rb" to make space",
        "tried_evicted",
        ("log:addrman_evicted",),
        _ADDRMAN,
        Wording(
            "Moved % from tried[%][%] to new[%][%] to make space",
            "Moved 1.2.3.4:8333 from tried[1][2] to new[3][4] to make space",
            "23 69986de383ff",
        ),
    ),
    form(
        "addrman_collision",
        rb"Collision with ",
        rb"Collision with (?P<old>\S{1,300}) while attempting to move (?P<address>\S{1,300}) to tried table\."
        rb" Collisions=(?P<collisions>\d{1,9})",
        "collision",
        ("log:addrman_collision",),
        _ADDRMAN,
        Wording(
            "Collision with % while attempting to move % to tried table. Collisions=%",
            "Collision with 5.6.7.8:8333 while attempting to move 1.2.3.4:8333 to tried table. Collisions=3",
            "23 69986de383ff",
        ),
    ),
    form(
        "addrman_collision_inserting",
        rb"Collision inserting element",
        rb"Collision inserting element into tried table \((?P<old>[^\s()]{0,300})\), moving (?P<address>\S{1,300})"
        rb" to m_tried_collisions=(?P<collisions>\d{1,9})",
        "collision",
        ("log:addrman_collision",),
        _ADDRMAN,
        Wording(
            "Collision inserting element into tried table (%), moving % to m_tried_collisions=%",
            "Collision inserting element into tried table (5.6.7.8:8333), moving 1.2.3.4:8333 to m_tried_collisions=3",
            "",
            "23 69986de383ff",
        ),
    ),
    form(
        "addrman_replaced",
        rb"Replacing " + _TOKEN + rb" with ",
        rb"Replacing (?P<old>\S{1,300}) with (?P<address>\S{1,300})(?: in tried table)?",
        "replaced",
        ("log:addrman_replaced",),
        _ADDRMAN,
        Wording("Replacing % with % in tried table", "Replacing 5.6.7.8:8333 with 1.2.3.4:8333 in tried table"),
    ),
    form(
        "addrman_replaced_untested",
        rb"Unable to test; ",
        rb"(?P<untested>Unable) to test; replacing (?P<old>\S{1,300}) with (?P<address>\S{1,300})"
        rb"(?: in tried table)?(?: anyway)?",
        "replaced",
        ("log:addrman_replaced",),
        _ADDRMAN,
        Wording(
            "Unable to test; replacing % with % in tried table anyway",
            "Unable to test; replacing 5.6.7.8:8333 with 1.2.3.4:8333 in tried table anyway",
        ),
    ),
)

_CHAIN: tuple[Form, ...] = (
    form(
        "update_tip",
        rb"UpdateTip: ",
        rb"UpdateTip: new best=" + HASH + rb" height=(?P<height>-?\d{1,10}) version=\S{1,20} "
        rb"log2_work=\S{1,40} tx=(?P<txs>\d{1,18}) .{0,400}",
        "tip",
        ("log:tip",),
        "validation.cpp",
        Wording(
            "%: new best=% height=% version=0x% log2_work=% tx=% date='%' progress=% cache=%MiB(%txo)%",
            f"UpdateTip: new best={_BLOCK} height=955001 version=0x20000000 log2_work=95.1 tx=1300000000"
            " date='2026-08-01T06:39:00Z' progress=1.000000 cache=1.0MiB(1txo)",
            "",
            "23 b7e360081506",
        ),
        Wording(
            "%%: new best=% height=% version=0x% log2_work=% tx=% date='%' progress=% cache=%MiB(%txo)%",
            f"UpdateTip: new best={_BLOCK} height=955001 version=0x20000000 log2_work=95.1 tx=1300000000"
            " date='2026-08-01T06:39:00Z' progress=1.000000 cache=1.0MiB(1txo) warning='x'",
            "23 b7e360081506",
        ),
    ),
    form(
        "stale_tip",
        rb"Potential stale tip",
        rb"Potential stale tip detected.{0,100}\(last tip update: (?P<age>-?\d{1,18}) seconds ago\)",
        "stale_tip",
        ("log:stale_tip",),
        "net_processing.cpp",
        Wording(
            "Potential stale tip detected, will try using extra outbound peer (last tip update: % seconds ago)",
            "Potential stale tip detected, will try using extra outbound peer (last tip update: 2417 seconds ago)",
        ),
    ),
    form(
        "asmap_health",
        rb"ASMap Health Check: ",
        rb"ASMap Health Check: (?P<peers>\d{1,9}) clearnet peers are mapped to (?P<asns>\d{1,9}) ASNs "
        rb"with (?P<unmapped>\d{1,9}) peers being unmapped",
        "asmap_health",
        ("log:asmap_health",),
        "netgroup.cpp",
        Wording(
            "ASMap Health Check: % clearnet peers are mapped to % ASNs with % peers being unmapped",
            "ASMap Health Check: 20 clearnet peers are mapped to 17 ASNs with 2 peers being unmapped",
            "27 c46cc8d3c1a6",
        ),
    ),
)

_LOCATION = rb"(?P<file>.{1,400}?):(?P<line>\d{1,10}) \((?P<function>.{0,1500})\): "

NODE: tuple[Form, ...] = (
    form(
        "node_started",
        rb"Bitcoin (?:[A-Z][a-z]{1,20} )?version ",
        rb"Bitcoin (?:[A-Z][a-z]{1,20} )?version (?P<version>\S{1,100}).{0,200}",
        "started",
        ("node:started",),
        "common.cpp",
        Wording(" version %", "Bitcoin Core version v31.0.0 (release build)"),
    ),
    form(
        "node_stopped",
        rb"Shutdown:? done",
        rb"Shutdown:? done",
        "stopped",
        ("node:stopped",),
        "init.cpp",
        Wording("%: done", "Shutdown: done", "", "30 6cdc5a90cffe"),
        Wording("Shutdown done", "Shutdown done", "30 6cdc5a90cffe"),
    ),
    form(
        "rate_limit_begun",
        rb"Excessive logging detected",
        rb"Excessive logging detected from " + _LOCATION + rb">\d{1,30} bytes logged during the last time "
        rb"window of (?P<window>\d{1,30})s?\..{0,300}",
        "limit_begun",
        ("source:gap", "source:limited"),
        "logging.cpp",
        Wording(
            "Excessive logging detected from %:% (%): >% bytes logged during the last time window of %s. "
            "Suppressing logging to disk from this source location until time window resets. Console logging "
            "unaffected. Last log entry.",
            "Excessive logging detected from net_processing.cpp:3700 (ProcessMessage): >1048576 bytes logged during "
            "the last time window of 3600s. Suppressing logging to disk from this source location until time window "
            "resets. Console logging unaffected. Last log entry.",
            "30 2d59977601ea",
        ),
    ),
    form(
        "rate_limit_ended",
        rb"Restarting logging from",
        rb"Restarting logging from " + _LOCATION + rb"(?:\(?(?P<bytes>\d{1,30})\)? bytes were dropped)"
        rb" during the last (?P<window>\d{1,30})s?\.?.{0,100}",
        "limit_ended",
        ("source:gap", "source:limited"),
        "logging.cpp",
        Wording(
            "Restarting logging from %:% (%): % bytes were dropped during the last %s.",
            "Restarting logging from net_processing.cpp:3700 (ProcessMessage): 5000 bytes were dropped during the "
            "last 3600s.",
            "30 2d59977601ea",
        ),
    ),
)

FORMS: tuple[Form, ...] = (*_NEW_TABLE, *_TRIED_TABLE, *_CHAIN)
