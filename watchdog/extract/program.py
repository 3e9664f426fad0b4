"""The loaded BPF program: its maps, its counters, and what it is attached to."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from ctypes import c_int, c_uint, c_ulonglong
from pathlib import Path
from typing import Final

from watchdog.extract.build import BY_HAND, PROGRAM
from watchdog.extract.libbpf import SLEEPABLE, ExtractError, Libbpf, UprobeOptions
from watchdog.extract.multi import UPROBE_MULTI, create_link, filters_processes, is_supported
from watchdog.extract.places import Site, site_struct
from watchdog.extract.reader import RingReader

# As in bpf/record.h; `_check` compares sizes and INTERFACE with those of the object.
INTERFACE: Final = 1
UNREADABLE_STRIDE: Final = 16
MOST_SLOTS: Final = 64
MOST_TYPES: Final = 64
MOST_SITES: Final = 1_024
TYPE_KEY: Final = 16  # bytes of a message type in the map of payload sizes
RING_NAMES: Final = ("message", "event", "text", "256", "4k", "32k", "128k", "1m", "4m")
LARGEST_PAYLOAD: Final = 4 << 20

FIRST_PID_NAMESPACE: Final = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
BTF: Final = Path("/sys/kernel/btf/vmlinux")


class LoadSettings(ctypes.Structure):
    """struct settings of record.h."""

    _fields_ = (
        ("namespace_device", c_ulonglong),
        ("namespace_inode", c_ulonglong),
        ("may_sleep", c_uint),
        ("interface", c_uint),
    )


class Shared(ctypes.Structure):
    """struct shared of record.h: the counters of the program, and what it watches."""

    _fields_ = (
        ("lost", c_ulonglong * len(RING_NAMES)),
        ("lost_by", c_ulonglong * MOST_SLOTS),
        ("unreadable", c_ulonglong * (MOST_SLOTS * UNREADABLE_STRIDE)),
        ("foreign", c_ulonglong),
        ("process", c_uint),
        ("claim", c_uint),
        ("exited", c_uint),
        ("exit_code", c_int),
        ("exited_at", c_ulonglong),
        ("most_payload", c_uint),
        ("unused", c_uint),
    )


class Program:
    """One loaded object. ExtractError with the kernel's reason where it cannot be loaded.

    may_sleep: pages that are not resident are read in; without it, what is on them is counted as unreadable. multi: a
    tracepoint is attached with all its places at once, which needs no right beyond CAP_BPF and CAP_PERFMON; kernels
    before 6.6 attach place by place. None: what this kernel can do.
    """

    def __init__(self, *, may_sleep: bool | None = None, multi: bool | None = None) -> None:
        if not PROGRAM.exists():
            raise ExtractError(f"the BPF program was not built: install clang and libbpf-dev, {BY_HAND}")
        if not BTF.exists():
            raise ExtractError(f"this kernel has no BTF ({BTF} is missing); it needs CONFIG_DEBUG_INFO_BTF")
        self._library = Libbpf(RingReader.log, RingReader.print_function())
        self._links: dict[int, list[int]] = {}
        self._multi_links: dict[int, int] = {}
        self._sites: dict[int, list[int]] = {}
        self._free = list(range(MOST_SITES))
        self._types: set[bytes] = set()
        self.may_sleep = may_sleep is not False
        self.multi = multi is not False
        try:
            self._open()
        except ExtractError:
            if may_sleep is not None:
                raise
            self.may_sleep = False  # a kernel before 6.0 knows no sleepable programs for tracepoints of processes
            self._open()
        if self.multi and not is_supported(self._library.number("", "bpf_program__fd", self._programs["on_event"])):
            if multi:
                self.close()
                raise ExtractError("this kernel cannot attach several places at once; it needs Linux 6.6")
            self.close()
            self.multi = False
            self._open()

    def _open(self) -> None:
        what = "the BPF program cannot be loaded"
        self._object = self._library.pointer(what, "bpf_object__open_file", os.fsencode(PROGRAM), None)
        try:
            self._programs = {name: self._program(name) for name in ("on_message", "on_event", "on_exit")}
            self._set_up()
            self._library.number(what, "bpf_object__load", self._object)
            self._value(".bss", ctypes.sizeof(Shared))
            self._memory = mmap.mmap(
                self._fd(".bss"), ctypes.sizeof(Shared)
            )  # libbpf itself maps it for skeletons only
            self.shared = Shared.from_buffer(self._memory)
            self._exit_link = self._library.pointer(
                "the end of processes cannot be watched", "bpf_program__attach", self._programs["on_exit"]
            )
        except ExtractError:
            self._library.call("bpf_object__close", self._object)
            raise

    def _set_up(self) -> None:
        """Set what the program cannot change once it is loaded."""
        settings = LoadSettings.from_address(self._value(".rodata", ctypes.sizeof(LoadSettings)))
        if settings.interface != INTERFACE:
            raise ExtractError(f"the BPF program was built from other source: {BY_HAND}")
        namespace = Path("/proc/self/ns/pid").stat()
        if namespace.st_ino != FIRST_PID_NAMESPACE:
            settings.namespace_device, settings.namespace_inode = namespace.st_dev, namespace.st_ino
        settings.may_sleep = self.may_sleep
        for program in (self._programs["on_message"], self._programs["on_event"]):
            if self.may_sleep:
                self._library.number("no sleepable programs", "bpf_program__set_flags", program, SLEEPABLE)
            if self.multi:
                self._library.number("attach type", "bpf_program__set_expected_attach_type", program, UPROBE_MULTI)

    def _program(self, name: str) -> int:
        return self._library.pointer(name, "bpf_object__find_program_by_name", self._object, name.encode())

    def _map(self, name: str) -> int:
        if not self._object:
            raise ExtractError("the BPF program is unloaded")
        return self._library.pointer(f"map {name}", "bpf_object__find_map_by_name", self._object, name.encode())

    def _value(self, name: str, size: int) -> int:
        """Return the address of a section's memory, which must have this size."""
        found = ctypes.c_size_t()
        place = self._library.pointer(f"section {name}", "bpf_map__initial_value", self._map(name), ctypes.byref(found))
        if found.value != size:
            raise ExtractError(f"the BPF program was built from other source: {BY_HAND}")
        return place

    def rings(self) -> list[tuple[int, int]]:
        """Return the descriptor and the size in bytes of each kernel ring, in the order of RING_NAMES."""
        maps = [self._map(f"ring_{name}") for name in RING_NAMES]
        fd, size = "bpf_map__fd", "bpf_map__max_entries"
        return [(self._library.number(fd, fd, one), self._library.number(size, size, one)) for one in maps]

    def watch(self, process: int, *, claim: bool = False) -> None:
        """Count the hits of this process only; 0: of none or, with `claim`, of the first that comes."""
        self.shared.claim = 0
        self.shared.process = process
        self.shared.claim = claim

    def set_plan(self, slot: int, plan: ctypes.Structure) -> None:
        """Set how the arguments of a slot's tracepoint are copied."""
        key = ctypes.c_uint(slot)
        self._library.number("plan", "bpf_map_update_elem", self._fd("plans"), ctypes.byref(key), ctypes.byref(plan), 0)

    def set_payloads(self, sizes: Mapping[str, int], rest: int) -> list[str]:
        """Set how many bytes of a payload are copied by message type, `rest` for all others.

        Returns the types that found no room in the map; they get `rest`.
        """
        self.shared.most_payload = min(max(rest, 0), LARGEST_PAYLOAD)
        keys = {name.encode()[:TYPE_KEY].ljust(TYPE_KEY, b"\0"): name for name in sizes}
        for gone in self._types - keys.keys():
            self._library.call("bpf_map_delete_elem", self._fd("payloads"), gone)
        self._types &= keys.keys()
        refused = []
        for key, name in keys.items():
            if len(self._types) >= MOST_TYPES and key not in self._types:
                refused.append(name)
                continue
            size = ctypes.c_uint(min(max(sizes[name], 0), LARGEST_PAYLOAD))
            self._library.number("payload", "bpf_map_update_elem", self._fd("payloads"), key, ctypes.byref(size), 0)
            self._types.add(key)
        return refused

    def attach(self, slot: int, sites: Sequence[Site], *, binary: str, process: int, message: bool) -> None:
        """Attach a slot to the places of its tracepoint; process: -1 for every process that runs the binary."""
        if len(sites) > len(self._free):
            raise ExtractError(f"more than {MOST_SITES} places of tracepoints")
        numbers = [self._free.pop() for _ in sites]
        self._sites[slot] = numbers
        try:
            for number, site in zip(numbers, sites, strict=True):
                key, value = ctypes.c_uint(number), site_struct(site, slot)
                self._library.number(
                    "site", "bpf_map_update_elem", self._fd("sites"), ctypes.byref(key), ctypes.byref(value), 0
                )
            program = self._programs["on_message" if message else "on_event"]
            if self.multi:
                handle = self._library.number("program", "bpf_program__fd", program)
                only = process if filters_processes(handle) else -1  # then the program itself drops the others' hits
                self._multi_links[slot] = create_link(handle, binary, only, sites, numbers)
            else:
                self._attach_singly(slot, program, zip(numbers, sites, strict=True), (binary, process))
        except ExtractError:
            self.detach(slot)
            raise

    def _attach_singly(
        self, slot: int, program: int, sites: Iterable[tuple[int, Site]], where: tuple[str, int]
    ) -> None:
        path, process = os.fsencode(where[0]), where[1]
        call = "bpf_program__attach_uprobe_opts"
        for number, site in sites:
            options = UprobeOptions(ctypes.sizeof(UprobeOptions), site.semaphore, number, False, None)
            given = (program, process, path, site.offset, ctypes.byref(options))
            try:
                link = self._library.pointer("attaching", call, *given)
            except ExtractError as error:
                raise ExtractError(f"{error}{_hint(error)}") from None
            self._links.setdefault(slot, []).append(link)

    def detach(self, slot: int) -> None:
        """Detach from a slot's tracepoint, if it is attached."""
        for link in self._links.pop(slot, ()):
            self._library.call("bpf_link__destroy", link)
        if slot in self._multi_links:
            os.close(self._multi_links.pop(slot))
        self._free += self._sites.pop(slot, [])

    def close(self) -> None:
        """Detach from everything and unload; a second call does nothing."""
        if not self._object:
            return
        for slot in list(self._sites):
            self.detach(slot)
        self._library.call("bpf_link__destroy", self._exit_link)
        self._library.call("bpf_object__close", self._object)
        self._object = 0

    def _fd(self, name: str) -> int:
        return self._library.number(name, "bpf_map__fd", self._map(name))


def _hint(error: ExtractError) -> str:
    refused = os.strerror(errno.EACCES).lower() in str(error).lower()
    return "; this kernel asks for CAP_SYS_ADMIN to attach, Linux 6.6 and later do not" if refused else ""
