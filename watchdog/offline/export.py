"""Export: an events file to Parquet, CSV or JSON lines.

Text comes from strangers: it is made printable, and a CSV cell that a spreadsheet would run as
a formula gets an apostrophe before it. Prefixes become text, byte strings hex (raw in Parquet).
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import msgspec
import numpy as np

from watchdog.archive.reader import EventsFile, Torn
from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.errors import WatchdogError
from watchdog.core.kinds import KINDS
from watchdog.core.payload_columns import with_payload_columns
from watchdog.core.prefix import prefix_texts
from watchdog.core.text import printable

ExportFormat = Literal["parquet", "csv", "jsonl"]
MAX_TEXT = 4_096  # characters of one exported string
ROW_GROUP = 65_536  # rows of Parquet that are written at once
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for the start of a formula


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export: kinds (None for all) and times from `since_ns` on and before `until_ns`."""

    format: ExportFormat
    kinds: frozenset[str] | None = None
    since_ns: int | None = None
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: rows by kind; torn_at: where the events file was torn, None when it was whole."""

    rows: Mapping[str, int]
    torn_at: Torn | None


class Output(Protocol):
    """Where batches of one kind, or all, go."""

    def write(self, batch: Batch) -> None:
        """Append the rows."""
        ...

    def close(self) -> None:
        """Finish what was begun."""
        ...


def export(path: str, out: str, options: ExportOptions) -> Exported:
    """Write the events of a file to `out`: a file, a folder with one file a kind, or "-" for standard output.

    JSON lines of all kinds go to one file. CSV and Parquet take one kind a file: `out` is a file when exactly one
    kind was asked for, and a folder otherwise. Files appear under their name when they are complete. SourceError:
    the file cannot be read; WatchdogError: this cannot be exported there; OSError: it cannot be written.
    """
    with EventsFile(path, options.kinds) as file:  # first, so that a mistyped name is the only error
        return _exported(file, out, options)


def _exported(file: EventsFile, out: str, options: ExportOptions) -> Exported:
    make = _maker(options.format)
    single = options.format == "jsonl" or (options.kinds is not None and len(options.kinds) == 1)
    if out == "-" and (options.format == "parquet" or not single):
        if single:
            raise WatchdogError(f"{options.format} of this needs --out FILE")
        raise WatchdogError(f"{options.format} of several kinds needs --out FOLDER; or choose one --kind")
    rows: dict[str, int] = {}
    if options.since_ns is not None:
        file.seek(options.since_ns)
    target = _Target(out, options.format, make, single=single)
    try:
        for batch in _chosen(file, options):
            target.write(batch)
            rows[batch.kind] = rows.get(batch.kind, 0) + batch.rows
        target.finish()
    except BaseException:
        target.abandon()
        raise
    return Exported(rows, file.torn_at)


def plain_columns(batch: Batch) -> dict[str, list[Any]]:
    """Return all columns, with `kind`, `node`, `source` and `boot_ns`, as lists of plain, harmless values."""
    rows = batch.rows
    columns: dict[str, list[Any]] = {
        "time_ns": batch.time_ns.tolist(),
        "kind": [printable(batch.kind)] * rows,
        "node": [printable(batch.node)] * rows,
        "source": [printable(batch.source)] * rows,
        "boot_ns": [batch.boot_ns] * rows,
    }
    prefixes = _prefixes(batch.kind)
    for name, column in batch.columns.items():
        if name not in columns:
            columns[name] = _plain(column, prefix=name in prefixes)
    return columns


def _plain(column: Column, *, prefix: bool) -> list[Any]:
    if isinstance(column, Strings):
        values = [printable(value, MAX_TEXT) for value in column.values]
        return [values[code] for code in column.codes.tolist()]
    if isinstance(column, Blobs):
        return [value.hex() for value in column.tolist()]
    if prefix:
        values_at, inverse = np.unique(column, return_inverse=True)
        texts = prefix_texts(values_at.astype(np.uint64))
        return [texts[at] for at in inverse.tolist()]
    return list(column.tolist())


def _prefixes(kind: str) -> frozenset[str]:
    found = KINDS.get(kind)
    return frozenset(name for name, field in found.fields.items() if field.type == "prefix") if found else frozenset()


def _chosen(file: EventsFile, options: ExportOptions) -> Iterator[Batch]:
    for piece in file.slices():
        for batch in piece.batches:
            keep = np.ones(batch.rows, np.bool_)
            if options.since_ns is not None:
                keep &= batch.time_ns >= options.since_ns
            if options.until_ns is not None:
                keep &= batch.time_ns < options.until_ns
            if keep.all():
                yield batch
            elif keep.any():
                yield batch.take(np.flatnonzero(keep))


class _Target:
    """The files of one export, each under another name until it is complete."""

    def __init__(self, out: str, form: ExportFormat, make: Callable[[BinaryIO], Output], *, single: bool) -> None:
        self._out, self._form, self._make, self._single = out, form, make, single
        self._open: dict[str, tuple[BinaryIO, Output, Path | None]] = {}
        if out != "-" and not single:
            if Path(out).exists() and not Path(out).is_dir():
                raise WatchdogError(
                    f"{form} of several kinds goes to a folder, and '{out}' is none; or choose one --kind"
                )
            Path(out).mkdir(parents=True, exist_ok=True)
        if single:
            self._begin("")

    def write(self, batch: Batch) -> None:
        name = "" if self._single else batch.kind
        if name not in self._open:
            self._begin(name)
        self._open[name][1].write(batch)

    def finish(self) -> None:
        for file, output, path in self._open.values():
            output.close()
            file.flush()
            if path is None:
                if self._out != "-":
                    file.close()
                continue
            os.fsync(file.fileno())
            file.close()
            _part(path).replace(path)
        self._open.clear()

    def abandon(self) -> None:
        for file, _, path in self._open.values():
            if self._out != "-":
                with contextlib.suppress(OSError):  # what is buffered fails again; the first failure is the one to tell
                    file.close()
            if path is not None:
                _part(path).unlink(missing_ok=True)

    def _begin(self, name: str) -> None:
        if self._out == "-":
            self._open[name] = (sys.stdout.buffer, self._make(sys.stdout.buffer), None)
            return
        safe = "".join(char if char.isalnum() else "_" for char in name)
        path = Path(self._out) if self._single else Path(self._out) / f"{safe}.{self._form}"
        if path.exists() and not path.is_file():  # a rename would put a file in the place of a device or pipe
            stream = path.open("wb")
            self._open[name] = (stream, self._make(stream), None)
            return
        file = _part(path).open("wb")
        self._open[name] = (file, self._make(file), path)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


class _JsonLines:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder()

    def write(self, batch: Batch) -> None:
        columns = plain_columns(batch)
        names = tuple(columns)
        rows = (dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True))
        self._file.write(self._encoder.encode_lines(rows))

    def close(self) -> None:
        self._file.flush()


class _Csv:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._header: list[str] | None = None

    def write(self, batch: Batch) -> None:
        columns = plain_columns(with_payload_columns(batch))  # one header for all batches
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        if self._header is None:
            self._header = list(columns)
            out.writerow(self._header)
        blank = [""] * batch.rows
        chosen: Sequence[list[Any]] = [_cells(columns.get(name, blank)) for name in self._header]
        out.writerows(zip(*chosen, strict=True))
        self._file.write(text.getvalue().encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        self._file.flush()


def _cells(values: list[Any]) -> list[Any]:
    """Return the cells of a column; text that a spreadsheet would run as a formula gets an apostrophe."""
    return [f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value for value in values]


class _Parquet:
    """Rows through pyarrow, which is imported only here; it has no types, hence `Any`."""

    def __init__(self, file: BinaryIO, arrow: Any, parquet: Any) -> None:
        self._file, self._arrow, self._parquet = file, arrow, parquet
        self._writer: Any = None
        self._held: list[Any] = []
        self._rows = 0

    def write(self, batch: Batch) -> None:
        self._held.append(self._table(with_payload_columns(batch)))  # one schema for all batches
        self._rows += batch.rows
        if self._rows >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if not self._held:
            return
        table = self._arrow.concat_tables(self._held, promote_options="default")
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._file, table.schema, compression="zstd")
        self._writer.write_table(table.cast(self._writer.schema))
        self._held, self._rows = [], 0

    def _table(self, batch: Batch) -> Any:
        arrow = self._arrow
        plain = plain_columns(batch)
        arrays = {}
        for name, values in plain.items():
            column = batch.columns.get(name)
            if isinstance(column, Blobs):
                arrays[name] = arrow.array(column.tolist(), arrow.binary())
            elif isinstance(column, np.ndarray) and name not in _prefixes(batch.kind):
                arrays[name] = arrow.array(column)
            else:
                arrays[name] = arrow.array(values, arrow.int64() if name == "boot_ns" else arrow.string())
        return arrow.table(arrays)


def _maker(form: ExportFormat) -> Callable[[BinaryIO], Output]:
    if form == "jsonl":
        return _JsonLines
    if form == "csv":
        return _Csv
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise WatchdogError(
            "parquet needs pyarrow, which is not installed; install bitcoin-watchdog[parquet], or use csv or jsonl"
        ) from None
    return lambda file: _Parquet(file, arrow, parquet)
