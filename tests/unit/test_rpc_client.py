"""The JSON-RPC client against a node over real HTTP: every way to fail has its class and shows no credentials."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fake_node
from tests.support.fake_node import FakeNode, NodeError, v22, v30
from tests.support.ports import free_port
from watchdog.core.errors import SourceError
from watchdog.sources.rpc import errors
from watchdog.sources.rpc.client import RpcClient
from watchdog.sources.rpc.cookie import cookie_path, find_cookie
from watchdog.sources.rpc.credentials import CookieCredentials, PasswordCredentials, password_from
from watchdog.sources.rpc.methods import LINES_FOR_NODE, METHODS, lines_for_node, rpcauth
from watchdog.sources.rpc.url import NodeUrl

PASSWORD = "geheim-0815-secret"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FakeNode]:
    with FakeNode(tmp_path, v30()) as one:
        yield one


def client(node: FakeNode, timeout_s: float = 20.0) -> RpcClient:
    return RpcClient(node.url, CookieCredentials(node.cookie), timeout_s)


def test_a_call_returns_the_decoded_result(node: FakeNode) -> None:
    assert client(node).call("uptime") == 100_000
    assert client(node).call("getblockhash", (7,)) == fake_node.tip_hash(7)
    assert list(node.asked) == [("uptime", []), ("getblockhash", [7])]


def test_a_method_that_is_not_read_only_is_never_sent(node: FakeNode) -> None:
    for method in ("stop", "sendtoaddress", "addnode", "help", ""):
        with pytest.raises(errors.RpcMethodError, match="read-only"):
            client(node).call(method)
    assert not node.asked


FAILURES = [
    (fake_node.status(401), errors.RpcUnauthorizedError),
    (fake_node.status(403), errors.RpcForbiddenError),
    (fake_node.status(503, b"Work queue depth exceeded"), errors.RpcBusyError),
    (fake_node.fault(-28, "Loading block index…"), errors.RpcWarmupError),
    (fake_node.fault(-32601, "Method not found"), errors.RpcFaultError),
    (fake_node.status(200, b'{"result":null,"error":{"code":-28,"message":"Verifying"}}'), errors.RpcWarmupError),
    (fake_node.status(503, b'{"result":null,"error":{"code":-28,"message":"x"}}'), errors.RpcWarmupError),
    (fake_node.status(500, b'{"result":null,"error":"in words"}'), errors.RpcFaultError),
    (fake_node.garbage(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), errors.RpcGarbageError),
    (fake_node.garbage(b"\xff\x00" * 4_000), errors.RpcGarbageError),
    (fake_node.garbage(b""), errors.RpcUnreachableError),
    (fake_node.status(200, b"<html>login</html>"), errors.RpcGarbageError),
    (fake_node.status(200, b""), errors.RpcGarbageError),
    (fake_node.status(200, b"[1, 2]"), errors.RpcGarbageError),
    (fake_node.status(200, b'{"result": [1, 2'), errors.RpcGarbageError),
    (fake_node.half(b'{"result": 1', 4_000), errors.RpcGarbageError),
    (fake_node.huge(1 << 40), errors.RpcTooLargeError),
    (fake_node.chunked(80, 1 << 20), errors.RpcTooLargeError),
]


@pytest.mark.parametrize(("behaviour", "error"), FAILURES)
def test_each_failure_has_its_class(
    node: FakeNode, behaviour: fake_node.Behaviour, error: type[errors.RpcError]
) -> None:
    node.behave("uptime", behaviour)
    with pytest.raises(errors.RpcError) as caught:
        client(node).call("uptime")
    assert type(caught.value) is error
    assert "uptime" in str(caught.value)
    assert node.cookie.read_text().partition(":")[2] not in repr(caught.value) + str(caught.value)


def test_half_an_answer_is_named_as_one(node: FakeNode) -> None:
    node.behave("uptime", fake_node.half(b'{"result": 1', 4_000))
    with pytest.raises(errors.RpcGarbageError, match="the answer ends before its stated size"):
        client(node).call("uptime")


@pytest.mark.parametrize("behaviour", [fake_node.hanging, fake_node.dripping])
def test_the_deadline_holds_for_the_whole_answer(node: FakeNode, behaviour: fake_node.Behaviour) -> None:
    node.behave("uptime", behaviour)
    with pytest.raises(errors.RpcTimeoutError):
        client(node).call("uptime", deadline_s=0.3)


def test_chunks_within_the_limit_are_read(node: FakeNode) -> None:
    node.behave("uptime", fake_node.chunked(3, 1_000))
    assert client(node).call("uptime") == 5


def test_a_refused_connection_shows_that_the_node_may_be_down(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    cookie.write_text("__cookie__:abc")
    one = RpcClient(f"http://127.0.0.1:{free_port()}", CookieCredentials(cookie))
    with pytest.raises(errors.RpcUnreachableError, match="refused"):
        one.call("uptime")


def test_an_unknown_name_is_unreachable(tmp_path: Path) -> None:
    one = RpcClient("http://no-such-host.invalid:8332", PasswordCredentials("u", lambda: PASSWORD))
    with pytest.raises((errors.RpcUnreachableError, errors.RpcTimeoutError)):
        one.call("uptime", deadline_s=5)


def test_the_cookie_is_read_again_after_a_401(node: FakeNode) -> None:
    one = client(node)
    assert one.call("uptime") == 100_000
    node.restart()
    assert one.call("uptime") == 100_000
    assert node.count("uptime") == 2


def test_a_cookie_that_is_still_wrong_is_tried_once(node: FakeNode) -> None:
    one = client(node)
    node.passwords["__cookie__"] = "other"
    with pytest.raises(errors.RpcUnauthorizedError):
        one.call("uptime")


@pytest.mark.parametrize("text", [None, "", "no colon", "\x00:\x01", "x" * 10_000])
def test_a_cookie_that_cannot_be_read_is_an_error_of_its_own(tmp_path: Path, text: str | None) -> None:
    cookie = tmp_path / "cookie"
    if text is not None:
        cookie.write_text(text)
    with pytest.raises(errors.RpcCredentialsError, match="cookie"):
        RpcClient("http://127.0.0.1:1", CookieCredentials(cookie)).call("uptime")


def test_a_pipe_in_place_of_the_cookie_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cookie")
    begun = time.thread_time()
    with pytest.raises(errors.RpcCredentialsError):
        RpcClient("http://127.0.0.1:1", CookieCredentials(tmp_path / "cookie")).call("uptime")
    assert time.thread_time() - begun < 5.0


def test_a_password_is_read_from_its_file_and_shown_nowhere(node: FakeNode, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    node.passwords["alice"] = PASSWORD
    credentials = PasswordCredentials("alice", password_from(path))
    one = RpcClient(node.url, credentials)
    assert one.call("uptime") == 100_000
    node.passwords["alice"] = "another"
    with pytest.raises(errors.RpcUnauthorizedError) as caught:
        one.call("uptime")
    assert PASSWORD not in repr(caught.value) + str(caught.value) + repr(credentials) + repr(vars(one))


def test_errors_of_the_node_carry_their_code(tmp_path: Path) -> None:
    def refuse(_params: object) -> object:
        raise NodeError(-8, "Block height out of range\x1b[31m")

    with FakeNode(tmp_path, v22() | {"getblockhash": refuse}) as node:
        with pytest.raises(errors.RpcFaultError, match="out of range") as caught:
            client(node).call("getblockhash", (10**9,))
        assert caught.value.code == -8
        assert "\x1b" not in str(caught.value)


MISTAKES = [
    "http://user:geheim@127.0.0.1:8332", "http://user@127.0.0.1", "http://u:ge/heim@127.0.0.1", "https://127.0.0.1",
    "127.0.0.1:8332", "http://", "http://127.0.0.1:99999", "http://127.0.0.1:0", "http://127.0.0.1:geheim",
    "http://127.0.0.1/wallet/x", "http://127.0.0.1?password=geheim", "http://127.0.0.1?user=a", "http://[::1",
    "http://127.0.0.1?cookie=a&user=b&password-file=c", "http://127.0.0.1?cookie=a&cookie=b", "http://a b",
    "http://127.0.0.1?cookie=", "http://127.0.0.1#x", "http://h\u00f6st", "http://127.0.0.1?geheim", "http://x@y?a@b",
]  # fmt: skip


@pytest.mark.parametrize("text", MISTAKES)
def test_a_url_of_another_form_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        NodeUrl.of(text)
    assert "geheim" not in str(caught.value)


def test_a_url_is_read_with_its_query() -> None:
    assert NodeUrl.of("http://[::1]:18443").authority == "[::1]:18443"
    assert NodeUrl.of("http://localhost").port == 8332
    assert NodeUrl.of("http://127.0.0.1:8332/?cookie=/a%20b/+c").query == {"cookie": "/a b/+c"}
    assert NodeUrl.of("http://h?user=a&password-file=/p").query == {"user": "a", "password-file": "/p"}
    hosts = {"127.9.9.9": True, "[::1]": True, "localhost": True, "node": False, "10.0.0.1": False}
    for host, is_loopback in hosts.items():
        assert NodeUrl.of(f"http://{host}").is_loopback is is_loopback


def test_cookies_are_found_as_bitcoin_cli_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    home = tmp_path / ".bitcoin"
    home.mkdir()
    assert find_cookie() == home / ".cookie"
    assert find_cookie(tmp_path / "d", "regtest") == tmp_path / "d/regtest/.cookie"
    assert find_cookie(chain="test") == home / "testnet3/.cookie"
    (home / "bitcoin.conf").write_text("signet=1 # why\n[main]\nrpccookiefile=/run/main\n[signet]\nrpccookiefile=c\n")
    assert find_cookie() == home / "signet/c"
    assert find_cookie(chain="main") == Path("/run/main")
    (home / "bitcoin.conf").write_text(
        f"datadir={tmp_path}/far\nincludeconf=more.conf\nregtest.datadir={tmp_path}/reg\n"
    )
    (home / "more.conf").write_text("chain=testnet4\n")
    assert find_cookie() == tmp_path / "far/testnet4/.cookie"
    assert find_cookie(chain="regtest") == tmp_path / "reg/regtest/.cookie"
    with pytest.raises(SourceError, match="unknown chain"):
        cookie_path(home, "mainnet")


def test_the_three_lines_come_together_and_list_what_is_called() -> None:
    auth, whitelist, default = LINES_FOR_NODE
    assert auth.startswith("rpcauth=watchdog:")
    assert whitelist == f"rpcwhitelist=watchdog:{','.join(METHODS)}"
    assert default == "rpcwhitelistdefault=0"
    assert lines_for_node("bob:1$2")[1].startswith("rpcwhitelist=bob:getpeerinfo,")


def test_rpcauth_is_made_as_bitcoin_core_makes_it() -> None:
    # Core share/rpcauth/rpcauth.py: HMAC-SHA256 with the hex text of the salt as its key; computed with OpenSSL
    assert (
        rpcauth("pw", salt="00ff") == "watchdog:00ff$3daaddf0e080d0f2eabcac3a5e815cdebd27c2759ca95fadb5b03e8009ea9424"
    )
    assert rpcauth("pw") != rpcauth("pw")
