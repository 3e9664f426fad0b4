"""The times in our own log: UTC, wherever the service runs."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from tests.support.service_process import WATCHING, ServiceProcess, end_all


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/St_Johns"])
def test_a_service_in_any_time_zone_logs_utc_and_says_so(tmp_path: Path, zone: str) -> None:
    (tmp_path / "debug.log").touch()
    (tmp_path / "watchdog.yaml").write_text(f"sources: ['log:{tmp_path}/debug.log']\n")
    try:
        service = ServiceProcess(tmp_path, "--no-web", environment={"TZ": zone})
        service.wait_for(WATCHING)
        now = dt.datetime.now(dt.UTC)
        service.end()
    finally:
        end_all()
    logged = service.text().splitlines()
    assert logged
    for line in logged:
        found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) [A-Z]+ +watchdog\.[a-z]+: .+", line)
        assert found, line
        assert abs(dt.datetime.fromisoformat(found[1]) - now) < dt.timedelta(minutes=2), line
