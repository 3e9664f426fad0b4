"""`watchdog.yaml`: every mistake with its place, secrets never shown, one table for reader, schema and page."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from alerts.delivery.headers import request_headers
from watchdog.cli.main import main
from watchdog.docs_build.key_tables import DOCS, TABLES, documented
from watchdog.located_yaml.problem import Report
from watchdog.located_yaml.reader import read_yaml, source_text
from watchdog.service.assembly import receiver
from watchdog.service.config.keys import SECTIONS, TOP
from watchdog.service.config.read import ConfigError, load_config
from watchdog.service.config.schema import config_schema
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.reload import needs_restart

KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLD_KEY = "whsec_" + base64.b64encode(b"o" * 32).decode()
WHOLE = """
node: alice
sources:
  - capture:messages
  - log:/var/debug.log
rules: [one.yaml, more]
packs: false
asmap: ip_asn.map
database: {env: DATABASE}
checkpoint: {folder: state, every: 1m}
api:
  listen: 0.0.0.0:9000
  token: {file: token}
  public_url: https://example.org/watchdog/
receivers:
  ops:
    url: https://example.org/hook
    secret: {file: key}
    previous: [{env: OLD_KEY}]
    severity: high
    events: [incident.opened, incident.resolved]
    rate_per_minute: 5
    timeout: 3s
    headers: {x-team: blue, Authorization: {env: TOKEN}}
  chat: {url: {env: CHAT}, format: alertmanager, allow_private: true, enabled: false}
heartbeat: {receiver: ops, every: 5m}
retention: {resolved: 10d, deliveries: 2d}
queues: {changes: 10, events: 20}
log_level: debug
"""
ENVIRONMENT = {
    "DATABASE": "postgresql://watchdog:hunter2hunter2@db/watchdog",
    "OLD_KEY": OLD_KEY,
    "TOKEN": "Bearer hunter2hunter2",
    "CHAT": "http://10.0.0.9/hunter2hunter2",
}


def written(folder: Path, text: str, **files: str) -> Path:
    for name, content in files.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    path = folder / "watchdog.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def whole(tmp_path: Path) -> ServiceConfig:
    path = written(tmp_path, WHOLE, token="hunter2hunter2hunter2\n", key=f"{KEY}\n")
    return load_config(path, ENVIRONMENT)


def faults(folder: Path, text: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(written(folder, text), environment or {})
    return str(caught.value).replace(f"{folder}/", "")


def test_every_key_is_read(whole: ServiceConfig, tmp_path: Path) -> None:
    assert (whole.node, whole.packs, whole.log_level) == ("alice", (), "debug")
    assert whole.sources == (f"capture:{tmp_path}/messages", "log:/var/debug.log")
    assert whole.rules == (tmp_path / "one.yaml", tmp_path / "more")
    assert whole.asmap == str(tmp_path / "ip_asn.map")
    assert whole.database.reveal() == ENVIRONMENT["DATABASE"]
    assert (whole.checkpoint.folder, whole.checkpoint.every_ns) == (tmp_path / "state", 60_000_000_000)
    assert (whole.api.host, whole.api.port, whole.api.url) == ("0.0.0.0", 9000, "https://example.org/watchdog")
    assert whole.api.token is not None
    assert whole.api.token.reveal() == "hunter2hunter2hunter2"
    ops, chat = (receiver(one) for one in whole.receivers)
    assert (ops.secrets, ops.severity, ops.rate_per_minute, ops.timeout_s) == ((KEY, OLD_KEY), "high", 5, 3.0)
    assert ops.headers == {"x-team": "blue", "authorization": "Bearer hunter2hunter2"}
    assert ops.events == ("incident.opened", "incident.resolved")
    assert (chat.url, chat.format, chat.allow_private, chat.enabled) == (
        ENVIRONMENT["CHAT"],
        "alertmanager",
        True,
        False,
    )
    assert whole.heartbeat is not None
    assert (whole.heartbeat.receiver, whole.heartbeat.every_ns) == ("ops", 300_000_000_000)
    assert (whole.queues.changes, whole.queues.events) == (10, 20)
    assert whole.retention.resolved_ns == 10 * 86_400_000_000_000


def test_no_secret_shows_anywhere(whole: ServiceConfig, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("%s %r", whole, whole)
    shown = f"{whole!r} {whole} {caplog.text} {[receiver(one) for one in whole.receivers]!r}"
    assert "hunter2" not in shown
    assert KEY not in shown
    assert "environment variable DATABASE" in shown


def test_the_least_configuration_gets_the_defaults_of_the_table(tmp_path: Path) -> None:
    found = load_config(written(tmp_path, "sources: log:debug.log\n"), {})
    assert found.sources == (f"log:{tmp_path}/debug.log",)
    assert found.database.reveal() == f"sqlite:///{tmp_path}/watchdog.db"
    assert (found.api.host, found.api.port, found.packs, found.node) == ("127.0.0.1", 8380, ("default",), "node")
    assert found.checkpoint.folder == tmp_path


def test_all_mistakes_are_told_at_once_with_place_and_hint(tmp_path: Path) -> None:
    text = """\
sources: [capture:a, lgo:b]
databse: x
api: {listen: "0.0.0.0:80"}
receivers:
  ops: {url: "https://10.0.0.1/x", severity: hihg}
  Bad: {url: "https://example.org"}
  dark:
    url: ftp://example.org/x
    timeout: 10
heartbeat: {receiver: opps}
queues: {changes: 0}
"""
    found = faults(tmp_path, text)
    for wanted in (
        "watchdog.yaml:1:22: unknown kind of source 'lgo'",
        "did you mean 'log:b'?",
        "watchdog.yaml:2:1: unknown key 'databse'",
        "did you mean 'database'?",
        "watchdog.yaml:3:15: listening on 0.0.0.0 needs a token",
        "watchdog.yaml:5:14: 10.0.0.1 is private",
        "watchdog.yaml:5:46: unknown severity 'hihg'",
        "watchdog.yaml:6:3: bad name of a receiver 'Bad'",
        "watchdog.yaml:8:10: scheme 'ftp'",
        "watchdog.yaml:9:14: 'timeout' is not a duration: '10'",
        "watchdog.yaml:10:23: no receiver 'opps'",
        "did you mean 'ops'?",
        "watchdog.yaml:11:19: 'changes' must be 1 to 100000",
    ):
        assert wanted in found


def test_a_secret_in_the_open_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = """\
sources: log:a
database: postgresql://me:hunter2hunter2@db/x
nonsense: 1
api: {token: hunter2hunter2, listen: "localhost:1"}
receivers:
  ops: {url: "https://u:hunter2@example.org/", secret: whsec_hunter2, headers: {Cookie: hunter2}, severity: odd}
"""
    found = faults(tmp_path, text)
    assert "hunter2" not in found
    assert found.count("holds a password") == 2
    assert "header 'cookie' holds a secret" in found
    assert "watchdog.yaml:6:109: unknown severity 'odd'" in found, (
        "other mistakes of that line are reported without the line"
    )
    assert "    3 | nonsense: 1" in found, "lines without secrets are shown"


HEADERS = "sources: log:a\nreceivers:\n  ops: {url: 'https://example.org/', headers: {%s}}\n"


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "transfer-encoding",
        "content-length",
        "Content-Type",
        "HOST",
        "user-agent",
        "webhook-id",
        "Webhook-Extra",
    ],
)
def test_a_header_that_would_not_be_sent_is_a_mistake(tmp_path: Path, name: str) -> None:
    assert "unsent" not in request_headers({name: "unsent"}, {"webhook-id": "msg"}).values()
    found = faults(tmp_path, HEADERS % f"x-team: blue, {name}: x")
    assert f"watchdog.yaml:3:62: header '{name.lower()}' is set by the watchdog itself" in found


def test_every_header_that_loads_is_sent(tmp_path: Path) -> None:
    names = ("x-team", "te", "accept", "webhooks", "x-webhook-id", "content-language", "Authorization", "X-Api-Key")
    given = ", ".join(f"{name}: {{env: VALUE}}" for name in names)
    [ops] = load_config(written(tmp_path, HEADERS % given), {"VALUE": "hunter2"}).receivers
    loaded = receiver(ops).headers
    assert loaded == {name.lower(): "hunter2" for name in names}
    assert loaded.items() <= request_headers(loaded, {"webhook-id": "msg"}).items()


def test_a_header_in_two_spellings_is_a_mistake(tmp_path: Path) -> None:
    assert ":3:62: header 'x-team' is given twice" in faults(tmp_path, HEADERS % "x-team: blue, X-Team: red")


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("{env: NOT_SET}", "environment variable 'NOT_SET' is not set"),
        ("{env: BLANK}", "environment variable 'BLANK' is empty"),
        ("{env: whsec_abc=}", "not the name of an environment variable"),
        ("{file: nowhere}", "secret file 'nowhere' cannot be read: no such file or directory"),
        ("{file: a, env: B}", "must have one key, file or env"),
        ("{env: SHORT}", "environment variable SHORT: a signing secret"),
        ("{env: ODD}", "holds a line break or another character"),
    ],
)
def test_a_secret_that_cannot_be_used_says_why(tmp_path: Path, secret: str, said: str) -> None:
    text = f"sources: log:a\nreceivers:\n  ops: {{url: 'https://example.org/', secret: {secret}}}\n"
    found = faults(tmp_path, text, {"BLANK": " ", "SHORT": "whsec_hunter2=", "ODD": "whsec_a\nb"})
    assert said in found
    assert "hunter2" not in found


def test_a_secret_file_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    text = "sources: log:a\nreceivers:\n  ops: {url: 'https://example.org/', secret: {file: key}}\n"
    path = written(tmp_path, text, key=KEY)
    (tmp_path / "key").chmod(0o644)
    [warning] = load_config(path, {}).warnings
    assert "can be read by others (mode 644)" in warning
    assert KEY not in warning


def test_a_short_token_and_a_missing_file_are_mistakes(tmp_path: Path) -> None:
    assert "the token is shorter than 16" in faults(tmp_path, "sources: log:a\napi: {token: {env: T}}\n", {"T": "abc"})
    with pytest.raises(ConfigError, match="cannot read: no such file") as caught:
        load_config(tmp_path / "nowhere.yaml", {})
    assert caught.value.unreadable


@pytest.mark.parametrize(
    "text", ["", "[]", "sources:", "sources: []", "sources: {a: b}", "a: &x 1", "{", "sources: 'x"]
)
def test_texts_that_are_no_configuration_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text), {})
    assert "\n" not in caught.value.in_one_line()


def plain_data(text: str) -> Any:
    """The configuration as JSON-able data, for the schema."""
    import yaml

    return yaml.safe_load(text)


def test_the_schema_takes_what_the_reader_takes_and_knows_every_key() -> None:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(plain_data(WHOLE), schema)
    for wrong in ("{}", "{sources: 'x:y'}", "{sources: 'log:a', packs: 1}", "{sources: 'log:a', api: {token: abc}}"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(plain_data(wrong), schema)
    assert set(schema["properties"]) == {key.name for key in TOP.keys} | {section.name for section in SECTIONS}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_a_page_has_the_tables_of_keys(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert documented(page, TABLES[path]()) == page, "run `make docs`"


def test_the_page_of_the_configuration_has_every_key() -> None:
    page = (DOCS / "CONFIG.md").read_text(encoding="utf-8")
    for section in (TOP, *SECTIONS):
        for key in section.keys:
            assert f"| `{key.name}` |" in page


def test_examples_of_the_page_are_configurations(tmp_path: Path) -> None:
    page = (DOCS / "CONFIG.md").read_text(encoding="utf-8")
    examples = [part.split("```")[0] for part in page.split("```yaml\n")[1:]]
    assert len(examples) == 3
    for example in examples:
        path = written(tmp_path, example, **{"api.token": "x" * 32, "ops.secret": KEY, "bob.secret": KEY})
        assert load_config(path, {}).sources


def test_check_prints_mistakes_and_answers_with_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "sources: log:a\n")
    assert main(["check", "--config", str(path)]) == 0
    assert "no mistakes: 1 source," in capsys.readouterr().out
    path.write_text("sources: log:a\nrules: mine.yaml\n")
    assert main(["check", "--config", str(path)]) == 2
    (tmp_path / "mine.yaml").write_text("rules:\n  x-y:\n    titel: a\n")
    assert main(["check", "--config", str(path)]) == 1
    assert "mine.yaml:3:5: unknown key 'titel'" in capsys.readouterr().out
    path.write_text("sorces: log:a\n")
    assert main(["check", "--config", str(path)]) == 1
    assert main(["check", "--config", str(tmp_path / "none.yaml")]) == 2
    capsys.readouterr()
    assert main(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == config_schema()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('database: "postgresql://u@h:port/x"', "2:11: database URL: the port is not a number"),
        ('database: "postgresql://u@h:0/x"', "2:11: database URL: port 0 is not from 1 to 65535"),
        ('database: "postgresql://u@h/x?sslmood=on"', '2:11: database URL: invalid connection option "sslmood"'),
        ('database: "sqlite:///"', "2:11: database URL: a file is needed"),
        ('database: "sqlite:///:memory:"', "2:11: database URL: a file is needed"),
        ("database: sqlite:///nodir/x.db", "no such folder"),
        ("database: sqlite:///messages", "that is a folder"),
        ("database: sqlite:///two.db", "the file has 2 names"),
        ('database: "mysql://u@h/x"', "'database' must begin with"),
        ("# or twice\nsources: [log:a, capture:messages, log:./a]", "3:36: source 'log:./a' is given twice"),
        ("# or\nsources: [capture:messages, capture:link/]", "3:29: source 'capture:link/' is given twice"),
    ],
)
def test_check_refuses_what_a_start_would_and_leaves_everything_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    (tmp_path / "messages").mkdir()
    (tmp_path / "link").symlink_to("messages")
    (tmp_path / "one.db").touch()
    (tmp_path / "two.db").hardlink_to(tmp_path / "one.db")
    path = written(tmp_path, f"{'' if 'sources' in line else 'sources: log:a'}\n{line}\n")
    before = {one: one.lstat().st_mtime_ns for one in tmp_path.iterdir()}
    assert main(["check", "--config", str(path)]) == 1
    told = capsys.readouterr()
    assert said in told.out.replace("\n", " ")
    assert told.out.startswith(f"{path}:{2 + line.count(chr(10))}:")
    assert told.err == ""
    assert main(["run", "--config", str(path)]) == 2
    (one,) = capsys.readouterr().err.splitlines()
    assert said.rsplit(": ", maxsplit=1)[-1] in one
    assert {one: one.lstat().st_mtime_ns for one in tmp_path.iterdir()} == before


def test_check_tells_the_mistakes_of_rules_beside_those_of_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("rules:\n  x-y:\n    titel: a\n")
    path = written(tmp_path, "sorces: log:a\nrules: mine.yaml\npacks: false\n")
    assert main(["check", "--config", str(path)]) == 1
    told = capsys.readouterr().out
    for wanted in ("watchdog.yaml:1:1: unknown key 'sorces'", "lacks 'sources'", "mine.yaml:3:5: unknown key 'titel'"):
        assert wanted in told
    path.write_text("sorces: log:a\nrules: none.yaml\n")
    assert main(["check", "--config", str(path)]) == 2
    both = capsys.readouterr()
    assert "unknown key 'sorces'" in both.out
    assert "none.yaml: cannot read" in both.err
    path.write_text("rules: {a: b}\n")  # which rules is just what is wrong
    assert main(["check", "--config", str(path)]) == 1
    assert "lacks 'sources'" in capsys.readouterr().out


def test_a_reload_names_what_needs_a_restart(whole: ServiceConfig, tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE.replace("alice", "bob").replace(":9000", ":9001"))
    other = load_config(path, ENVIRONMENT)
    assert needs_restart(whole, other) == ["node", "api"]
    assert needs_restart(whole, whole) == []


def test_yaml_of_the_example_parses_with_places() -> None:
    report = Report()
    assert read_yaml(source_text("watchdog.yaml", WHOLE), report) is not None
    assert not report.problems


def test_a_configuration_that_is_not_there_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = ["--config", "x.yaml"]
    for argv in (["check"], ["run", *missing], ["reload"], ["receivers", "list"], ["incidents", "list", *missing]):
        assert main(argv) == 2
        (line,) = capsys.readouterr().err.splitlines()
        name = argv[-1] if argv[-1].endswith(".yaml") else "watchdog.yaml"
        assert line.startswith(f"watchdog: {name}: cannot read: no such file or directory; name another with --config")
    assert main(["rules", "check", "none.yaml"]) == 2
    assert capsys.readouterr().err == "watchdog: none.yaml: cannot read: no such file or directory\n"
