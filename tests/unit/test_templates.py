"""Templates of messages: what they may hold, how they end, and where their mistakes are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from alerts.delivery import template_engine
from alerts.delivery.case_message import LONGEST_FIRST
from alerts.delivery.message import message_of, variables_of
from alerts.delivery.samples import sample_body
from alerts.delivery.template import CompiledTemplate, compile_template
from alerts.delivery.template_terms import FILTERS, LARGEST, LONGEST_OUTPUT, MOST_STEPS, NAMES, TemplateError
from alerts.notice import CASE_EVENT_TYPES
from watchdog.core.text import printable
from watchdog.service.config.read import ConfigError, load_config

BODY = sample_body("case.stage", "https://watch.example.org")
USUAL = message_of(BODY)
GUIDE = Path(__file__).parents[2] / "docs" / "TEMPLATES.md"


def block(text: str, name: str = "body") -> str:
    return f"{{% block {name} %}}{text}{{% endblock %}}"


def made(text: str) -> tuple[str, ...]:
    """Return the paragraphs of a template of one body."""
    return message_of(BODY, template=compile_template(block(text))).parts


def fault_of(source: str, body: dict[str, object] = BODY) -> TemplateError:
    """Return the mistake of a template, when it is compiled or when it runs."""
    with pytest.raises(TemplateError) as caught:
        compile_template(source).render(variables_of(body), str)
    return caught.value


def test_a_template_has_a_first_line_paragraphs_or_both() -> None:
    both = compile_template(block("[prod] {{ first }}", "first") + "\n" + block("{{ new }}\n\n{{ do }}"))
    message = message_of(BODY, template=both)
    assert message.first.startswith("[prod] HIGH alice: new stage outbound: ")
    assert [part[:5] for part in message.parts] == ["New: ", "Compa"]
    assert message.url == USUAL.url
    first = message_of(BODY, template=compile_template(block("{{ short }}", "first")))
    assert (first.first, first.parts) == ("6ed2cb2a", USUAL.parts)
    body = message_of(BODY, template=compile_template(block("{{ short }}")))
    assert (body.first, body.parts) == (USUAL.first, ("6ed2cb2a",))


def test_the_usual_paragraphs_can_be_written_again() -> None:
    assert made("{% for one in paragraphs %}{{ one }}\n\n{% endfor %}") == USUAL.parts


def test_every_name_and_filter_can_be_used() -> None:
    lists = {"paragraphs", "change", "stages", "parties", "incidents", "notices", "aliases", "announced", "related"}
    lists |= {"advice", "entities", "data"}
    for name in NAMES:
        compile_template(block(f"{{{{ {name}|length }}}}" if name in lists else f"{{{{ {name} }}}}"))
    used = {
        "default": "{{ continues|default('none', true) }}",
        "first": "{{ stages|first }}",
        "int": "{{ opened|int }}",
        "join": "{{ parties|join(', ', 'name') }}",
        "last": "{{ stages|last }}",
        "lasting": "{{ (updated - opened)|lasting }}",
        "length": "{{ parties|length + parties_beyond }}",
        "lower": "{{ severity|upper|lower }}",
        "round": "{{ 2.6|round }}",
        "sort": "{{ stages|sort|join(' ') }}",
        "truncate": "{{ headline|truncate(12) }}",
        "upper": "{{ severity|upper }}",
        "utc": "{{ opened|utc }}",
    }
    assert used.keys() == FILTERS.keys()
    assert made("\n\n".join(used.values())) == (
        "none", "poisoning", "1780000000", "198.51.0.0/16, 203.0.113.9", "outbound", "3h", "2", "high", "3",
        "outbound poisoning", "Eclipse...", "HIGH", "2026-05-28 20:26 UTC",
    )  # fmt: skip


def test_conditions_loops_and_empty_values() -> None:
    text = "{% if 'outbound' in stages and severity != 'info' %}yes{% else %}no{% endif %} {{ resolved }}{{ false }}"
    assert made(text) == ("yes no",)
    assert made("{% for p in parties if p.firing %}{{ loop.index }} {{ p.name ~ '!' }} {% endfor %}") == (
        "1 198.51.0.0/16! 2 203.0.113.9! ",
    )


def test_values_are_harmless_and_escaped_and_the_operators_own_text_is_not() -> None:
    body = BODY | {"headline": "<b>\x1b[31m\u202e\n\n&"}
    template = compile_template(block("<i>{{ headline }}</i>"))
    message = message_of(body, escape=lambda text: text.replace("<", "&lt;"), template=template)
    assert message.parts == ("<i>&lt;b>\\x1b[31m\\u{202e}\\x0a\\x0a&</i>",)


def test_line_breaks_of_ours_stay_in_a_template_too() -> None:
    template = compile_template(block("{{ seen }}"))
    (part,) = message_of(BODY, escape=printable, template=template).parts
    assert len(part.split("\n")) == 3


def test_a_long_first_line_is_cut_at_a_space() -> None:
    template = compile_template(block("{{ headline }} " * 5, "first"))
    first = message_of(BODY, escape=lambda text: text.replace("e", "&amp;"), template=template).first
    assert len(first) <= LONGEST_FIRST
    assert first.count("&") == first.count("&amp;")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ nope }}", "'nope' is undefined"),
        ("{{ change.nope }}", "there is nothing named 'nope' here"),
        ("{{ parties[9].name }}", "there is nothing named '9' here"),
        ("{{ parties }}", "a list or a table is no text"),
        ("{{ data.items }}", "a list or a table is no text"),
        ("{{ range(9) }}", "a template cannot hold a call"),
        ("{% macro m() %}{% endmacro %}", "a template cannot hold a macro"),
        ("{% set a = 1 %}", "a template cannot hold 'set'"),
        ("{% include 'a' %}", "a template cannot hold 'include'"),
        ("{% import 'a' as b %}", "a template cannot hold 'import'"),
        ("{{ 'a' * 9 }}", "a template cannot hold '*'"),
        ("{{ 9 ** 9 }}", "a template cannot hold '**'"),
        ("{{ '%9d' % 9 }}", "a template cannot hold '%'"),
        ("{{ 'a' + 'b' }}", "'+' takes numbers"),
        ("{{ parties|map('x') }}", "no filter 'map'"),
        ("{{ parties|counted }}", "no filter 'counted'"),
        ("{{ parties|join(', ') }}", "join takes texts and numbers"),
        ("{% for a in parties recursive %}{% endfor %}", "a loop cannot be recursive"),
        ("{% block x %}{% endblock %}", "a block cannot be inside another"),
        ("{% if %}", "Expected an expression"),
        ("{{ " + "(" * 3_000 + "1" + ")" * 3_000 + " }}", "nested too deeply"),
        ("{{ " + "9" * 5_000 + " }}", "too long"),
    ],
)
def test_what_a_template_may_not_hold_is_a_mistake(text: str, said: str) -> None:
    assert said in str(fault_of(block(text)))


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ url['__class__'] }}",
        "{{ data.__init__.__globals__ }}",
        "{{ (data|length).__class__ }}",
        "{{ self.first }}",
        "{{ _escape }}",
        "{{ _meter.until_s }}",
        "{% for _meter in parties %}{% endfor %}",
        "{{ lipsum.__globals__ }}",
        "{{ cycler.__init__ }}",
        "{{ loop.__class__ }}",
        "{% for a in parties %}{{ loop.__init__ }}{% endfor %}",
        "{{ '{0.__class__}'.format(1) }}",
    ],
)
def test_there_is_no_way_out_of_the_sandbox(text: str) -> None:
    assert fault_of(block(text)).line == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{% for a in data %}" * 8 + "{% endfor %}" * 8, f"more than {MOST_STEPS} steps"),
        ("{% for a in data %}" * 5 + "x" * 9_000 + "{% endfor %}" * 5, f"longer than {LONGEST_OUTPUT} characters"),
        ("{{ headline }}" * 4_000, f"longer than {LONGEST_OUTPUT} characters"),
        ("{{ " + "~".join(["headline"] * 4_000) + " }}", f"longer than {LONGEST_OUTPUT} characters"),
        ("{{ stages|join(stages|join(stages|join('" + "y" * 9_000 + "'))) }}", f"longer than {LONGEST_OUTPUT}"),
        ("{{ data ~ data }}", "join takes texts and numbers"),
    ],
)
def test_a_run_is_bounded(text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_engine, "LONGEST_RUN_S", 60.0)
    started = time.monotonic()
    assert said in str(fault_of(block(text)))
    assert time.monotonic() - started < 60, "it ends; the bound itself is in steps and characters"


def test_the_time_of_a_run_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_engine, "LONGEST_RUN_S", -1.0)
    assert "it takes more than" in str(fault_of(block("{% for a in data %}" * 8 + "{% endfor %}" * 8)))


def test_a_template_has_a_largest_size() -> None:
    compile_template(block("x" * (LARGEST - 40)))
    assert "at most 64 KiB" in str(fault_of(block("x" * LARGEST)))


@pytest.mark.parametrize("source", ["", "hello", block("x") + "lost", "{% extends 'a' %}", block("x", "other")])
def test_what_would_be_lost_is_a_mistake(source: str) -> None:
    fault_of(source)


def test_a_template_that_fails_is_reported_in_the_usual_message() -> None:
    message = message_of(BODY | {"stages": 7}, template=compile_template(block("a\n{{ stages|join(', ') }}")))
    assert message.first == USUAL.first
    assert message.parts[-1].startswith("The template of this receiver failed (line 2: ")


def test_equal_sources_are_equal_templates() -> None:
    assert compile_template(block("x")) == compile_template(block("x")) != compile_template(block("y"))


# ---- configuration


def written(folder: Path, template: str, form: str = "webhook") -> Path:
    path = folder / "watchdog.yaml"
    (folder / "signing").write_text("whsec_" + "A" * 43 + "=")
    (folder / "signing").chmod(0o600)
    secret = "    secret: {file: signing}\n"
    path.write_text(
        f"sources: log:a\nreceivers:\n  ops:\n    url: https://example.org/a\n    format: {form}\n{secret}"
        f"    template: {template}\n"
    )
    return path


def problems(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def test_a_template_in_the_file_and_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, f"|\n      {block('{{ first }}', 'first')}\n      {block('{{ new }}')}")
    found = load_config(path).receivers[0].template
    assert isinstance(found, CompiledTemplate)
    (tmp_path / "own.txt").write_text(found.source)
    assert load_config(written(tmp_path, "{file: own.txt}")).receivers[0].template == found


def test_a_mistake_is_shown_at_its_line(tmp_path: Path) -> None:
    shown = problems(written(tmp_path, "|\n      {% block body %}\n      {{ nope }}\n      {% endblock %}"))
    assert "watchdog.yaml:9:7: template: 'nope' is undefined" in shown
    (tmp_path / "own.txt").write_text("{% block body %}\n\n{{ change.nope }}\n{% endblock %}")
    shown = problems(written(tmp_path, "{file: own.txt}"))
    assert "own.txt:3:1: template: there is nothing named 'nope' here (in a message of case.opened)" in shown
    assert shown.count("nope'") == 1, "a mistake is shown once, not for each change"


def test_a_mistake_in_one_change_only_is_found(tmp_path: Path) -> None:
    text = "{% block body %}{% if kind == 'merged' %}{{ parties[1].nope }}{% endif %}{% endblock %}"
    assert "in a message of case.merged" in problems(written(tmp_path, f'"{text}"'))
    assert {one.removeprefix("case.") for one in CASE_EVENT_TYPES} >= {"merged", "reopened", "escalated"}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{file: missing.txt}", "cannot be read: no such file"),
        ("{env: NAME}", "'template' must have one key, file"),
        ("[a]", "'template' must be the text of a template"),
        ("{file: latin.txt}", "is not UTF-8"),
        ("{file: large.txt}", "a template has at most 64 KiB"),
    ],
)
def test_what_is_no_template_is_refused(tmp_path: Path, template: str, said: str) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    (tmp_path / "large.txt").write_text("x" * (LARGEST + 9))
    assert said in problems(written(tmp_path, template))


def test_a_format_of_data_warns_that_a_template_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, f'"{block("x")}"')
    assert any("sends data, so 'template' changes nothing" in one for one in load_config(path).warnings)


def test_the_guide_lists_every_name_and_filter() -> None:
    text = GUIDE.read_text()
    for name, about in NAMES.items():
        assert f"| `{name}` | {about} |" in text
    for name, about in FILTERS.items():
        assert f"| `{name}` | {about.replace('|', chr(92) + '|')} |" in text
