"""docs/INSTALL.md, followed by root on a host of its own, over restarts of the node and a rotation of its log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parts import lacking, program
from tests.support.ports import free_port
from tests.support.receiver import Receiver
from tests.support.service_process import ROOT

NEEDED = ("unshare", "setfacl", "runuser", "useradd", "openssl", "systemd-sysusers", "systemd-tmpfiles")


@pytest.mark.slow
def test_the_page_leads_from_nothing_to_alerts(tmp_path: Path) -> None:
    for name in NEEDED:
        program(name)
    if os.geteuid():
        lacking("only root can make users and mounts")
    receiver = Receiver()
    port = receiver.url_of("ops").split(":")[2].split("/")[0]
    stage = [sys.executable, "-m", "tests.support.install_stage", str(tmp_path), port, str(free_port())]
    try:
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", *stage],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        receiver.close()
    if "unshare failed" in done.stderr:
        lacking(f"no mount namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)
    assert ["node-restart", "warning"] in seen["rules"]
    types = [json.loads(one.body)["type"] for one in receiver.seen]
    assert "incident.escalated" in types
    assert "test" in " ".join(types), "the page sends a test first"
    assert "cannot be read" not in seen["log"]
    assert "incident" in seen["log"]
    assert seen["log_mode"] == 0, "no other user reads the log"
    assert seen["secret_mode"] == 0o600
