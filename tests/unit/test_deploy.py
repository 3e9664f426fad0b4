"""The files of deploy/: systemd itself checks the unit, promtool the alerts, and every metric they name exists."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import systemd_unit
from tests.support.daemon import configure
from tests.support.parts import lacking, program
from tests.support.service_process import ROOT, WATCHING, ServiceProcess, end_all
from tests.support.systemd_unit import check_accepted, check_exposure, run

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "bitcoin-watchdog.service"
ALERTS = DEPLOY / "prometheus" / "bitcoin-watchdog.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "bitcoin-watchdog.json"
MDWE = """
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0):
    sys.exit("no PR_SET_MDWE")
os.execv(sys.executable, [sys.executable, "-m", "watchdog", *sys.argv[1:]])
"""


def settings(name: str, file: Path = UNIT) -> list[str]:
    return systemd_unit.settings(name, file)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    check_accepted(UNIT, tmp_path, "ProtectHome=yes", "ProtectHme")


def test_the_unit_exposes_little() -> None:
    check_exposure(UNIT, 20)


def test_the_unit_has_no_capabilities_and_writes_one_folder() -> None:
    assert settings("CapabilityBoundingSet") == settings("AmbientCapabilities") == [""]
    assert (settings("NoNewPrivileges"), settings("ProtectSystem")) == (["yes"], ["strict"])
    assert not settings("ReadWritePaths")
    assert (settings("StateDirectory"), settings("Type")) == (["bitcoin-watchdog"], ["notify"])
    assert float(settings("WatchdogSec")[0].removesuffix("min")) * 60 > 2 * 30, "vitals judge within 30 s"


def test_the_commands_of_the_unit_are_commands_of_the_program() -> None:
    for line in (*settings("ExecStart"), *settings("ExecReload")):
        command, *arguments = line.split()
        assert command == "/opt/bitcoin-watchdog/bin/watchdog"
        done = run(sys.executable, "-m", "watchdog", arguments[0], "--help", cwd=ROOT)
        assert done.returncode == 0
        assert all(one in done.stdout for one in arguments if one.startswith("--"))


@pytest.fixture
def _services() -> Iterator[None]:
    yield
    end_all()


@pytest.mark.usefixtures("_services")
def test_the_service_runs_where_no_memory_may_become_code(tmp_path: Path) -> None:
    # MemoryDenyWriteExecute= and kernels from 6.3 on: the same promise
    probe = run(sys.executable, "-c", MDWE.replace("os.execv", "sys.exit(0) #"))
    if probe.returncode:
        lacking(f"this kernel cannot deny it: {probe.stderr.strip()}")
    (tmp_path / "debug.log").touch()
    configure(tmp_path, sources="['log:debug.log', 'zmq:hashblock=tcp://127.0.0.1:1']")
    (tmp_path / "mdwe.py").write_text(MDWE)
    folder = os.pathsep.join((str(tmp_path), str(ROOT)))
    service = ServiceProcess(tmp_path, "--no-web", program=("mdwe",), environment={"PYTHONPATH": folder})
    service.wait_for(WATCHING)
    service.wait_for("no connection to tcp://127.0.0.1:1")
    service.end()


def test_the_user_and_the_folders_are_made(tmp_path: Path) -> None:
    sysusers, tmpfiles = program("systemd-sysusers"), program("systemd-tmpfiles")
    if os.geteuid():
        lacking("only root makes users and their folders")
    (tmp_path / "etc").mkdir()
    done = run(sysusers, f"--root={tmp_path}", str(DEPLOY / "systemd" / "bitcoin-watchdog.sysusers.conf"))
    assert done.returncode == 0, done.stderr
    (user,) = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("watchdog:")]
    assert user.endswith(":/var/lib/bitcoin-watchdog:/usr/sbin/nologin")
    done = run(tmpfiles, f"--root={tmp_path}", "--create", str(DEPLOY / "systemd" / "bitcoin-watchdog.tmpfiles.conf"))
    assert done.returncode == 0, done.stderr
    config, state = tmp_path / "etc/bitcoin-watchdog", tmp_path / "var/lib/bitcoin-watchdog"
    assert (config.stat().st_mode & 0o777, state.stat().st_mode & 0o777) == (0o750, 0o750)
    assert (config.stat().st_uid, state.stat().st_uid) == (0, int(user.split(":")[2]))


def test_promtool_accepts_the_alerts_and_they_fire_when_they_should() -> None:
    promtool = program("promtool")
    checked = run(promtool, "check", "rules", str(ALERTS))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tried = run(promtool, "test", "rules", "bitcoin-watchdog.test.yml", cwd=ALERTS.parent)
    assert tried.returncode == 0, tried.stdout + tried.stderr


def named(text: str) -> set[str]:
    return set(re.findall(r"\bwatchdog_[a-z_]+[a-z]\b", text))


def known() -> set[str]:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "watchdog" / "service").glob("*.py"))
    names = {name for text in sources for name in named(text)}
    return names | {"watchdog_rpc_seconds_bucket", "watchdog_notice_delay_seconds_bucket"}


def test_every_metric_that_alerts_and_dashboard_name_is_one_of_ours() -> None:
    for path in (ALERTS, DASHBOARD, ALERTS.with_name("bitcoin-watchdog.test.yml")):
        metrics = named(path.read_text(encoding="utf-8"))
        assert metrics
        assert not metrics - known(), path.name


def test_alerts_have_the_severities_that_incidents_have() -> None:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert alert.get("labels", {}).get("severity", "high") in {"warning", "high", "critical"}
        assert alert["annotations"]["summary"]


def test_the_dashboard_is_whole() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["title"]
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
    names = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", DASHBOARD.read_text(encoding="utf-8")))
    assert used <= names
