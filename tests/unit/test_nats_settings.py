"""Where and how `nats:` connects: what a configuration or a command line may say, and what it must not show."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from tests.support.parts import program
from watchdog.core.errors import SourceError, WatchdogError
from watchdog.core.source import SourceOptions
from watchdog.service.config.read import load_config
from watchdog.sources.nats import settings
from watchdog.sources.nats.descriptors import PROTO, STORED
from watchdog.sources.registry import kinds_of, open_sources, split_source

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("127.0.0.1:4222", "has another form; expected nats://HOST:PORT"),
        ("http://127.0.0.1:4222", "has another form"),
        ("nats://", "has another form"),
        ("nats://h:0", "the port of the NATS server must be 1 to 65535"),
        ("nats://h:99999", "is not a URL"),
        ("nats://h/path", "has a path"),
        (f"nats://user:{SECRET}@h:4222", "holds a user, a password or a token"),
        (f"nats://{SECRET}@h:4222", "holds a user, a password or a token"),
        (f"nats://h?password={SECRET}", "holds a secret; write password-file=PATH"),
        (f"nats://h?token={SECRET}", "holds a secret; write token-file=PATH"),
        ("nats://h?what=1", "has an unknown option"),
        ("nats://h?user=a", "needs both 'user' and 'password'"),
        ("nats://h?user=a&user=b", "gives 'user' twice"),
        ("nats://h?user=", "gives 'user' no value"),
        ("nats://h?user=a&password-file=b&token-file=c", "either a user and a password, or a token"),
        ("nats://h?protocol=2020-01", "'2020-01' is no protocol; there are 2024-11, 2025-12, 2026-01"),
        ("nats://h?subjects=net msg", "has another form"),
        ("nats://h?subjects=,", "is no subject"),
        ("nats://h?ca=/x", "'ca' is for tls:// alone"),
    ],
)
def test_a_place_that_cannot_be_used_says_what_to_write_and_hides_secrets(place: str, fault: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_sources([f"nats:{place}"], SourceOptions(follow=True))
    assert fault in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("nats", "the package nats-py is not installed; pip install 'bitcoin-watchdog[nats]'"),
        ("google.protobuf", "the package protobuf is not installed; pip install 'bitcoin-watchdog[nats]'"),
    ],
)
def test_a_missing_package_is_an_error_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, package: str, line: str
) -> None:
    def found(name: str) -> object:
        return None if name == package else find_spec(name)

    monkeypatch.setattr(settings, "find_spec", found)
    with pytest.raises(SourceError) as caught:
        split_source("nats:nats://127.0.0.1")
    assert str(caught.value) == line
    archive = "peer-observer:main.bin"
    if package == "nats":
        assert split_source(archive) == ("peer-observer", "main.bin")
    else:
        with pytest.raises(SourceError, match="protobuf is not installed"):
            split_source(archive)


@pytest.mark.skipif(find_spec("nkeys") is not None, reason="the package nkeys is installed")
def test_a_credentials_file_names_the_package_that_it_needs() -> None:
    with pytest.raises(SourceError, match=r"pip install 'nats-py\[nkeys\]'"):
        split_source("nats:nats://127.0.0.1?creds=x.creds")


FULL = """sources:
  - nats: nats://127.0.0.1:4222
    protocol: 2025-12
    subjects: netmsg,rpc
    user: watch
    password: {env: NATS_PASSWORD}
"""


def test_a_configuration_names_protocol_subjects_and_a_password(tmp_path: Path) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(FULL, encoding="utf-8")
    config = load_config(path, {"NATS_PASSWORD": SECRET})
    (text,) = config.sources
    found = settings.NatsSettings.of(settings.NatsUrl.of(text.removeprefix("nats:")), config.source_settings[text])
    assert (found.protocol, found.subjects, found.user) == ("2025-12", ("netmsg", "rpc"), "watch")
    assert found.password is not None
    assert found.password() == SECRET
    assert SECRET not in repr(config) + repr(found)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("nats: nats://127.0.0.1, user: a", "needs both 'user' and 'password'"),
        ("nats: nats://127.0.0.1, protocol: 2023-01", "protocol"),
        ("nats: 'nats://127.0.0.1?user=a&password-file=b', protocol: 2025-12", "write them as keys of the source"),
        ("nats: 'nats://a:hunter2@127.0.0.1'", "holds a user, a password or a token"),
        ("nats: nats://127.0.0.1, password: hunter2, user: a", "must name a file or an environment variable"),
    ],
)
def test_a_mistake_in_a_configuration_is_named_and_shows_no_secret(tmp_path: Path, source: str, fault: str) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(f"sources:\n  - {{{source}}}\n", encoding="utf-8")
    with pytest.raises(WatchdogError) as caught:
        load_config(path, {})
    assert fault in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_address_beyond_this_machine_is_a_warning_without_tls() -> None:
    assert "NATS is plain text" in settings.check_nats("nats://192.0.2.1", {})
    assert not settings.check_nats("tls://192.0.2.1", {})
    assert not settings.check_nats("nats://[::1]:4222", {})


def test_a_source_has_the_kinds_of_its_subjects() -> None:
    whole = kinds_of("nats:nats://127.0.0.1")
    assert kinds_of("nats:nats://127.0.0.1?subjects=mempool") == {
        "mempool:added", "mempool:removed", "mempool:replaced", "mempool:rejected", "source:gap",
    }  # fmt: skip
    assert "net:inbound_message" not in kinds_of("nats:nats://127.0.0.1?subjects=netconn")
    assert "net:closed_connection" not in kinds_of("nats:nats://127.0.0.1?subjects=netmsg")
    assert kinds_of("nats:nats://127.0.0.1?subjects=>") == whole
    assert kinds_of("peer-observer:main.bin") == whole


def test_the_stored_descriptors_are_those_of_the_proto_files(tmp_path: Path) -> None:
    out = tmp_path / "descriptors.binpb"
    files = ["archive.proto", *sorted(path.name for path in PROTO.glob("envelope_*.proto"))]
    compiler = program("protoc")
    subprocess.run(
        (compiler, "-I", ".", "--include_imports", f"--descriptor_set_out={out}", *files), cwd=PROTO, check=True
    )
    compiled = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    stored = descriptor_pb2.FileDescriptorSet.FromString(STORED.read_bytes())
    by_name = [{file.name: file for file in whole.file} for whole in (stored, compiled)]
    assert by_name[0] == by_name[1], "run `make proto`"
