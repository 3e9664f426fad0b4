"""Transactions: ids, sizes and counts, against a plain builder."""

from __future__ import annotations

import struct
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.core.batch import Blobs
from watchdog.core.enrich import Enricher
from watchdog.sources.wire.decode import decode
from watchdog.sources.wire.messages import Messages
from watchdog.sources.wire.part import RefusedError
from watchdog.sources.wire.transactions import MOST_INPUTS, Transaction, parse_transaction, spent

# The first transaction of block 170, 2009-01-12: f4184fc5...9e16
FIRST_PAYMENT = bytes.fromhex(
    "0100000001c997a5e56e104102fa209c6a852dd90660a20b2d9c352423edce25857fcd3704000000004847304402204e45e16932b8af514961"
    "a1d3a1a25fdf3f4f7732e9d624c6c61548ab5fb8cd410220181522ec8eca07de4860a4acdd12909d831cc56cbbac4622082221a8768d1d0901"
    "ffffffff0200ca9a3b00000000434104ae1a62fe09c5f51b13905f07f06b99a2f7159b2225f374cd378d71302fa28414e7aab37397f554a7df"
    "5f142c21c1b7303b8a0626f1baded5c72a704f7e6cd84cac00286bee0000000043410411db93e1dcdb8a016b49840f8c53bc1eb68a382e97b1"
    "482ecad7b148a6909a5cb2e0eaddfb84ccf9744464f82e160bfa9b8b64f9d4c03f999b8643f656b412a3ac00000000"
)


def compact(value: int) -> bytes:
    return bytes([value]) if value < 0xFD else b"\xfd" + struct.pack("<H", value)


def script(raw: bytes) -> bytes:
    return compact(len(raw)) + raw


def built(inputs: list[bytes], outputs: list[bytes], stacks: list[list[bytes]]) -> tuple[bytes, bytes]:
    """A transaction without and with its witness."""
    body = compact(len(inputs)) + b"".join(bytes(36) + script(one) + b"\xff" * 4 for one in inputs)
    body += compact(len(outputs)) + b"".join(bytes(8) + script(one) for one in outputs)
    witness = b"".join(compact(len(stack)) + b"".join(map(script, stack)) for stack in stacks)
    return b"\2\0\0\0" + body + b"lock", b"\2\0\0\0\0\1" + body + witness + b"lock"


def double(raw: bytes) -> bytes:
    return sha256(sha256(raw).digest()).digest()


def test_the_first_payment_has_its_known_id() -> None:
    found = parse_transaction(FIRST_PAYMENT)
    assert found.txid[::-1].hex() == "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16"
    assert found == Transaction(found.txid, found.txid, 275, 1, 2, witness=False)


scripts = st.binary(max_size=300)


@given(
    st.lists(st.tuples(scripts, st.lists(scripts, max_size=3)), min_size=1, max_size=4),
    st.lists(scripts, max_size=4),
    st.binary(max_size=5),
)
def test_ids_and_sizes_of_built_transactions(
    inputs: list[tuple[bytes, list[bytes]]], outputs: list[bytes], behind: bytes
) -> None:
    bare, full = built([one for one, _ in inputs], outputs, [stack for _, stack in inputs])
    plain = Transaction(double(bare), double(bare), len(bare), len(inputs), len(outputs), witness=False)
    assert parse_transaction(bare + behind) == plain
    if any(stack for _, stack in inputs):
        vsize = -(-(3 * len(bare) + len(full)) // 4)
        expected = Transaction(double(bare), double(full), vsize, len(inputs), len(outputs), witness=True)
        assert parse_transaction(full + behind) == expected
    else:
        with pytest.raises(RefusedError, match="bad-transaction"):
            parse_transaction(full + behind)


@given(st.lists(scripts, min_size=1, max_size=3), st.integers(0, 10_000))
def test_a_transaction_cut_anywhere_is_truncated(inputs: list[bytes], cut: int) -> None:
    _, full = built(inputs, [b"out"], [[b"sig"] for _ in inputs])
    with pytest.raises(RefusedError, match="truncated"):
        parse_transaction(full[: cut % len(full)])


def test_unknown_flags_are_refused_and_an_empty_transaction_is_read() -> None:
    body = b"\1" + bytes(36) + b"\0" + b"\xff" * 4 + b"\0"
    with pytest.raises(RefusedError, match="bad-transaction"):
        parse_transaction(bytes(4) + b"\0\2" + body + bytes(4))
    assert parse_transaction(bytes(10)) == Transaction(double(bytes(10)), double(bytes(10)), 10, 0, 0, witness=False)


@pytest.mark.fuzz
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_are_a_transaction_or_refused(raw: bytes, witness: bool) -> None:
    payload = b"\2\0\0\0" + (b"\0\1" if witness else b"") + raw
    try:
        found = parse_transaction(payload)
    except RefusedError:
        return
    assert found.vsize <= len(payload)


def spending(*outpoints: tuple[bytes, int], witness: bool = False, sequence: int = 0) -> bytes:
    """A transaction that spends these outputs: the id of a transaction and the number of its output."""
    inputs = b"".join(
        txid + number.to_bytes(4, "little") + script(b"sig" * 90) + sequence.to_bytes(4, "little")
        for txid, number in outpoints
    )
    body = compact(len(outpoints)) + inputs + compact(1) + bytes(8) + script(b"out")
    stacks = b"".join(compact(1) + script(b"w") for _ in outpoints) if witness else b""
    return bytes(4) + (b"\0\1" if witness else b"") + body + stacks + b"lock"


A, B = sha256(b"a").digest(), sha256(b"b").digest()
ENRICHER = Enricher()


def messages(type_: str, payloads: list[bytes]) -> Messages:
    count = len(payloads)
    times = np.full(count, 1_700_000_000_000_000_000, np.int64)
    return Messages(type_, times, Blobs.of(payloads), np.ones(count, np.bool_), Blobs.of([b""] * count))


def test_outputs_that_are_spent_have_one_identity_whoever_spends_them() -> None:
    first, second = spent(spending((A, 0), (B, 7))), spent(spending((B, 7), (A, 1), witness=True, sequence=9))
    assert len(set(first)) == 2
    assert first[1] == second[0]
    assert first[0] != second[1], "another output of the same transaction"
    assert max(first) < 1 << 64
    assert spent(FIRST_PAYMENT) != first[:1]
    assert spent(bytes(4) + b"\0\0" + bytes(4)) == [], "no inputs"


def test_each_input_of_each_message_is_a_row_beside_its_transaction() -> None:
    raws = [spending((A, 0), (B, 1)), b"torn", spending((B, 1), witness=True), spending((A, 0), (B, 1))]
    found = {one.kind: one for one in decode(messages("tx", raws), ENRICHER, lambda _: True)}
    inputs, txs = found["p2p:tx_input"], found["p2p:tx"]
    assert inputs.rows.tolist() == [0, 0, 2, 3, 3]
    assert txs.rows.tolist() == [0, 2, 3]
    ids = np.asarray(inputs.columns["outpoint_id"]).tolist()
    assert ids == [*spent(raws[0]), *spent(raws[2]), *spent(raws[0])]
    assert ids[1] == ids[2]
    named = np.asarray(inputs.columns["txid_id"]).tolist()
    assert named[0] == named[1] == named[3] != named[2]
    whole = inputs.columns["txid"]
    assert isinstance(whole, Blobs)
    assert [one[:8] for one in whole.tolist()] == [one.to_bytes(8, "little") for one in named]


def test_a_transaction_has_a_bounded_number_of_rows() -> None:
    raw = spending(*((A, number) for number in range(MOST_INPUTS + 50)))
    found = {one.kind: one for one in decode(messages("tx", [raw, raw]), ENRICHER, lambda _: True)}
    assert len(found["p2p:tx_input"].rows) == 2 * MOST_INPUTS
    assert np.asarray(found["p2p:tx"].columns["inputs"]).tolist() == [MOST_INPUTS + 50] * 2


def test_inputs_are_left_out_where_nobody_reads_them() -> None:
    found = decode(messages("tx", [spending((A, 0))]), ENRICHER, lambda kind: kind != "p2p:tx_input")
    assert [one.kind for one in found] == ["p2p:tx"]
    assert decode(messages("tx", [b""]), ENRICHER, lambda kind: kind == "p2p:tx_input") == []
