"""Missing parts skip a test, and fail it where nothing may be missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import parts

NAMES = ("git", "openssl", "mount", "chromium", "postgresql")
OUTCOMES = (pytest.skip.Exception, pytest.fail.Exception)


@pytest.mark.parametrize(("ci", "outcome"), [("", OUTCOMES[0]), ("true", OUTCOMES[1])])
def test_a_missing_program_fails_in_ci_only(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="not installed: no-such-program or nor-this"):
        parts.program("no-such-program", "nor-this")
    assert Path(parts.program("no-such-program", "sh")).name == "sh"


@pytest.mark.parametrize(("required", "outcome"), [("", OUTCOMES[0]), ("1", OUTCOMES[1])])
def test_missing_recordings_fail_only_where_they_are_required(
    required: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("WATCHDOG_REQUIRE_RECORDINGS", required)
    monkeypatch.setattr(parts, "SHARED", tmp_path)
    with pytest.raises(outcome, match=r"'\.\./shared/recordings' beside the repository does not exist"):
        parts.shared("recordings")
    (tmp_path / "recordings").mkdir()
    assert parts.shared("recordings") == tmp_path / "recordings"


def test_ci_installs_every_part(root: Path) -> None:
    listed = re.findall(r'^    "([\w.-]+)\|', (root / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(NAMES) <= set(listed)


def test_tests_skip_in_no_other_way(root: Path) -> None:
    """Left: no git checkout, Core source, binary, other kernel; no right to mount, be refused or be other users."""
    found = {
        path.name: len(hits)
        for path in sorted((root / "tests").rglob("*.py"))
        if path.name not in {"parts.py", "test_parts.py"}
        and (hits := re.findall(r"pytest\.skip\(|skipif\(|importorskip\(", path.read_text(encoding="utf-8")))
    }
    needs_rights = {"test_hardening.py": 1, "test_service_connections.py": 1, "test_source_paths.py": 1}
    needs_rights |= {"test_capture_prune.py": 1, "test_doctor.py": 2, "test_doctor_nodes.py": 2}
    needs_rights |= {"test_config_ipc.py": 1, "test_first_run.py": 1, "test_ring.py": 1}
    needs_core = {"test_fleet_real_nodes.py": 4, "test_rpc_real_node.py": 1, "test_ipc_real_node.py": 1}
    needs_core |= {"test_advice_commands.py": 1}
    needs_core |= {"test_extract_rings.py": 1, "test_releases.py": 1, "test_export_capture.py": 1}
    needs_rights |= {"test_channel_network.py": 1, "test_config_channels.py": 1}
    needs_system = {"test_deploy_extract.py": 1, "test_extract_faults.py": 1, "test_nats_settings.py": 1}
    assert found == {
        **needs_core,
        "test_core_log_table.py": 1,
        "test_packaging.py": 1,
        "test_service_outside.py": 1,
        **needs_rights,
        **needs_system,
    }
