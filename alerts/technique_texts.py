"""What to do about each technique of the shipped rules: what to look at first, then what to do.

For the person who is woken: two sentences at most, with commands of Bitcoin Core as `bitcoin-cli help` has them. A
rule's own key `do` goes before these, see `alerts.case.advice`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_BAN: Final = (
    "Look at the named peers in `bitcoin-cli getpeerinfo`. If they are no nodes of yours, ban them for a day: "
    "`bitcoin-cli setban ADDRESS add`."
)
_TABLES: Final = (
    "Do not restart the node, because it would choose new outbound peers from the flooded tables. Add two or three "
    "trusted nodes with `bitcoin-cli addnode HOST add`."
)

TECHNIQUE_DO: Final[Mapping[str, str]] = {
    # floods of addresses
    "flood-large": _BAN,
    "flood-2021": (
        "No action is urgent while this case names no stage of an eclipse: Bitcoin Core drops nearly all of these "
        "addresses. To save bandwidth, ban the named peers: `bitcoin-cli setban ADDRESS add`."
    ),
    "inflow": (
        "Look who sends the addresses: the other rules of this case name them. If none does, watch the tables with "
        "`bitcoin-cli getaddrmaninfo`."
    ),
    "slow-swarm": (
        "Together these peers send far more addresses than usual, each below the limit of Bitcoin Core. Ban their "
        "netblocks for a day if you have no partner in them: `bitcoin-cli setban NETBLOCK add`."
    ),
    "first-announcer": (
        "One netblock shows this node the chain first, which is harmless while other peers confirm it. Check that "
        "`bitcoin-cli getbestblockhash` agrees with another node."
    ),
    # steps of an eclipse
    "table-group": _TABLES,
    "tried": _TABLES,
    "slots": (
        "List the inbound peers of the named netblocks with `bitcoin-cli getpeerinfo`. If they are not yours, ban the "
        "netblocks for a day: `bitcoin-cli setban NETBLOCK add`."
    ),
    "outbound": (
        "Compare `bitcoin-cli getbestblockhash` with another node and hold deposits until they agree. Add trusted "
        "nodes with `bitcoin-cli addnode HOST add`, and do not restart the node."
    ),
    "view": (
        "Compare `bitcoin-cli getbestblockhash` with another node or a block explorer. If they differ, stop crediting "
        "deposits from this node and connect it to a trusted one: `bitcoin-cli addnode HOST onetry`."
    ),
    "mass-disconnect": (
        "Check the connection of the machine first. If it is fine, look who fills the free slots (`bitcoin-cli "
        "getpeerinfo`) and compare `bitcoin-cli getbestblockhash` with another node."
    ),
    "attack-on-many": (
        "Someone targets your nodes together, so look at all of them before you act on one. Ban the network at every "
        "node: `bitcoin-cli setban NETBLOCK add`."
    ),
    "outbound-lost": (
        "Check whether the nodes share a network or a firewall that failed. If not, hold deposits until `bitcoin-cli "
        "getbestblockhash` of all nodes agrees with a block explorer."
    ),
    # the chain
    "fork": (
        "Compare `bitcoin-cli getchaintips` with a block explorer and another node of yours. Until one branch is "
        "clearly longer, ask for at least 6 confirmations more than the fork is long."
    ),
    "low-work": (
        "Bitcoin Core does not follow such a chain. Drop the peer with `bitcoin-cli disconnectnode ADDRESS:PORT` and "
        "compare `bitcoin-cli getbestblockhash` with another node."
    ),
    "block-stall": (
        "Check that blocks still arrive: `bitcoin-cli getblockcount` against another node. Drop the named peer with "
        "`bitcoin-cli disconnectnode ADDRESS:PORT`, and ban it if it does so again."
    ),
    # messages
    "ping-flood": _BAN,
    "inv-flood": _BAN,
    "headers-spam": _BAN,
    "control-storm": _BAN,
    "request-storm": _BAN,
    "getdata-flood": _BAN,
    "unknown-messages": (
        "Look at the user agent of the peers (subver in `bitcoin-cli getpeerinfo`): it may be an experiment. If they "
        "send much, ban them for a day: `bitcoin-cli setban ADDRESS add`."
    ),
    "malformed": (
        "Look at the user agents of the peers in `bitcoin-cli getpeerinfo`: one may be broken software. If the "
        "messages keep coming, ban the addresses: `bitcoin-cli setban ADDRESS add`."
    ),
    "misbehaving": (
        "Read the lines with Misbehaving in debug.log for the reason. If the node is old, update it before you ban "
        "anyone."
    ),
    "empty-addr": (
        "Look at the user agent of the peer (subver in `bitcoin-cli getpeerinfo`): it is usually odd software. By "
        "itself it needs no action."
    ),
    # who listens, who connects
    "scrape": (
        "They map the network through this node and do no harm by themselves. If they take too many slots, ban the "
        "range: `bitcoin-cli setban RANGE add`."
    ),
    "spy": (
        "They listen to learn where transactions start. If that matters to you, ban the range (`bitcoin-cli setban "
        "RANGE add`) and send your own transactions through another node."
    ),
    "churn": (
        "Check that the netblock is no monitor or load balancer of yours. If not, ban it for a day: `bitcoin-cli "
        "setban NETBLOCK add`."
    ),
    "surge": (
        "Check that inbound slots are left (`connections_in` in `bitcoin-cli getnetworkinfo`). By itself it needs no "
        "action."
    ),
    # the node and its machine
    "node-warning": (
        "Read `warnings` in `bitcoin-cli getnetworkinfo` and the end of debug.log. Update the node before you trust "
        "its chain if it warns of unknown rules."
    ),
    "node-silent": (
        "Check that the node runs and that its RPC answers: `bitcoin-cli uptime`. Do not rely on its last answers for "
        "deposits meanwhile."
    ),
    "backlog": (
        "Check processor, disk and memory of the machine: the node answers its peers late. If the load is not yours, "
        "the other rules of this case name the peers to ban."
    ),
    "restart": (
        "Check that someone of your team restarted the node. If not, read the end of debug.log before the start."
    ),
    "network-inactive": (
        "Switch the network on with `bitcoin-cli setnetworkactive true` and find out who switched it off. Hold "
        "deposits until the node has caught up."
    ),
    "clock": (
        "Run `date -u` and check NTP on the machine of the node. If its clock is right, compare `bitcoin-cli "
        "getbestblockhash` with another node."
    ),
    "inbound-drop": (
        "Check that the port is reachable from outside and that the node was not restarted. By itself it needs no "
        "action."
    ),
    "connectivity": (
        "Check the connection of the machine, its firewall and `bitcoin-cli getnetworkinfo`. Hold deposits until the "
        "node has peers again and its tip agrees with another node."
    ),
    "data": (
        "Check that what feeds the watchdog still runs: `watchdog check`. Attacks in the meantime would not have been "
        "seen, so look at the node by hand."
    ),
    # blocks and transactions that arrive late, broken or again and again
    "slow-blocks": (
        "Look at the load of CPU and disk of the machine first. If it is idle, the blocks themselves are dear to "
        "check: compare with another node, and wait for more confirmations."
    ),
    "compact-blocks": (
        "Compare the mempool of this node with that of another one by `bitcoin-cli getmempoolinfo`. If only this one "
        "lacks transactions, add a trusted node: `bitcoin-cli addnode HOST add`."
    ),
    "orphans": _BAN,
    "rejected": (
        "Look which peers send most transactions with `watchdog top`. If few peers send them, disconnect these: "
        "`bitcoin-cli disconnectnode ADDRESS`."
    ),
    "replacements": (
        "Treat unconfirmed deposits as unsafe until they are in a block. Compare `bitcoin-cli getmempoolinfo` with "
        "another node to see whether the whole network replaces as much."
    ),
}
