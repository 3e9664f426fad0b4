"""The catalogue: the table is the schema's, batches are held against it, and loading is cheap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.catalogue import check_batch, empty_columns
from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.kinds import (
    FINDING_KINDS,
    KINDS,
    PEER_FIELDS,
    PSEUDO_FIELDS,
    TYPES,
    dtype_of,
)
from watchdog.core.schema import generate


def batch_of(kind: str, **changes: Column | None) -> Batch:
    columns = empty_columns(kind)
    for name, column in changes.items():
        if column is None:
            del columns[name]
        else:
            columns[name] = column
    return Batch(kind, "node", "test:", columns)


def test_table_is_made_from_the_schema() -> None:
    assert generate.Catalogue().text() == generate.TABLE.read_text(), "run python -m watchdog.core.schema.generate"


def test_every_field_has_a_description_and_every_number_that_is_measured_a_unit() -> None:
    suffixes = {"_ns": "ns", "_us": "us", "_ms": "ms", "_s": "s", "_sat": "sat", "_vb": "vB", "_kvb": "sat/kvB"}
    for kind in KINDS.values():
        for field in kind.fields.values():
            assert field.description, (kind.name, field.name)
            assert len(field.description) <= 110, (kind.name, field.name)
            unit = next((unit for suffix, unit in suffixes.items() if field.name.endswith(suffix)), field.unit)
            assert field.unit == unit, (kind.name, field.name)


def test_kinds_have_known_types_sources_and_partners() -> None:
    for kind in KINDS.values():
        assert next(iter(kind.fields)) == "time_ns"
        assert kind.sources
        known = {"capture", "snapshots", "rpc", "log", "zmq", "ipc", "tracepoint", "rules", "fleet"}
        assert set(kind.sources) <= known, kind.name
        assert all(partner in KINDS for partner in kind.same_fact), kind.name
        assert {field.type for field in kind.fields.values()} <= set(TYPES)
        in_each_row = {"node"} if kind.name in FINDING_KINDS else set()  # one engine may read findings of several nodes
        assert set(kind.fields) & set(PSEUDO_FIELDS) == in_each_row, kind.name


def test_peer_columns_come_first_and_in_order_on_kinds_of_connections() -> None:
    for kind in KINDS.values():
        if kind.name.startswith(("net:", "p2p:")) or kind.name == "rpc:peer":
            assert tuple(kind.fields)[1 : 1 + len(PEER_FIELDS)] == PEER_FIELDS, kind.name
    identity = [name for name, field in KINDS["net:inbound_message"].fields.items() if field.identity]
    assert tuple(identity) == tuple(name for name in PEER_FIELDS if name != "age_s")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_empty_columns_pass_the_check(kind: str) -> None:
    check_batch(batch_of(kind))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": np.zeros(0, np.int64)}, "column 'size' must be u32: it is int64"),
        ({"size": None}, "column 'size' (u32) is missing"),
        ({"sise": np.zeros(0)}, "column 'sise' is not in the catalogue"),
        ({"size": np.zeros(3, np.uint32)}, "column 'size' must be u32: it has 3 rows, time_ns has 0"),
        ({"type": np.zeros(0, np.int32)}, "column 'type' must be str: it is not Strings"),
        ({"peer": Strings(np.array([1], np.int32), ("a",))}, "column 'peer' must be str: a code is outside"),
        ({"size": np.zeros((0, 2), np.uint32)}, "column 'size' must be u32: it has 2 dimensions"),
    ],
)
def test_a_wrong_column_is_named_with_its_type(changes: dict[str, Column | None], message: str) -> None:
    with pytest.raises(ValueError, match=r"net:inbound_message: ") as caught:
        check_batch(batch_of("net:inbound_message", **changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("offsets", [[0, 9], [3, 1, 4], [-1, 2]])
def test_blobs_whose_offsets_do_not_fit_are_found(offsets: list[int]) -> None:
    blobs = Blobs(np.array(offsets, np.int64), np.zeros(4, np.uint8))
    with pytest.raises(ValueError, match="column 'hash' must be bytes: its offsets do not fit 4 bytes"):
        check_batch(batch_of("log:tip", hash=blobs))


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind 'net:nothing'"):
        check_batch(Batch("net:nothing", "node", "test:", {"time_ns": np.zeros(0, np.int64)}))


def test_dtypes_are_little_endian_and_text_has_none() -> None:
    assert [dtype_of("str"), dtype_of("bytes")] == [None, None]
    assert dtype_of("prefix") == np.dtype("<u8")
    with pytest.raises(KeyError):
        dtype_of("float")


def test_core_never_loads_pycapnp() -> None:
    code = "import sys, watchdog.core.kinds; print(sorted({'capnp', 'zstandard'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
