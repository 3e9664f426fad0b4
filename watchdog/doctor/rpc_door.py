"""The RPC of a node: each read-only method asked once, and what would open those that are closed."""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from watchdog.core.core_constants import RPC_METHOD_NOT_FOUND
from watchdog.core.text import counted, printable
from watchdog.doctor.cookie import OwnedCookie
from watchdog.doctor.hang_guard import Deadline
from watchdog.doctor.nodes import DetectedNode
from watchdog.doctor.report import Level, NodeDoor
from watchdog.doctor.rights import cookie_lines
from watchdog.sources.rpc.client import RpcClient
from watchdog.sources.rpc.credentials import Credentials
from watchdog.sources.rpc.errors import (
    RpcBusyError,
    RpcCredentialsError,
    RpcError,
    RpcFaultError,
    RpcForbiddenError,
    RpcTimeoutError,
    RpcUnauthorizedError,
    RpcUnreachableError,
    RpcWarmupError,
)
from watchdog.sources.rpc.methods import LINES_FOR_NODE, METHODS, SINCE, WHY_THREE
from watchdog.sources.rpc.url import NodeUrl

CALL_S: Final = 4.0  # of one call; a healthy node answers in milliseconds

PROBED: Final[Mapping[str, tuple[object, ...]]] = {
    "getchaintips": ("doctor",),
    "getrawaddrman": ("doctor",),
}
"""Costly methods, asked with a parameter too many: a node that allows and has them says so without doing the work."""
COOKIE_PERMS_SINCE: Final = 280_000  # Bitcoin Core 28.0 release notes: -rpccookieperms
_PUBLISH: Final = (
    "# a container: publish its RPC port on this host's loopback only; the node then needs rpcbind= and rpcallowip=",
)
_SILENT: Final = (
    RpcUnreachableError, RpcTimeoutError, RpcUnauthorizedError, RpcCredentialsError, RpcBusyError, RpcWarmupError,
)  # fmt: skip
"""After one of these the further methods are not asked: they would fail in the same way."""


@dataclass(slots=True)
class Heard:
    """What a node answered. failure: the error that ended the round."""

    answers: dict[str, Mapping[str, object]] = field(default_factory=dict)
    allowed: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    failure: RpcError | None = None

    def text(self, method: str, name: str) -> str | None:
        """Return a text of an answer; None when it is missing or no text."""
        value = self.answers.get(method, {}).get(name)
        return printable(value) if isinstance(value, str) else None

    def whole(self, method: str, name: str) -> int | None:
        """Return a whole number of an answer; None when it is missing or none."""
        value = self.answers.get(method, {}).get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def flag(self, method: str, name: str) -> bool | None:
        """Return a truth of an answer; None when it is missing or none."""
        value = self.answers.get(method, {}).get(name)
        return value if isinstance(value, bool) else None


def ask_methods(url: NodeUrl, credentials: Credentials, deadline: Deadline) -> Heard:
    """Ask each method of the allow-list once, one after the other. Never raises RpcError."""
    client = RpcClient(url, credentials, CALL_S)
    heard = Heard()
    for method in ("getnetworkinfo", *(name for name in METHODS if name != "getnetworkinfo")):
        try:
            answer = client.call(method, _parameters(method, heard), deadline_s=min(CALL_S, deadline.left_s))
        except RpcForbiddenError:
            heard.forbidden.append(method)
        except RpcFaultError as error:
            if error.code == RPC_METHOD_NOT_FOUND:
                heard.absent.append(method)
            else:
                (heard.allowed if _answered(method, error) else heard.odd).append(method)
        except _SILENT as error:
            heard.failure = error
            return heard
        except RpcError:
            heard.odd.append(method)
        else:
            heard.allowed.append(method)
            if isinstance(answer, dict):
                heard.answers[method] = answer
    return heard


def _parameters(method: str, heard: Heard) -> tuple[object, ...]:
    if method == "getblockheader":
        return (heard.text("getblockchaininfo", "bestblockhash") or "00" * 32,)
    return (0,) if method == "getblockhash" else PROBED.get(method, ())


def _answered(method: str, error: RpcFaultError) -> bool:
    """Return whether an error is the expected answer to a parameter that is too much or unknown."""
    return method in PROBED or (method == "getblockheader" and error.code == -5)  # RPC_INVALID_ADDRESS_OR_KEY


def url_of(node: DetectedNode) -> NodeUrl | None:
    """Return where a node of this machine answers; None when that is only on an address beyond loopback."""
    port = node.settings.number("rpcport", node.chain.port)
    if not node.settings.has("rpcallowip"):  # Core ignores rpcbind without it
        return NodeUrl("127.0.0.1", port)
    binds = [_split(bind, port) for bind in node.settings.values("rpcbind")]
    if not binds:
        return NodeUrl("127.0.0.1", port)
    for host, own_port in binds:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            continue
        if address.is_loopback or address.is_unspecified:
            return NodeUrl("127.0.0.1" if address.version == 4 else "::1", own_port)
    return None


def _split(bind: str, port: int) -> tuple[str, int]:
    """Return host and port of an `rpcbind`."""
    if bind.startswith("["):
        host, _, rest = bind[1:].partition("]")
        text = rest.removeprefix(":")
    else:
        host, _, text = bind.rpartition(":") if bind.count(":") == 1 else (bind, "", "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else port
    return host, number if 0 < number < 65_536 else port


def rpc_door(node: DetectedNode, user: str, deadline: Deadline) -> tuple[NodeDoor, Heard]:
    """Ask the RPC of a node that was found, with its cookie."""
    if node.apart or node.folder is None:
        fix = (*(_PUBLISH if node.apart else ()), *_named_lines(node))
        return NodeDoor("rpc", "problem", f"not reached: {'; '.join(node.notes)}", fix), Heard()
    if not node.settings.flag("server", default=True):
        return NodeDoor("rpc", "problem", "switched off: server=0", ("server=1",)), Heard()
    url = url_of(node)
    if url is None:
        text = "answers on an address beyond this machine only (rpcbind): name it in watchdog.yaml"
        return NodeDoor("rpc", "problem", text, tuple(_named_lines(node))), Heard()
    path = node.path("rpccookiefile", ".cookie")
    if path is None:
        return NodeDoor("rpc", "problem", f"{url.shown} has no cookie (rpccookiefile)", tuple(LINES_FOR_NODE)), Heard()
    heard = ask_methods(url, OwnedCookie(path, node.owner), deadline)
    if heard.failure is not None:
        return _closed(node, url, heard, heard.failure, user), heard
    return open_door(url, heard, node.chain.name, keys={"cookie": str(path)}), heard


def open_door(url: NodeUrl, heard: Heard, chain: str | None, keys: Mapping[str, str]) -> NodeDoor:
    """Return the door of a node that answers. chain: that it should have, None for any."""
    answered = heard.text("getblockchaininfo", "chain")
    if chain is not None and answered is not None and answered != chain:
        text = f"{url.shown} answers for the chain {answered}, not {chain}: another node has this port"
        return NodeDoor("rpc", "problem", text)
    words = [f"{url.shown}: {len(heard.allowed)} of {len(METHODS)} methods answer"]
    came = {version: [name for name in heard.absent if SINCE.get(name) == version] for version in SINCE.values()}
    words += [f"{' and '.join(absent)} came with {version}" for version, absent in came.items() if absent]
    gone = [name for name in heard.absent if name not in SINCE] + heard.odd
    if gone:
        words.append(f"no usable answer to {', '.join(gone)}")
    fix: tuple[str, ...] = ()
    if heard.forbidden:
        words.append(f"rpcwhitelist forbids {', '.join(heard.forbidden)}")
        fix = (*LINES_FOR_NODE, f"# {WHY_THREE}")
    level: Level = "problem" if heard.forbidden or gone else "ok"
    named = {"chain": answered} if answered else {}
    source = f"rpc:{url.shown}" if "getnetworkinfo" in heard.allowed else ""
    return NodeDoor("rpc", level, "; ".join(words), fix, source, {**keys, **named})


def _closed(node: DetectedNode, url: NodeUrl, heard: Heard, failure: RpcError, user: str) -> NodeDoor:
    """Return the door of a node that did not answer, with the lines that would open it."""
    after = f" ({counted(len(heard.allowed), 'method')} answered before)" if heard.allowed else ""
    if isinstance(failure, RpcCredentialsError):
        return _without_cookie(node, url, failure, user)
    if isinstance(failure, RpcUnreachableError):
        hint = "" if node.pid else ": is the node running?"
        return NodeDoor("rpc", "problem", f"{url.shown}: {failure.why}{hint}{after}")
    if isinstance(failure, RpcUnauthorizedError):
        text = f"{url.shown} refuses the cookie: it is of another start, or of another node than that on this port"
        return NodeDoor("rpc", "problem", text, tuple(_named_lines(node)))
    if isinstance(failure, RpcTimeoutError):
        return NodeDoor("rpc", "problem", f"{url.shown}: no answer to {failure.method} within {CALL_S:g} s{after}")
    return NodeDoor("rpc", "problem", f"{url.shown}: {failure.why}{after}")


def _without_cookie(node: DetectedNode, url: NodeUrl, failure: RpcCredentialsError, user: str) -> NodeDoor:
    path = node.path("rpccookiefile", ".cookie")
    assert path is not None
    shown = printable(str(path))
    cause = failure.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    if number in (errno.EACCES, errno.EPERM):
        fix = [*cookie_lines(path.parent, user), "# before v28, and on any version:", *_named_lines(node)]
        return NodeDoor("rpc", "problem", f"{url.shown}: user {user} may not read the cookie {shown}", tuple(fix))
    if number == errno.ENOENT and node.settings.has("rpcpassword"):
        text = f"{url.shown}: the node has a password in bitcoin.conf and writes no cookie; give the watchdog its own"
        return NodeDoor("rpc", "problem", text, tuple(_named_lines(node)))
    if number == errno.ENOENT:
        return NodeDoor("rpc", "problem", f"{url.shown}: there is no cookie {shown}: is the node running?")
    return NodeDoor("rpc", "problem", f"{url.shown}: the cookie {shown} is not used: {failure.why}")


def _named_lines(node: DetectedNode) -> list[str]:
    """Return the lines for a user of our own, in bitcoin.conf and in watchdog.yaml."""
    port = node.settings.number("rpcport", node.chain.port)
    return [
        "# in bitcoin.conf, the hash from share/rpcauth/rpcauth.py watchdog, then restart the node:",
        *LINES_FOR_NODE,
        f"# {WHY_THREE}",
        "# in watchdog.yaml, the password that rpcauth.py printed in a file of mode 600:",
        f"# - rpc: http://127.0.0.1:{port}",
        "#   user: watchdog",
        "#   password: {file: rpc.password}",
    ]
