"""Settings of a node as Bitcoin Core merges them, from untrusted files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchdog.doctor.chains import CHAINS, MAIN
from watchdog.doctor.settings import Settings, chain_of, command_entries, conf_entries, stored_entries
from watchdog.doctor.small_file import LARGEST, read_small

REGTEST, SIGNET = (next(chain for chain in CHAINS if chain.name == name) for name in ("regtest", "signet"))

CONF = """
# comment
rpcport=1000            # behind a value
debug=net
debug = addrman
[regtest]
rpcport=2000
debug=mempool
nolisten=1
no line
[main]
rpcport=3000
"""


def test_a_section_counts_before_the_top_and_of_its_own_chain_only() -> None:
    conf = conf_entries(CONF)
    assert Settings(REGTEST, conf=conf).number("rpcport", 0) == 2000
    assert Settings(MAIN, conf=conf).number("rpcport", 0) == 3000
    assert Settings(SIGNET, conf=conf).number("rpcport", 7) == 7, "the top's port is that of the main chain only"
    assert Settings(REGTEST, conf=conf).values("debug") == ["mempool", "net", "addrman"]
    assert not Settings(REGTEST, conf=conf).flag("listen", default=True)
    assert Settings(MAIN, conf=conf).flag("listen", default=True)


def test_the_first_value_of_a_file_and_the_last_of_a_command_line_count() -> None:
    conf = conf_entries("rpcport=1\nrpcport=2\n")
    assert Settings(MAIN, conf=conf).value("rpcport") == "1"
    command = command_entries(["-rpcport=3", "--rpcport=4", "getpeerinfo", "-rpcport=5"])
    assert Settings(MAIN, command, conf=conf).value("rpcport") == "4"
    stored = stored_entries('{"rpcport": 6, "prune": "550", "listen": false, "debug": ["net", "rpc"]}')
    assert Settings(MAIN, command, stored, conf).value("rpcport") == "4"
    assert Settings(MAIN, (), stored, conf).value("rpcport") == "6"
    assert not Settings(MAIN, (), stored, conf).flag("listen", default=True)


@pytest.mark.parametrize(
    ("line", "on"),
    [
        ("listen", True),
        ("listen=", True),
        ("listen=1", True),
        ("listen=0", False),
        ("listen=00", False),
        ("listen=no", False),
        ("nolisten", False),
        ("nolisten=0", True),
        ("listen=2", True),
    ],
)
def test_truth_is_that_of_core(line: str, on: bool) -> None:
    assert Settings(MAIN, command_entries([f"-{line}"])).flag("listen", default=not on) is on


def test_a_negation_hides_what_is_less_important() -> None:
    conf = conf_entries("connect=a\nconnect=b\n")
    assert Settings(MAIN, command_entries(["-noconnect"]), conf=conf).values("connect") == []
    assert Settings(MAIN, command_entries(["-noconnect", "-connect=c"]), conf=conf).values("connect") == ["c"]


@pytest.mark.parametrize(
    ("command", "conf", "chain"),
    [
        ([], "", "main"),
        (["-regtest"], "", "regtest"),
        (["-chain=signet"], "testnet=1\n", "signet"),
        ([], "testnet=1\n", "test"),
        ([], "testnet4=1\n", "testnet4"),
        ([], "[test]\nregtest=1\n", "main"),
        (["-regtest=0"], "", "main"),
        (["-chain=nonsense"], "", "main"),
    ],
)
def test_the_chain_is_chosen_as_core_does(command: list[str], conf: str, chain: str) -> None:
    assert chain_of(command_entries(command), conf_entries(conf)).name == chain


def test_a_chain_before_a_dot_is_a_section() -> None:
    conf = conf_entries("regtest.rpcport=5\nwallet.name=x\n")
    assert Settings(REGTEST, conf=conf).number("rpcport", 0) == 5
    assert Settings(MAIN, conf=conf).value("rpcport") is None


@pytest.mark.fuzz
@given(st.text(), st.lists(st.text(max_size=30), max_size=20), st.text())
def test_nothing_that_a_stranger_writes_raises(conf: str, command: list[str], stored: str) -> None:
    for chain in CHAINS:
        settings = Settings(chain, command_entries(command), stored_entries(stored), conf_entries(conf))
        for name in ("rpcport", "listen", "debug", ""):
            assert isinstance(settings.number(name, 1), int)
            assert isinstance(settings.flag(name, default=True), bool)
            assert all(isinstance(value, str) for value in settings.values(name))
    chain_of(command_entries(command), conf_entries(conf))


@pytest.mark.parametrize("stored", ["[1]", "{", "[" * 100_000, '{"a": {"b": 1}, "c": null, "d": [[1]]}', "\x00"])
def test_a_settings_file_of_another_form_gives_nothing(stored: str) -> None:
    assert stored_entries(stored) == []


def test_only_small_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGEST + 1)
    for name in ("pipe", "large", ".", "missing", "a\0b"):
        with pytest.raises(OSError, match=r"regular|larger|directory|No such|no file"):
            read_small(tmp_path / name)
    (tmp_path / "small").write_bytes(b"x" * LARGEST)
    assert len(read_small(tmp_path / "small")) == LARGEST
