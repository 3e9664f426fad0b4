"""Bitcoin Core's tracepoints by release: what each argument is, and which field of which kind it fills.

Sources: doc/tracing.md of each release since v22, the code of the tracepoints, and the branches that add the addrman
ones. Where a binary's release is not known, only what is the same in all possible releases is taken.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import Final

from watchdog.core.declared import Declaration
from watchdog.extract.elf import Probe, TracedBinary, constant_strings

FIRST, LAST = 22, 99  # v22 has the first tracepoints; two digits are a release, more are some other program's
POINTERS: Final = frozenset({"str", "bytes32", "bytes"})
NS_BY_US: Final = 1_000
MOST_VERSIONS: Final = 100  # texts that look like one; a binary of Core has two

NETWORKS: Final[Mapping[int, str]] = MappingProxyType(
    {0: "unroutable", 1: "ipv4", 2: "ipv6", 3: "onion", 4: "i2p", 5: "cjdns"}  # enum Network
)
FLUSH_MODES: Final[Mapping[int, str]] = MappingProxyType(
    {0: "none", 1: "if-needed", 2: "periodic", 3: "force-flush", 4: "force-sync"}  # enum class FlushStateMode
)
FLUSH_MODES_BEFORE_30: Final[Mapping[int, str]] = MappingProxyType(
    {0: "none", 1: "if-needed", 2: "periodic", 3: "always"}
)

_VERSION: Final = re.compile(
    rb"(?<![^\0])v(\d{2})\.(\d{1,2})(?:\.\d{1,2})?(?:rc\d{1,2}|\.knots\d{8})?(?:-g?[0-9a-f]{7,40}(?:-dirty)?|-unk|-dirty)?\0"
)
_DEVELOPMENT: Final = 99  # the minor version of a branch on the way to the next release


@dataclass(frozen=True, slots=True)
class Releases:
    """The major releases that a binary may be, both ends included. text: how people read it."""

    low: int = FIRST
    high: int = LAST
    text: str = "unknown"

    def within(self, low: int, high: int) -> bool:
        """Return whether every possible release is one of these."""
        return low <= self.low and self.high <= high

    def meets(self, low: int, high: int) -> bool:
        """Return whether some possible release is one of these."""
        return self.low <= high and low <= self.high


@dataclass(frozen=True, slots=True)
class Input:
    """One argument of a tracepoint. form: what it is (`bool`, `i32`, `u64`, `str`, `bytes32`, `bytes`, ...).

    field: the column of the kind that it fills; "" for none. factor: by which the value is multiplied. words: texts for
    numbers; a number that is not in them is given in digits. length: for `bytes`, which argument has their number.
    """

    form: str
    field: str = ""
    factor: int = 1
    words: Mapping[int, str] = dataclasses.field(default_factory=dict)
    length: int = -1


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """How one probe becomes events of one kind. left_out: fields that this binary does not give, with the reason."""

    kind: str
    inputs: tuple[Input, ...]
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """Provider and name of the probe; kinds have the same."""
        return self.kind


@dataclass(frozen=True, slots=True)
class ReleaseForm:
    """A tracepoint as the releases from `low` to `high` have it. Forms of one tracepoint may overlap in no release."""

    kind: str
    inputs: tuple[Input, ...]
    low: int = FIRST
    high: int = LAST


@dataclass(frozen=True, slots=True)
class TraceOffer:
    """What a binary gives. kinds: by kind, of the catalogue and declared. faults: by kind, why a probe is not read.

    unknown: probes that neither the catalogue nor a declaration has.
    """

    releases: Releases
    kinds: Mapping[str, Tracepoint]
    faults: Mapping[str, str]
    unknown: tuple[str, ...]

    @property
    def lacks(self) -> tuple[str, ...]:
        """Kinds of the table without a probe, in the order of the table."""
        return tuple(kind for kind in CORE_KINDS if kind not in self.kinds and kind not in self.faults)


_PEER: Final = (Input("i64", "conn"), Input("str", "peer"), Input("str", "connection_type"))
_MESSAGE: Final = (*_PEER, Input("str", "type"), Input("u64", "size"), Input("bytes", "payload", length=4))
_COIN: Final = (
    Input("bytes32", "txid"), Input("u32", "index"), Input("u32", "height"), Input("i64", "value_sat"),
    Input("bool", "coinbase"),
)  # fmt: skip
_NETWORK: Final = Input("u32", "network", words=NETWORKS)
_OPENED: Final = (*_PEER, _NETWORK, Input("u64", "connections"))
_ENDED: Final = (*_PEER, _NETWORK, Input("u64", "established_s"))
_BLOCK: Final = (
    Input("bytes32", "hash"), Input("i32", "height"), Input("u64", "transactions"), Input("i32", "inputs"),
    Input("u64", "sigops"),
)  # fmt: skip
_FLUSH: Final = (Input("u64", "coins"), Input("u64", "memory_bytes"), Input("bool", "for_prune"))
_REPLACED: Final = (
    Input("bytes32", "txid"), Input("i32", "vsize_vb"), Input("i64", "fee_sat"), Input("u64", "entry_time_s"),
    Input("bytes32", "replacement_txid"), Input("i32", "replacement_vsize_vb"), Input("i64", "replacement_fee_sat"),
)  # fmt: skip
_WALLET: Final = Input("str", "wallet")
_MADE: Final = (Input("bool", "success"), Input("i64", "fee_sat"), Input("i32", "change_position"))
_ADDRESS: Final = (
    Input("i32", "bucket"), Input("i32", "position"), Input("str", "address"), Input("u32", "address_asn"),
    Input("str", "source_addr"), Input("u32", "source_asn"),
)  # fmt: skip

FORMS: Final[tuple[ReleaseForm, ...]] = (
    ReleaseForm("net:inbound_message", _MESSAGE),
    ReleaseForm("net:outbound_message", _MESSAGE),
    ReleaseForm("net:inbound_connection", _OPENED, low=29),
    ReleaseForm("net:outbound_connection", _OPENED, low=29),
    ReleaseForm("net:evicted_inbound_connection", _ENDED, low=29),
    ReleaseForm("net:closed_connection", _ENDED, low=29),
    ReleaseForm("net:misbehaving_connection", (Input("i64", "conn"), Input("str", "reason")), low=29),
    ReleaseForm("validation:block_connected", (*_BLOCK, Input("u64", "duration_ns", factor=NS_BY_US)), high=24),
    ReleaseForm("validation:block_connected", (*_BLOCK, Input("u64", "duration_ns")), low=25),
    ReleaseForm(
        "utxocache:flush",
        (Input("i64", "duration_us"), Input("u32", "mode", words=FLUSH_MODES_BEFORE_30), *_FLUSH),
        low=23, high=29,
    ),
    ReleaseForm(
        "utxocache:flush", (Input("i64", "duration_us"), Input("u32", "mode", words=FLUSH_MODES), *_FLUSH), low=30
    ),
    ReleaseForm("utxocache:add", _COIN, low=23),
    ReleaseForm("utxocache:spent", _COIN, low=23),
    ReleaseForm("utxocache:uncache", _COIN, low=23),
    ReleaseForm(
        "coin_selection:selected_coins",
        (_WALLET, Input("str", "algorithm"), Input("i64", "target_sat"), Input("i64", "waste_sat"),
         Input("i64", "selected_sat")),
        low=23,
    ),
    ReleaseForm("coin_selection:normal_create_tx_internal", (_WALLET, *_MADE), low=23),
    ReleaseForm("coin_selection:attempting_aps_create_tx", (_WALLET,), low=23),
    ReleaseForm("coin_selection:aps_create_tx_internal", (_WALLET, Input("bool", "used"), *_MADE), low=23),
    ReleaseForm("mempool:added", (Input("bytes32", "txid"), Input("i32", "vsize_vb"), Input("i64", "fee_sat")), low=25),
    ReleaseForm(
        "mempool:removed",
        (Input("bytes32", "txid"), Input("str", "reason"), Input("i32", "vsize_vb"), Input("i64", "fee_sat"),
         Input("u64", "entry_time_s")),
        low=25,
    ),
    ReleaseForm("mempool:replaced", _REPLACED, low=25, high=28),
    ReleaseForm("mempool:replaced", (*_REPLACED, Input("bool", "by_transaction")), low=29),
    ReleaseForm("mempool:rejected", (Input("bytes32", "txid"), Input("str", "reason")), low=25),
    ReleaseForm("addrman:attempt_add", (Input("bool", "inserted"), *_ADDRESS)),
    ReleaseForm("addrman:move_to_good", _ADDRESS),
)  # fmt: skip
CORE_KINDS: Final[tuple[str, ...]] = tuple(dict.fromkeys(form.kind for form in FORMS))
PATCHED: Final = frozenset({"addrman:attempt_add", "addrman:move_to_good"})
"""Kinds that only patched nodes give."""


def releases_of(binary: TracedBinary) -> Releases:
    """Return the releases that a binary may be: by the version in its constant strings, else by what its probes are.

    A compiler may keep a short version text in the code, where it is not searched; then the probes limit the range.
    Raises SourceError when the file cannot be read.
    """
    return _narrowed(_written(constant_strings(binary.path)), binary.sites())


def offer_of(binary: TracedBinary, declarations: Iterable[Declaration] = ()) -> TraceOffer:
    """Return what a binary gives. Raises SourceError when the file cannot be read."""
    known = releases_of(binary)
    declared = {one.kind_name: one for one in declarations}
    kinds: dict[str, Tracepoint] = {}
    faults: dict[str, str] = {}
    unknown = []
    for name, sites in in_order(binary.sites()).items():
        if name in CORE_KINDS:
            found = _of_core(name, sites, known, binary.pointer_bytes)
        elif name in declared:
            found = _of_declaration(declared[name], sites, binary.pointer_bytes)
        else:
            unknown.append(name)
            continue
        if isinstance(found, str):
            faults[name] = found
        else:
            kinds[name] = found
    return TraceOffer(known, kinds, faults, tuple(unknown))


def in_order(sites: Mapping[str, tuple[Probe, ...]]) -> dict[str, tuple[Probe, ...]]:
    """Return probes in the order of the table, others behind them by name."""
    rest = sorted(name for name in sites if name not in CORE_KINDS)
    return {name: sites[name] for name in (*CORE_KINDS, *rest) if name in sites}


def _of_core(kind: str, sites: Sequence[Probe], known: Releases, pointer_bytes: int) -> Tracepoint | str:
    """Return how a tracepoint of Core is read, or why it is not."""
    forms = [form for form in FORMS if form.kind == kind and known.meets(form.low, form.high)]
    counts = {len(probe.arguments) for probe in sites}
    fitting = [form for form in forms or [one for one in FORMS if one.kind == kind] if counts == {len(form.inputs)}]
    if not fitting:
        return f"it has {_counts(counts)}, releases {known.text} have {_counts({len(form.inputs) for form in forms})}"
    merged = _merged(fitting)
    for probe in sites:
        if fault := _fault(merged.inputs, probe, pointer_bytes, strict=False):
            return fault
    missing = {
        name: "this release does not pass it"
        for form in FORMS
        if form.kind == kind
        for name in (one.field for one in form.inputs)
        if name and name not in {one.field for one in fitting[0].inputs}
    }
    return replace(merged, left_out={**missing, **merged.left_out})


def _merged(forms: Sequence[ReleaseForm]) -> Tracepoint:
    """Return what several possible forms agree on; an argument on which they differ fills no field."""
    inputs, left_out = [], {}
    for alternatives in zip(*(form.inputs for form in forms), strict=True):
        first = alternatives[0]
        if any(one != first for one in alternatives):
            left_out[first.field] = "its meaning depends on the release, which is unknown"
            first = replace(first, field="")
        inputs.append(first)
    return Tracepoint(forms[0].kind, tuple(inputs), left_out)


def _of_declaration(declared: Declaration, sites: Sequence[Probe], pointer_bytes: int) -> Tracepoint | str:
    """Return how a declared tracepoint is read, or how the probe differs from the declaration."""
    names = [name for name, _ in declared.fields]
    inputs = tuple(
        Input("bytes", name, length=names.index(typ[len("bytes(") : -1]))
        if typ.startswith("bytes(")
        else Input(typ, name)
        for name, typ in declared.fields
    )
    for probe in sites:
        if len(probe.arguments) != len(inputs):
            return f"it has {_counts({len(probe.arguments)})}, the declaration {len(inputs)}"
        if fault := _fault(inputs, probe, pointer_bytes, strict=True):
            return fault
    return Tracepoint(declared.kind_name, inputs)


def _fault(inputs: Sequence[Input], probe: Probe, pointer_bytes: int, *, strict: bool) -> str:
    """Return why the arguments of a site do not fit; empty when they do.

    strict: numbers have the declared size and sign. Without it they may differ, as they do between releases: each is
    read as the probe describes it.
    """
    for number, (wanted, given) in enumerate(zip(inputs, probe.arguments, strict=True), 1):
        what = f"argument {number}"
        if not given.type or given.where == "unknown":
            return f"{what} cannot be read: {given.size or 'no'} bytes at '{given.place}'"
        if wanted.form in POINTERS:
            if given.size != pointer_bytes:
                return f"{what} is {given.type}, not the address of a {wanted.form}"
        elif strict and given.type != wanted.form and (wanted.form, given.size) != ("bool", 1):
            return f"{what} is {given.type}, the declaration says {wanted.form}"
    return ""


def _counts(counts: Iterable[int]) -> str:
    return " or ".join(str(count) for count in sorted(counts)) + " arguments"


def _written(strings: bytes) -> Releases:
    """Return the release that constant strings name; unknown when none or several do."""
    matches = islice(_VERSION.finditer(strings), MOST_VERSIONS)
    found = {match[0].rstrip(b"\0"): match for match in matches}
    named = {text: _major(int(match[1]), int(match[2]), text.decode("ascii")) for text, match in found.items()}
    plausible = {text: one for text, one in named.items() if FIRST <= one.low <= LAST}
    ranges = {(one.low, one.high) for one in plausible.values()}
    return plausible[min(plausible)] if len(ranges) == 1 else Releases()


def _major(major: int, minor: int, text: str) -> Releases:
    return Releases(major, major + (minor == _DEVELOPMENT), text)


def _narrowed(known: Releases, sites: Mapping[str, tuple[Probe, ...]]) -> Releases:
    """Limit an unknown release by the probes: some exist, or have an argument more, from one release on."""
    if known.text != "unknown":
        return known
    low, high = known.low, known.high
    for name in sites:
        counts = {len(probe.arguments) for probe in sites[name]}
        forms = [form for form in FORMS if form.kind == name and counts == {len(form.inputs)}]
        if forms and name not in PATCHED:
            low, high = max(low, min(form.low for form in forms)), min(high, max(form.high for form in forms))
    if "net:inbound_message" in sites and "net:inbound_connection" not in sites:
        high = min(high, 28)  # the connection tracepoints came with v29, in the same two files
    if low > high or (low, high) == (FIRST, LAST):
        return Releases()
    return Releases(low, high, f"unknown, v{low} or later" if high == LAST else f"unknown, v{low} to v{high}")
