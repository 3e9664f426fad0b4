"""Manual pages and shell completion, made from the parser. `make docs` runs this module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from watchdog.cli.main import COMMANDS, Command, OneLineParser, available, module_of, program_parser
from watchdog.core.release import VERSION
from watchdog.docs_build.completion import bash_completion
from watchdog.docs_build.man_pages import man_pages
from watchdog.docs_build.parser_tree import pages

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MAN, COMPLETION = DEPLOY / "man", DEPLOY / "completion" / "watchdog.bash"


def whole_parser() -> OneLineParser:
    """Return the parser with all commands configured; the program itself configures one of them."""
    parser = program_parser()
    listing = parser.add_subparsers(metavar="COMMAND", required=True)
    lines = dict(COMMANDS)
    for name in available():
        page = listing.add_parser(name, help=lines[name], allow_abbrev=False)
        command = cast("Command", importlib.import_module(module_of(name)))
        page.description = command.SUMMARY
        command.configure(page)
    return parser


def files() -> dict[Path, str]:
    """Return the text of each file, by its place in the repository."""
    found = list(pages(whole_parser()))
    made = {MAN / name: text for name, text in man_pages(found, VERSION).items()}
    return {**made, COMPLETION: bash_completion(found)}


def main(arguments: Sequence[str]) -> int:
    """Write all files and remove pages of commands that are gone. With `--check`: 1 when one is not current."""
    made = files()
    old = [path for path in MAN.glob("*.1") if path not in made] if MAN.is_dir() else []
    if "--check" in arguments:
        current = all(path.exists() and path.read_text(encoding="utf-8") == text for path, text in made.items())
        return 0 if current and not old else 1
    for path in old:
        path.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
