"""The command under a limit of descriptors: `python -m tests.support.few_descriptors LIMIT ARGUMENTS`."""

from __future__ import annotations

import resource
import runpy
import sys

if __name__ == "__main__":
    limit = int(sys.argv.pop(1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    runpy.run_module("watchdog", run_name="__main__", alter_sys=True)
