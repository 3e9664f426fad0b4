"""Why a call to a node failed: one class for each reason that is handled in its own way."""

from __future__ import annotations

from typing import ClassVar

from watchdog.core.errors import SourceError


class RpcError(SourceError):
    """A call failed. method: what was called. why: the reason, without credentials.

    reason: the class's name in metrics. Of the classes, only RpcUnreachableError shows that the node may be down.
    """

    reason: ClassVar[str] = "error"

    def __init__(self, method: str, why: str) -> None:
        super().__init__(f"{method}: {why}")
        self.method, self.why = method, why


class RpcMethodError(RpcError):
    """The method is not on the allow-list: nothing was sent."""

    reason: ClassVar[str] = "not-allowed"


class RpcCredentialsError(RpcError):
    """The cookie or the password cannot be read: nothing was sent."""

    reason: ClassVar[str] = "credentials"


class RpcUnreachableError(RpcError):
    """No connection: refused, reset, or the name is unknown."""

    reason: ClassVar[str] = "unreachable"


class RpcTimeoutError(RpcError):
    """The deadline passed before the last byte."""

    reason: ClassVar[str] = "timeout"


class RpcUnauthorizedError(RpcError):
    """HTTP 401: user and password are wrong, or the cookie is of an earlier start of the node."""

    reason: ClassVar[str] = "unauthorized"


class RpcForbiddenError(RpcError):
    """HTTP 403: `rpcwhitelist` does not list the method, or `rpcallowip` does not allow this host."""

    reason: ClassVar[str] = "forbidden"


class RpcBusyError(RpcError):
    """HTTP 503: the node's queue of calls is full."""

    reason: ClassVar[str] = "busy"


class RpcWarmupError(RpcError):
    """Error -28: the node is starting."""

    reason: ClassVar[str] = "warmup"


class RpcFaultError(RpcError):
    """The node reports another error. code: -32601 for a method that this version lacks."""

    reason: ClassVar[str] = "fault"

    def __init__(self, method: str, why: str, code: int) -> None:
        super().__init__(method, why)
        self.code = code


class RpcTooLargeError(RpcError):
    """The answer is larger than the limit, and was not read to its end."""

    reason: ClassVar[str] = "too-large"


class RpcGarbageError(RpcError):
    """Not an HTTP answer, or not the JSON of one."""

    reason: ClassVar[str] = "garbage"
