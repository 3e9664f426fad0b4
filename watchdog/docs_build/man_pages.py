"""Manual pages made from the parser: one for the program, one for each command with its actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from watchdog.docs_build.parser_tree import CommandPage, Option

PROGRAM = "watchdog"
EXIT_CODES: Mapping[str, str] = {
    "0": "done, whatever the result",
    "1": "what was asked about is not right: mistakes in a configuration or in rules, a problem that doctor found",
    "2": "bad input: arguments, files, a full disk; without a node for doctor, init and run",
    "130": "interrupted",
    "141": "the reader of the output has closed it",
}


def man_pages(found: Sequence[CommandPage], version: str) -> dict[str, str]:
    """Return the text of each page by the name of its file. found: pages of the parser, the program's first."""
    program, *rest = found
    commands = [page for page in rest if len(page.words) == 1]
    made = {f"{PROGRAM}.1": _program(program, commands, version)}
    for page in commands:
        actions = [one for one in rest if len(one.words) > 1 and one.words[0] == page.words[0]]
        made[f"{PROGRAM}-{page.words[0]}.1"] = _command(page, actions, version)
    return made


def _program(page: CommandPage, commands: Sequence[CommandPage], version: str) -> str:
    lines = [_title(PROGRAM, version), ".SH NAME", rf"{PROGRAM} \- watch Bitcoin nodes: events in, incidents out"]
    lines += [".SH SYNOPSIS", rf".B {PROGRAM}", r"\fICOMMAND\fR [\fIOPTION\fR...]"]
    lines += [".SH DESCRIPTION", _text(page.about), ".SH COMMANDS"]
    for one in commands:
        lines += [".TP", f".B {_text(one.words[0])}", f"{_text(one.line)}; see \\fB{_name(one)}\\fR(1)"]
    return _page([*lines, ".SH OPTIONS", *_options(page.options), *_exit_codes()])


def _command(page: CommandPage, actions: Sequence[CommandPage], version: str) -> str:
    lines = [_title(_name(page), version), ".SH NAME", rf"{_text(_name(page))} \- {_text(page.line)}", ".SH SYNOPSIS"]
    for at, one in enumerate(actions or [page]):
        lines += [*([".br"] if at else []), _synopsis(one)]
    lines += [".SH DESCRIPTION", _text(page.about)]
    if actions:
        lines.append(".SH ACTIONS")
        for one in actions:
            lines += [f'.SS "{_text(" ".join(one.words[1:]))}"', _text(one.line or one.about), *_options(one.options)]
    else:
        lines += [".SH OPTIONS", *_options(page.options)]
    return _page([*lines, *_exit_codes(), ".SH SEE ALSO", rf"\fB{PROGRAM}\fR(1)"])


def _name(page: CommandPage) -> str:
    return f"{PROGRAM}-{page.words[0]}"


def _title(name: str, version: str) -> str:
    return f'.TH {name.upper()} 1 "" "bitcoin-watchdog {version}" "User Commands"'


def _synopsis(page: CommandPage) -> str:
    arguments = [_argument(one) for one in page.options if not one.names]
    rest = [r"[\fIOPTION\fR...]"] if any(one.names for one in page.options) else []
    return " ".join([rf"\fB{_text(' '.join((PROGRAM, *page.words)))}\fR", *arguments, *rest])


def _argument(option: Option) -> str:
    word = rf"\fI{_text(option.value)}\fR" + ("..." if option.several else "")
    return f"[{word}]" if option.optional else word


def _options(options: Sequence[Option]) -> Iterator[str]:
    for one in options:
        names = ", ".join(rf"\fB{_text(name)}\fR" for name in one.names)
        value = rf"\fI{_text(one.value)}\fR" if one.value else ""
        yield ".TP"
        yield " ".join(part for part in (names, value) if part)
        yield _text(one.about) or r"\&"


def _exit_codes() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_CODES.items():
        yield from (".TP", f".B {code}", _text(meaning))


def _text(text: str) -> str:
    """Return text that roff shows as it is: no escapes of its own, no line that it takes for a request."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace('"', r"\(dq")
    return rf"\&{escaped}" if escaped.startswith(".") else escaped


def _page(lines: Sequence[str]) -> str:
    head = r".\" Made from the parser by `make docs`."
    return "\n".join([head, *lines]) + "\n"
