"""Runs the commands that README.md shows, in its order and in one folder; `python -m tests.support.readme` renews them.

A `console` block holds commands (`$ ...`) with what they print; an `sh` block holds commands that print nothing. Blocks
that call make are left out: they would test themselves.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command with the output that the README shows for it; None in an `sh` block."""

    command: str
    shown: str | None


def steps(text: str) -> Iterator[Step]:
    """All commands of a Markdown text, without those of make."""
    for kind, body in BLOCK.findall(text):
        if kind == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, shown = part.partition("\n")
                yield Step(command, shown)
        elif not re.search(r"^make ", body, re.MULTILINE):
            yield Step(body, None)


def outputs(found: Sequence[Step], folder: Path) -> list[str]:
    """What each command prints, standard error included, run one after the other in `folder` with the demo beside."""
    (folder / "demo").symlink_to(ROOT / "demo")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    return [
        subprocess.run(
            ["bash", "-c", step.command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        ).stdout
        for step in found
    ]


def normalised(output: str) -> str:
    """The output without trailing blanks: numbers of rules and hashes count, a rule that changes needs `make docs`."""
    return "\n".join(line.rstrip() for line in output.splitlines()).rstrip()


def renewed(text: str) -> str:
    """The text with the outputs of today."""
    found = list(steps(text))
    with tempfile.TemporaryDirectory() as folder:
        printed = dict(zip(found, outputs(found, Path(folder)), strict=True))
    broken = [step.command for step, output in printed.items() if "Traceback" in output]
    if broken:
        raise SystemExit(f"README.md is left as it is, these commands break: {'; '.join(broken)}")

    def block(match: re.Match[str]) -> str:
        if match[1] != "console":
            return match[0]
        body = "".join(f"$ {step.command}\n{_shown(printed[step])}" for step in steps(match[0]))
        return f"```console\n{body}```"

    return BLOCK.sub(block, text)


def _shown(output: str) -> str:
    lines = normalised(output)
    return f"{lines}\n" if lines else ""


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
