"""Answers of JSON-RPC as bytes, whatever carried them: HTTP or IPC."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from watchdog.core.core_constants import RPC_IN_WARMUP
from watchdog.core.text import decode_text, printable, without_secrets
from watchdog.sources.rpc.errors import RpcError, RpcFaultError, RpcGarbageError, RpcWarmupError

MESSAGE_BYTES: Final = 4_096  # of an answer that is only read for the error in it


class _Fault(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Reply(msgspec.Struct):
    """A JSON-RPC answer, as far as its success is concerned."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Fault | None = None


_reply = msgspec.json.Decoder(_Reply)
_loose = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BAD_INPUT = (ValueError, RecursionError)  # all that msgspec raises on bytes that it cannot take


def result_of(method: str, body: bytes) -> object:
    """Return the decoded result of an answer. Raise RpcGarbageError."""
    try:
        return msgspec.json.decode(_reply.decode(body).result)
    except _BAD_INPUT:
        raise RpcGarbageError(method, "its result is not JSON") from None


def raise_fault(method: str, body: bytes, secrets: Collection[str] = ()) -> None:
    """Raise the error that an answer reports, as RpcFaultError or RpcWarmupError; return for any other answer.

    secrets: left out of its text, should the answer repeat them.
    """
    fault = _fault_of(body)
    if fault is not None:
        raise _error_of(method, _Fault(fault.code, without_secrets(fault.message, secrets)))


def _fault_of(body: bytes) -> _Fault | None:
    """Return the error that an answer reports; None for a success, and for what is no answer."""
    if b'"error"' not in body[:MESSAGE_BYTES] and b'"error"' not in body[-MESSAGE_BYTES:]:
        return None
    try:
        return _reply.decode(body).error
    except _BAD_INPUT:
        pass
    try:  # an error of another form is an error all the same
        error = _loose.decode(body).get("error")
    except _BAD_INPUT:
        return None
    text = b"null" if error is None else bytes(error)
    return None if text == b"null" else _Fault(0, decode_text(text[:MESSAGE_BYTES]))


def _error_of(method: str, fault: _Fault) -> RpcError:
    text = printable(fault.message, 200)
    if fault.code == RPC_IN_WARMUP:
        return RpcWarmupError(method, f"the node is starting: {text}")
    return RpcFaultError(method, f"error {fault.code}: {text}", fault.code)
