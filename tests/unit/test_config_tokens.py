"""`api.tokens`: names, roles and secrets, each mistake with its place; a reload brings them into force."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.schema import config_schema
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.reload import after_reload, needs_restart

HEAD = "sources: snapshots:s.jsonl\ndatabase: sqlite:///w.db\n"
ENVIRONMENT = {"ANNA": "anna-s-own-token-1", "VERA": "vera-may-only-read", "SHORT": "short"}


def loaded(folder: Path, api: str) -> ServiceConfig:
    return load_config(folder / "watchdog.yaml", ENVIRONMENT, text=f"{HEAD}api: {api}\n")


def token(name: str = "anna", role: str = "operator", variable: str = "ANNA") -> str:
    return f"{{name: {name}, role: {role}, token: {{env: {variable}}}}}"


def test_tokens_have_names_roles_and_secrets(tmp_path: Path) -> None:
    config = loaded(tmp_path, f"{{tokens: [{token()}, {token('vera', 'viewer', 'VERA')}]}}")
    assert [(one.name, one.role, one.token.reveal()) for one in config.api.tokens] == [
        ("anna", "operator", ENVIRONMENT["ANNA"]),
        ("vera", "viewer", ENVIRONMENT["VERA"]),
    ]
    assert ENVIRONMENT["ANNA"] not in repr(config)


def test_a_named_token_is_enough_to_listen_beyond_loopback(tmp_path: Path) -> None:
    assert loaded(tmp_path, f'{{listen: "0.0.0.0:8380", tokens: [{token()}]}}').api.host == "0.0.0.0"
    with pytest.raises(ConfigError, match="needs a token"):
        loaded(tmp_path, '{listen: "0.0.0.0:8380"}')


@pytest.mark.parametrize(
    ("tokens", "error"),
    [
        ("anna", "'tokens' must be a list of tokens"),
        ("[]", "'tokens' must be a list of tokens"),
        (f"[{token(variable='SHORT')}]", "the token is shorter than 16 characters"),
        (f"[{token(variable='NONE')}]", "environment variable 'NONE' is not set"),
        (f"[{token(role='boss')}]", "unknown role 'boss'"),
        (f"[{token(name='a b')}]", "bad name of a token 'a b'"),
        ("[{name: anna, role: viewer}]", "'api.tokens' lacks 'token'"),
        ("[{name: anna, role: viewer, token: {env: ANNA}, x: 1}]", "unknown key 'x' in 'api.tokens'"),
        ("[{name: anna, role: viewer, token: in-the-open-0123}]", "must name a file or an environment variable"),
        (f"[{token()}, {token(variable='VERA')}]", "2 tokens have the name 'anna'"),
        (f"[{token()}, {token('bert')}]", "the tokens of anna and bert are the same"),
        (f"[{', '.join([token()] * 65)}]", "has 65 tokens; at most 64"),
    ],
)
def test_mistakes_have_places_and_show_no_secret(tmp_path: Path, tokens: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"{{tokens: {tokens}}}")
    assert error in str(caught.value)
    assert "watchdog.yaml:3:" in str(caught.value)
    assert "in-the-open" not in str(caught.value)


def test_the_schema_takes_what_the_reader_takes() -> None:
    schema = config_schema()
    good = {"name": "anna", "role": "viewer", "token": {"env": "ANNA"}}
    jsonschema.validate({"sources": "log:x", "api": {"tokens": [good]}}, schema)
    for bad in ([], [{**good, "role": "boss"}], [{**good, "token": "open"}], [{"name": "anna"}]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"sources": "log:x", "api": {"tokens": bad}}, schema)


def test_a_reload_brings_tokens_into_force(tmp_path: Path) -> None:
    before, after = loaded(tmp_path, "{}"), loaded(tmp_path, f"{{tokens: [{token()}]}}")
    assert needs_restart(before, after) == []
    assert [one.name for one in after_reload(before, after, after.nodes).api.tokens] == ["anna"]
