"""Core's tracepoints by release: units, arguments that come and go, and what an unknown release leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.elf_files import Note, elf, written
from tests.support.real_node import BINARY, WHY_NOT
from tests.support.traced_node import traced_binary
from watchdog.core.declared import Declaration
from watchdog.core.kinds import KINDS
from watchdog.extract.elf import read_binary
from watchdog.extract.releases import (
    CORE_KINDS,
    FORMS,
    Input,
    Releases,
    TraceOffer,
    offer_of,
    releases_of,
)

SIZES = {"bool": "1", "i32": "-4", "u32": "4", "i64": "-8", "u64": "8"}


def notes(major: int, *, without: Sequence[str] = ()) -> list[Note]:
    """The notes of that release's probes."""
    found = []
    for form in FORMS:
        if form.low <= major <= form.high and form.kind not in without and not form.kind.startswith("addrman"):
            arguments = " ".join(f"{SIZES.get(one.form, '8')}@%rax" for one in form.inputs)
            provider, _, name = form.kind.partition(":")
            found.append(Note(provider, name, arguments))
    return found


def offered(
    folder: Path, probes: Sequence[Note], strings: bytes = b"", declarations: Sequence[Declaration] = ()
) -> TraceOffer:
    return offer_of(read_binary(written(folder / "bitcoind", elf(probes, strings=strings))), declarations)


def filled(offer: TraceOffer, kind: str) -> dict[str, Input]:
    return {one.field: one for one in offer.kinds[kind].inputs if one.field}


def test_every_input_fills_a_field_that_its_kind_has() -> None:
    stored = {"bool": {"bool"}, "i32": {"i32", "u32"}, "u32": {"u32", "str"}, "i64": {"i64", "u64"},
              "u64": {"u64", "u32", "i64"}, "str": {"str"}, "bytes32": {"bytes"}, "bytes": {"bytes"}}  # fmt: skip
    assert len(CORE_KINDS) == 22
    for form in FORMS:
        fields = KINDS[form.kind].fields
        for one in form.inputs:
            if one.field == "payload" and "payload" not in fields:  # the column comes with the typed stream
                continue
            assert fields[one.field].type in (stored[one.form] if not one.words else {"str"}), (form.kind, one.field)


def test_forms_of_one_tracepoint_share_no_release() -> None:
    for form in FORMS:
        others = [one for one in FORMS if one.kind == form.kind and one is not form]
        assert all(one.high < form.low or form.high < one.low for one in others), form.kind


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("v30.0.0", 30, 30),
        ("v29.1", 29, 29),
        ("v29.1rc2", 29, 29),
        ("v29.1.knots20250903", 29, 29),
        ("v24.99.0-0123456789ab", 24, 25),
        ("v30.99.0-0123456789ab-dirty", 30, 31),
        ("v28.0.0-unk", 28, 28),
        ("v31.99.0-g0123456789ab", 31, 32),
    ],
)
def test_the_release_is_read_from_constant_strings(text: str, low: int, high: int, tmp_path: Path) -> None:
    path = written(tmp_path / "x", elf([Note("net", "x", "")], strings=b"abc\0" + text.encode() + b"\0def\0"))
    found = releases_of(read_binary(path))
    assert (found.low, found.high, found.text) == (low, high, text)


@pytest.mark.parametrize(
    "strings",
    [b"", b"\0v1.2.3\0", b"\0xv30.0.0\0", b"\0v30.0.0", b"\0v29.0\0v30.0\0", b"\0v30.0.0 and more\0", b"\0v21.2.0\0"],
)
def test_no_release_or_two_are_none(strings: bytes, tmp_path: Path) -> None:
    found = releases_of(read_binary(written(tmp_path / "x", elf([Note("net", "x", "")], strings=strings))))
    assert found == Releases()


def test_a_compiled_program_says_its_release() -> None:
    for version, low in (("v30.0.0", 30), ("v24.2", 24)):
        assert releases_of(read_binary(traced_binary(version=version))).low == low


def test_units_and_words_follow_the_release(tmp_path: Path) -> None:
    old, new = (offered(tmp_path, notes(major), f"\0v{major}.0\0".encode()) for major in (24, 25))
    assert filled(old, "validation:block_connected")["duration_ns"].factor == 1000
    assert filled(new, "validation:block_connected")["duration_ns"].factor == 1
    older, newer = (offered(tmp_path, notes(major), f"\0v{major}.0\0".encode()) for major in (29, 30))
    assert filled(older, "utxocache:flush")["mode"].words[3] == "always"
    assert filled(newer, "utxocache:flush")["mode"].words[3] == "force-flush"


@pytest.mark.parametrize("major", range(22, 32))
def test_each_release_gives_what_it_has(major: int, tmp_path: Path) -> None:
    offer = offered(tmp_path, notes(major), f"\0v{major}.0\0".encode())
    assert not offer.faults
    assert ("net:closed_connection" in offer.kinds) == (major >= 29)
    assert ("mempool:replaced" in offer.kinds) == (major >= 25)
    if major >= 25:
        assert ("by_transaction" in filled(offer, "mempool:replaced")) == (major >= 29)
        assert ("by_transaction" in offer.kinds["mempool:replaced"].left_out) == (major < 29)


def test_what_an_unknown_release_leaves_open_is_left_out_with_the_reason(tmp_path: Path) -> None:
    offer = offered(tmp_path, notes(24))
    assert offer.releases.text == "unknown, v23 to v28"
    block = offer.kinds["validation:block_connected"]
    assert block.left_out == {"duration_ns": "its meaning depends on the release, which is unknown"}
    assert [one.field for one in block.inputs] == ["hash", "height", "transactions", "inputs", "sigops", ""]
    assert "mode" in filled(offer, "utxocache:flush"), "one meaning in all of v23 to v28"


def test_probes_limit_an_unknown_release(tmp_path: Path) -> None:
    offer = offered(tmp_path, notes(30))
    assert offer.releases.text == "unknown, v29 or later"
    assert not offer.kinds["validation:block_connected"].left_out, "ns in all of them"
    assert "mode" in offer.kinds["utxocache:flush"].left_out
    assert "by_transaction" in filled(offer, "mempool:replaced")


def test_a_binary_without_a_wallet_lacks_its_kinds(tmp_path: Path) -> None:
    wallet = [kind for kind in CORE_KINDS if kind.startswith("coin_selection")]
    offer = offered(tmp_path, notes(30, without=wallet), b"\0v30.0\0")
    assert offer.lacks == (*wallet, "addrman:attempt_add", "addrman:move_to_good")


def test_a_probe_with_other_arguments_is_not_read(tmp_path: Path) -> None:
    probes = [
        Note("mempool", "added", "8@%rax -4@%edx"),
        Note("mempool", "rejected", "8@%rax -4@%edx"),
        Note("net", "misbehaving_connection", "-8@%rax 16@%xmm0"),
        Note("mempool", "removed", "8@%rax 8@%rdx 8@%rcx -8@%rsi -8@%rdi"),
    ]
    offer = offered(tmp_path, probes, b"\0v30.0\0")
    assert offer.faults == {
        "mempool:added": "it has 2 arguments, releases v30.0 have 3 arguments",
        "mempool:rejected": "argument 2 is i32, not the address of a str",
        "net:misbehaving_connection": "argument 2 cannot be read: 16 bytes at '%xmm0'",
    }
    assert list(offer.kinds) == ["mempool:removed"], "v25 passes vsize as 8 bytes, which the probe says"


def test_all_places_of_a_probe_must_fit(tmp_path: Path) -> None:
    probes = [Note("mempool", "rejected", "8@%rax 8@%rdx"), Note("mempool", "rejected", "8@%rax 4@%edx")]
    assert offered(tmp_path, probes, b"\0v30.0\0").faults == {
        "mempool:rejected": "argument 2 is u32, not the address of a str"
    }


TAIL = Declaration(
    "udp", "tail", (("level", "i8"), ("hash", "bytes32"), ("size", "u32"), ("data", "bytes(size)"), ("last", "bool"))
)


def test_a_declared_tracepoint_is_read(tmp_path: Path) -> None:
    offer = offered(tmp_path, [Note("udp", "tail", "-1@%al 8@%rax 4@%edx 8@%rsi 1@$1")], declarations=[TAIL])
    assert offer.kinds["udp:tail"].inputs == (
        Input("i8", "level"), Input("bytes32", "hash"), Input("u32", "size"), Input("bytes", "data", length=2),
        Input("bool", "last"),
    )  # fmt: skip
    assert not offer.unknown


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("-1@%al 8@%rax 4@%edx 8@%rsi", "it has 4 arguments, the declaration 5"),
        ("1@%al 8@%rax 4@%edx 8@%rsi 1@$1", "argument 1 is u8, the declaration says i8"),
        ("-1@%al 8@%rax 8@%rdx 8@%rsi 1@$1", "argument 3 is u64, the declaration says u32"),
        ("-1@%al 4@%eax 4@%edx 8@%rsi 1@$1", "argument 2 is u32, not the address of a bytes32"),
        ("-1@%al 8@%rax 4@%edx 8@%rsi 4@$1", "argument 5 is u32, the declaration says bool"),
    ],
)
def test_a_declaration_that_differs_from_the_probe_is_a_fault(arguments: str, fault: str, tmp_path: Path) -> None:
    offer = offered(tmp_path, [Note("udp", "tail", arguments)], declarations=[TAIL])
    assert offer.faults == {"udp:tail": fault}


def test_what_is_neither_known_nor_declared_is_named(tmp_path: Path) -> None:
    assert offered(tmp_path, [Note("udp", "tail", "8@%rax")]).unknown == ("udp:tail",)


@pytest.mark.skipif(not BINARY, reason=WHY_NOT)
def test_a_real_node_gives_all_but_what_its_build_leaves_out() -> None:
    offer = offer_of(read_binary(BINARY))
    assert offer.releases.low >= 22, offer.releases
    assert not offer.faults
    assert not offer.unknown
    assert not any(one.left_out for one in offer.kinds.values())
    here = {form.kind for form in FORMS if offer.releases.meets(form.low, form.high)}
    optional = {kind for kind in CORE_KINDS if kind.startswith(("coin_selection:", "addrman:")) or kind not in here}
    assert set(offer.lacks) <= optional
