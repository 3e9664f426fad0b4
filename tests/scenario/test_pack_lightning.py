"""The optional pack lightning: one output that is spent again and again. Optional rules have no marks."""

from __future__ import annotations

from alerts.incident import Incident
from tests.support.packs import HOUR, MINUTE, Rows, honest, incidents

START = HOUR


def found(rows: Rows) -> list[Incident]:
    return incidents("optional/lightning", {"p2p:tx_input": rows}, until=4 * HOUR)


def relayed(spender: int, outpoint: int, at: float, flow: str = "sent") -> Rows:
    """A transaction that goes to 20 peers, or comes from one."""
    peers = range(20) if flow == "sent" else range(1)
    return [
        {**honest(n), "t": at + n / 10, "flow": flow, "outpoint_id": outpoint, "txid_id": spender + 2**63}
        for n in peers
    ]


def ordinary() -> Rows:
    """A transaction a second, each of outputs of its own; one in fifty is replaced once."""
    rows = [row for n in range(0, 3 * HOUR, 10) for row in relayed(n, 10**6 + n, n)]
    return rows + [row for n in range(0, 3 * HOUR, 500) for row in relayed(n + 5, 10**6 + n, n + 60)]


# spenders   1 2 3 4 5 6                         one a minute, of one output
def test_a19_an_output_with_many_spenders_is_seen() -> None:
    cycled = [row for n in range(25) for row in relayed(9_000_000 + n, 77, START + n * MINUTE)]
    (told,) = found([*ordinary(), *cycled])
    assert (told.rule, told.severity) == ("replacement-cycling", "high")
    assert "one output was spent by" in told.summary
    assert told.entities == ()


# spenders   1 1 1 1                             single replacements; one transaction that goes to everyone again
def test_single_replacements_and_repeats_are_silent() -> None:
    repeated = [row for n in range(30) for row in relayed(5, 77, START + n * MINUTE)]
    assert found([*ordinary(), *repeated]) == []


# spenders   1 2 3 4 5                           four replacements an hour; what a peer sends and the node refuses
def test_five_spenders_and_what_the_node_does_not_pass_on_pass() -> None:
    few = [row for n in range(5) for row in relayed(n, 77, START + n * 10 * MINUTE)]
    made_up = [row for n in range(60) for row in relayed(n + 100, 78, START + n * MINUTE, "received")]
    assert found([*few, *made_up]) == []
