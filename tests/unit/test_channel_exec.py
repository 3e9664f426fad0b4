"""Programs as receivers: real scripts that answer, hang, flood, fork and fail."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.delivery.answers import Response
from alerts.delivery.courier import Courier
from alerts.delivery.formats import notice_bodies
from alerts.delivery.schedule import RetryDecision
from alerts.routing import Receiver
from tests.support.channels import START_NS, case_body, case_notice, channel
from tests.support.waiting import wait_until


def script(folder: Path, text: str, name: str = "hook") -> str:
    """The path of a program with this text."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def runner(folder: Path, text: str, *arguments: str, timeout_s: float = 5.0) -> Receiver:
    """A receiver that runs a script."""
    return replace(channel("exec", command=(script(folder, text), *arguments)), timeout_s=timeout_s)


def run(receiver: Receiver) -> Response:
    """Send one notice."""

    async def story() -> Response:
        async with Courier() as courier:
            return await courier.send(receiver, "msg_1", 0, notice_bodies(case_notice(), receiver, START_NS))

    return asyncio.run(story())


def test_a_program_gets_the_notice_on_standard_input_and_its_arguments_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_TOKEN", "hunter2")
    receiver = runner(
        tmp_path, f'cat > {tmp_path}/given; echo "$1" > {tmp_path}/first; env > {tmp_path}/env', "$(id) *"
    )
    answer = run(receiver)
    assert (answer.status, answer.error, answer.meaning) == (0, "", RetryDecision.ACCEPTED)
    given = json.loads((tmp_path / "given").read_text())
    assert (given["type"], given["data"]) == ("case.opened", case_body())
    assert (tmp_path / "first").read_text() == "$(id) *\n", "no shell reads the arguments"
    assert "hunter2" not in (tmp_path / "env").read_text(), "secrets come from the environment"


def test_a_program_that_reads_nothing_is_fine_and_one_that_fails_is_retried(tmp_path: Path) -> None:
    assert run(runner(tmp_path, "exit 0")).error == ""
    failed = run(runner(tmp_path, "echo 'no route\x1b[2J'; exit 3"))
    assert (failed.status, failed.meaning) == (3, RetryDecision.FAILED)
    assert failed.error == "exit code 3: no route\\x1b[2J"
    killed = run(runner(tmp_path, "kill -9 $$"))
    assert (killed.status, killed.error) == (137, "ended by signal 9")


def test_a_program_that_cannot_start_says_why(tmp_path: Path) -> None:
    answer = run(channel("exec", command=(str(tmp_path / "none"),)))
    assert (answer.status, answer.error) == (None, "cannot start the program: No such file or directory")


def test_a_program_that_hangs_is_killed_with_its_group(tmp_path: Path) -> None:
    began = time.monotonic()
    answer = run(runner(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait", timeout_s=2.0))
    assert answer.error == "did not end in 2 s; its process group was killed"
    assert answer.meaning is RetryDecision.FAILED
    assert time.monotonic() - began < 60
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not alive(child))


def test_a_program_that_writes_ten_megabytes_does_not_fill_memory(tmp_path: Path) -> None:
    text = f"head -c 10000000 /dev/zero | tr '\\0' x; echo done > {tmp_path}/end"
    answer = run(runner(tmp_path, text, timeout_s=30.0))
    assert answer.error == ""
    assert (tmp_path / "end").read_text() == "done\n", "it was read to its end"
    flood = run(runner(tmp_path, "yes", timeout_s=0.5))
    assert flood.error.startswith("did not end in")


def test_a_child_that_stays_behind_with_the_output_open_is_killed(tmp_path: Path) -> None:
    began = time.monotonic()
    answer = run(runner(tmp_path, f"(sleep 600; echo late) & echo $! > {tmp_path}/child; exit 0", timeout_s=60.0))
    assert answer.error == ""
    assert time.monotonic() - began < 30, "the program has ended; its child is not waited for"
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not alive(child))


def test_the_end_of_the_service_ends_a_program(tmp_path: Path) -> None:
    receiver = runner(tmp_path, f"echo $$ > {tmp_path}/self; sleep 600", timeout_s=60.0)

    async def story() -> None:
        async with Courier() as courier:
            task = asyncio.create_task(courier.send(receiver, "m", 0, [b"{}"]))
            await asyncio.to_thread(wait_until, (tmp_path / "self").exists)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    wait_until(lambda: not alive(int((tmp_path / "self").read_text() or 0)))


def alive(pid: int) -> bool:
    """Whether a process runs, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_alive_sees_this_process() -> None:
    assert alive(os.getpid())
