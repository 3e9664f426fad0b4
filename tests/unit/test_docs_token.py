"""docs/API.md: the token that its lines make is one that the service takes."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

from tests.support.parts import program
from watchdog.service.config.read import load_config

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "API.md").read_text(encoding="utf-8")


def test_the_documented_token_is_taken(tmp_path: Path) -> None:
    program("openssl")
    (line,) = re.findall(r"^(umask .* > api\.token)$", TEXT, re.MULTILINE)
    (block,) = re.findall(r"^```yaml\n(api:\n.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    subprocess.run(["bash", "-euc", line], cwd=tmp_path, check=True)
    (tmp_path / "watchdog.yaml").write_text(f"sources: [log:debug.log]\n{block}")
    config = load_config(tmp_path / "watchdog.yaml")
    assert config.warnings == ()
    assert config.api.token is not None
    assert len(config.api.token.reveal()) == 64
    assert stat.S_IMODE((tmp_path / "api.token").stat().st_mode) == 0o600
