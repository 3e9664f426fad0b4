"""The rows of `nats:` and `peer-observer:` in the registry of sources."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from watchdog.core.source import Source, SourceOptions
from watchdog.sources.nats.settings import PROTOCOLS, SETTINGS, check_nats, require_packages
from watchdog.sources.scheme import Scheme, Setting, position_of


def _open_nats(place: str, options: SourceOptions, _torn_later: bool) -> list[Source]:
    check_nats(place, options.settings)
    from watchdog.sources.nats.source import NatsSource  # noqa: PLC0415 - needs packages that may be missing

    return [NatsSource(place, replace(options, position=position_of(options, f"nats:{place}")))]


def _open_archive(place: str, options: SourceOptions, _torn_later: bool) -> list[Source]:
    require_packages(client=False)
    from watchdog.sources.nats.archive import ArchiveSource  # noqa: PLC0415 - needs a package that may be missing

    return [ArchiveSource(place, replace(options, position=position_of(options, f"peer-observer:{place}")))]


def _check_archive(_place: str, _settings: object) -> str:
    require_packages(client=False)
    return ""


def _kinds() -> frozenset[str]:
    from watchdog.sources.nats.offered import KINDS  # noqa: PLC0415 - loaded when first asked for

    return KINDS


def _kinds_at(place: str) -> frozenset[str]:
    from watchdog.sources.nats.offered import kinds_at  # noqa: PLC0415 - loaded when first asked for

    return kinds_at(place)


NATS: Final = Scheme(
    "nats",
    "nats://HOST:PORT",
    _open_nats,
    _kinds,
    mode="live",
    settings=SETTINGS,
    place_is_path=False,
    kinds_at=_kinds_at,
    idle_slices=False,  # a heartbeat only says that the server is there: the extractor may have ended
    check=check_nats,
)
ARCHIVE: Final = Scheme(
    "peer-observer",
    "FILE",
    _open_archive,
    _kinds,
    write_delay_ns=5_000_000_000,  # the archiver writes 8 KiB at a time, which a busy node fills within a second
    settings=(
        Setting(
            "protocol", "choice", "Form of the records, by the month in which peer-observer began to send it.",
            shown="found from the first 100 records", choices=tuple(reversed(PROTOCOLS)),
        ),
    ),
    typical=".bin",
    check=_check_archive,
)  # fmt: skip
