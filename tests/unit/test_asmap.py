"""Core's asmap format, against a plain interpreter and a file of our own making."""

from __future__ import annotations

import ipaddress
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.parts import shared
from watchdog.core.asmap import Asmap
from watchdog.core.errors import SourceError


def number(value: int, least: int, sizes: range) -> str:
    """The bits of a variable-length number of the format."""
    value -= least
    for index, size in enumerate(sizes):
        if value < 1 << size:
            end = "0" if index < len(sizes) - 1 else ""
            return "1" * index + end + (f"{value:0{size}b}" if size else "")
        value -= 1 << size
    raise AssertionError("too large")


def leaf(asn: int) -> str:
    return "0" + number(asn, 1, range(15, 25))


def fork(left: str, right: str) -> str:
    return "10" + number(len(left), 17, range(5, 31)) + left + right


def match(bits: str, rest: str) -> str:
    return "110" + number(int("1" + bits, 2), 2, range(1, 9)) + rest


def default(asn: int, rest: str) -> str:
    return "111" + number(asn, 1, range(15, 25)) + rest


def packed(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))


def plain_lookup(bits: str, address: str) -> int:
    """The format's program run for one address, bit by bit."""
    at, used, fallback = 0, 0, 0

    def read(least: int, sizes: range) -> int:
        nonlocal at
        for index, size in enumerate(sizes):
            if index < len(sizes) - 1:
                at += 1
                if bits[at - 1] == "1":
                    least += 1 << size
                    continue
            at += size
            return least + int(bits[at - size : at] or "0", 2)
        raise AssertionError

    while True:
        if bits[at] == "0":
            at += 1
            return read(1, range(15, 25))
        if bits[at : at + 2] == "10":
            at += 2
            jump = read(17, range(5, 31))
            at += jump if address[used] == "1" else 0
            used += 1
            continue
        code, at = bits[at : at + 3], at + 3
        if code == "111":
            fallback = read(1, range(15, 25))
            continue
        wanted = f"{read(2, range(1, 9)):b}"[1:]
        if address[used : used + len(wanted)] != wanted:
            return fallback
        used += len(wanted)


def asns(asmap: Asmap, addresses: list[int]) -> list[int]:
    high = np.array([address >> 64 for address in addresses], np.uint64)
    low = np.array([address & (1 << 64) - 1 for address in addresses], np.uint64)
    return [int(asn) for asn in asmap.lookup(high, low)]


@st.composite
def programs(draw: st.DrawFn, depth: int = 0, left: int = 128) -> str:
    """Sane programs: some branches go down to the last bit."""
    kind = draw(st.sampled_from("lfmm" if depth < 6 else "l")) if left else "l"
    if kind == "f":
        return fork(draw(programs(depth + 1, left - 1)), draw(programs(depth + 1, left - 1)))
    if kind == "m":
        size = min(left, draw(st.integers(1, 60)))
        rest = draw(programs(depth + 1, left - size))
        bits = f"{draw(st.integers(0, (1 << size) - 1)):0{size}b}"
        for end in range(size, 0, -8):
            rest = match(bits[max(end - 8, 0) : end], rest)
        return default(draw(st.integers(1, 1 << 24)), rest) if draw(st.booleans()) else rest
    return leaf(draw(st.integers(1, 1 << 24)))


@given(programs(), st.lists(st.binary(min_size=16, max_size=16), max_size=8), st.randoms())
def test_lookup_says_what_the_program_says(bits: str, raws: list[bytes], chance: random.Random) -> None:
    asmap = Asmap(packed(bits))
    borders = [int(high) << 64 | int(low) for high, low in zip(asmap._high, asmap._low, strict=True)]
    near = [border + step for border in borders for step in (-1, 0, 1)]
    addresses = [address for address in near if 0 <= address < 1 << 128] + [int.from_bytes(raw) for raw in raws]
    chance.shuffle(addresses)
    assert asns(asmap, addresses) == [plain_lookup(bits, f"{address:0128b}") for address in addresses]


def test_a_map_of_two_halves() -> None:
    asmap = Asmap(packed(fork(leaf(64512), default(7, match("0101", leaf(9))))))
    assert asns(asmap, [0, (1 << 127) - 1, 1 << 127, 0b10101 << 123, 0b10110 << 123]) == [64512, 64512, 7, 9, 7]


GOOD = fork(leaf(1), fork(leaf(2), leaf(3)))


@pytest.mark.parametrize(
    "bits",
    [
        "1" * 64,
        "0" * 3,
        GOOD[:-20],
        GOOD + "0" * 16,
        GOOD + "1" * 3,
        "10" + number(18, 17, range(5, 31)) + leaf(1) + leaf(2),
        "10" + number(2000, 17, range(5, 31)) + leaf(1) + leaf(2),
        fork(leaf(1), fork(leaf(2), leaf(3)) + leaf(4)),
        default(1, "") * 400 + leaf(2),
        "".join(match("1" * 8, "") for _ in range(17)) + leaf(2),
    ],
)
def test_a_corrupt_map_is_refused_with_its_place(bits: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.dat"
    path.write_bytes(packed(bits))
    with pytest.raises(SourceError, match=r"bad\.dat': not a map in Bitcoin Core's format: "):
        Asmap.load(str(path))


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"asmap '.*none': no such file"):
        Asmap.load(str(tmp_path / "none"))
    (tmp_path / "empty").touch()
    with pytest.raises(SourceError, match="size 0 bytes"):
        Asmap.load(str(tmp_path / "empty"))


@pytest.mark.fuzz
@given(st.binary(min_size=1, max_size=400))
def test_random_bytes_are_a_map_or_a_value_error(raw: bytes) -> None:
    try:
        asmap = Asmap(raw)
    except ValueError:
        return
    assert asns(asmap, [0, (1 << 128) - 1])


def test_the_map_of_the_internet_gives_the_expected_answers() -> None:
    asmap = Asmap.load(str(shared("data") / "asmap.dat"))
    expected = json.loads((shared("data") / "asmap-expected.json").read_text())
    numbers = []
    for text in expected:
        address = ipaddress.ip_address(text)
        numbers.append(int(address) | (0xFFFF << 32 if address.version == 4 else 0))
    assert asns(asmap, numbers) == [asn or 0 for asn in expected.values()]


def test_a_broken_map_of_the_internet_is_noticed() -> None:
    raw = (shared("data") / "asmap.dat").read_bytes()
    for broken in (raw[:-1], raw[: len(raw) // 2], raw[1:], raw + b"\1"):
        with pytest.raises(ValueError):
            Asmap(broken)
