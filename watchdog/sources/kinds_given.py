"""The kinds that each source can give; each module is imported when first asked for."""

from __future__ import annotations

from watchdog.sources.zmq.endpoints import KINDS_OF_TOPIC, OWN_KINDS


def capture_kinds() -> frozenset[str]:
    """Return the kinds of `capture:`."""
    from watchdog.sources.capture.source import KINDS  # noqa: PLC0415 - loaded when first asked for

    return KINDS


def snapshots_kinds() -> frozenset[str]:
    """Return the kinds of `snapshots:`."""
    from watchdog.sources.rpc.snapshots_source import KINDS  # noqa: PLC0415 - loaded when first asked for

    return KINDS


def rpc_kinds() -> frozenset[str]:
    """Return the kinds of `rpc:`."""
    from watchdog.sources.rpc.rpc_source import KINDS  # noqa: PLC0415 - loaded when first asked for

    return KINDS


def ipc_kinds() -> frozenset[str]:
    """Return the kinds of `ipc:`."""
    from watchdog.sources.ipc.ipc_source import KINDS  # noqa: PLC0415 - loaded when first asked for

    return KINDS


def log_kinds() -> frozenset[str]:
    """Return the kinds of `log:`."""
    from watchdog.sources.log.source import KINDS  # noqa: PLC0415 - loaded when first asked for

    return KINDS


def stream_kinds() -> frozenset[str]:
    """Return the kinds of `stream:`."""
    from watchdog.sources.stream.subscription import stream_kinds  # noqa: PLC0415 - loaded when first asked for

    return stream_kinds()


def zmq_kinds() -> frozenset[str]:
    """Return the kinds of ZMQ publishers."""
    return OWN_KINDS.union(*KINDS_OF_TOPIC.values())
