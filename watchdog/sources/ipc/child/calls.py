"""JSON-RPC through the two interfaces that nodes have for it."""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from watchdog.core.core_constants import RPC_IN_WARMUP
from watchdog.sources.ipc.child.node_thread import NodeThread

USER: Final = "watchdog"
"""The user that `rpcwhitelist` of bitcoin.conf would name. Any client may claim any name, so this protects no node."""


class _Error(msgspec.Struct):
    code: int = 0


class _WarmupReply(msgspec.Struct):
    error: _Error | None = None


_reply = msgspec.json.Decoder(_WarmupReply)


class Caller(Protocol):
    """What answers JSON-RPC."""

    async def ask(self, line: NodeThread, method: str, params: bytes, deadline_s: float) -> bytes:
        """Return the answer to a call, a JSON-RPC object as far as the node is honest. params: a JSON list.

        Raise CallFault, TimeoutError.
        """
        ...


class RpcCaller:
    """Rpc of v31 and later."""

    def __init__(self, rpc: Any) -> None:
        self._rpc = rpc

    async def ask(self, line: NodeThread, method: str, params: bytes, deadline_s: float) -> bytes:
        """See `Caller`."""
        request = b'{"jsonrpc":"1.0","id":1,"method":%s,"params":%s}' % (msgspec.json.encode(method), params)
        answer = await line.call(self._rpc.executeRpc, deadline_s, request=request.decode(), uri="/", user=USER)
        return _text(answer.result)


class NodeCaller:
    """Node of the tracing proof of concept and of the branch pr/ipc."""

    def __init__(self, node: Any) -> None:
        self._node = node

    async def ask(self, line: NodeThread, method: str, params: bytes, deadline_s: float) -> bytes:
        """See `Caller`. The node answers with the result alone, or with an error in one of two forms."""
        answer = await line.call(self._node.executeRpc, deadline_s, command=method, params=params.decode(), uri="/")
        if error := _text(answer.rpcError):
            return b'{"result":null,"error":%s}' % error
        if text := _text(answer.error):
            error = msgspec.json.encode({"code": 0, "message": text.decode("utf-8", "replace")[:500]})
            return b'{"result":null,"error":%s}' % error
        return b'{"result":%s,"error":null}' % _text(answer.result)


def is_warming_up(answer: bytes) -> bool:
    """Return whether the node says that it is starting."""
    try:
        error = _reply.decode(answer).error
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return error is not None and error.code == RPC_IN_WARMUP


def _text(data: Any) -> bytes:
    """Return a text that the schema declares as Data, without the zero at its end. Copied: it dies with its message."""
    return bytes(data).removesuffix(b"\0")
