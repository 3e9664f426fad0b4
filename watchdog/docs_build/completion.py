"""Completion for bash made from the parser; zsh takes the same file with bashcompinit."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from watchdog.docs_build.parser_tree import FILES, CommandPage

HEAD = """\
# Completion of `watchdog` for bash; made from the parser by `make docs`.
# zsh: autoload -U +X bashcompinit && bashcompinit, then source this file.
"""
BODY = """\
_watchdog() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} key='' word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        [[ " $(_watchdog_words "$key") " == *" $word "* ]] || break
        key="${key:+$key }$word"
    done
    local words
    words=$(_watchdog_values "$key" "$previous")
    if [[ -z $words && $current == -* ]]; then
        words=$(_watchdog_options "$key")
    elif [[ -z $words ]]; then
        words=$(_watchdog_words "$key")
        words=${words:-@files}
    fi
    COMPREPLY=()
    case $words in
        @none) ;;
        @files) compopt -o default 2>/dev/null ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
    esac
}
complete -F _watchdog watchdog
"""


def bash_completion(found: Sequence[CommandPage]) -> str:
    """Return the script. found: pages of the parser, the program's first."""
    words = _function("words", (((" ".join(page.words)), page.actions) for page in found))
    options = _function(
        "options", ((" ".join(page.words), [name for one in page.options for name in one.names]) for page in found)
    )
    return f"{HEAD}{words}{options}{_values(found)}{BODY}"


def _function(name: str, rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a function that prints words by the command and action before them."""
    lines = [f"        {shlex.quote(key)}) echo {shlex.quote(' '.join(values))} ;;" for key, values in rows if values]
    return "\n".join([f"_watchdog_{name}() {{", '    case "$1" in', *lines, "    esac", "}", ""])


def _values(found: Sequence[CommandPage]) -> str:
    """Return the function for the value of an option: its choices, `@files`, or `@none` for a word of the user's."""
    lines = []
    for page in found:
        for one in page.options:
            if not one.names or not one.value:
                continue
            values = " ".join(one.choices) or ("@files" if one.value in FILES else "@none")
            keys = "|".join(shlex.quote(" ".join([*page.words, name])) for name in one.names)
            lines.append(f"        {keys}) echo {shlex.quote(values)} ;;")
    return "\n".join(["_watchdog_values() {", '    case "$1 $2" in', *lines, "    esac", "}", ""])
