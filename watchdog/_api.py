"""Judge the events of Bitcoin Core nodes inside another program: the one public module of bitcoin-watchdog.

    from bitcoin_watchdog.api import Engine, Rules, load_rules

    text = load_rules().to_text()  # on the driver, which has PyYAML
    engine = Engine(Rules.from_text(text), "node-1", ["capture"])  # on a worker: NumPy and the standard library
    findings = engine.process(batch)

In the wheel this file is `bitcoin_watchdog/api.py`; docs/EMBEDDING.md explains its use. All other modules are private
and change without notice (docs/adr/0001). Importing it puts nothing on the import path and no name but
`bitcoin_watchdog` into the process: a program may have a module `rules` of its own, or the file-watching `watchdog`.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.core.batch import Batch, Blobs, Slice, Strings
    from watchdog.core.errors import RuleError, StateError, WatchdogError
    from watchdog.core.finding import Evidence, Finding
    from watchdog.core.kinds import KINDS
    from watchdog.embedding.batches import batch_of
    from watchdog.embedding.keyed_engine import KeyedEngine as Engine
    from watchdog.embedding.rules import Rules, load_rules
else:

    def _ours(name: str) -> ModuleType:
        """Return one of our modules from the private folder of the wheel or the tree of an editable installation."""
        here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is not loaded otherwise
        private = os.path.isdir(os.path.join(here, "_private", "watchdog"))  # noqa: PTH112, PTH118 - same
        return import_module(f"bitcoin_watchdog._private.watchdog.{name}" if private else f"watchdog.{name}")

    _batch, _errors, _finding = _ours("core.batch"), _ours("core.errors"), _ours("core.finding")
    _rules = _ours("embedding.rules")
    Batch, Blobs, Slice, Strings = _batch.Batch, _batch.Blobs, _batch.Slice, _batch.Strings
    RuleError, StateError, WatchdogError = _errors.RuleError, _errors.StateError, _errors.WatchdogError
    Evidence, Finding = _finding.Evidence, _finding.Finding
    KINDS = _ours("core.kinds").KINDS
    batch_of = _ours("embedding.batches").batch_of
    Engine = _ours("embedding.keyed_engine").KeyedEngine
    Rules, load_rules = _rules.Rules, _rules.load_rules

__all__ = [
    "KINDS",
    "Batch",
    "Blobs",
    "Engine",
    "Evidence",
    "Finding",
    "RuleError",
    "Rules",
    "Slice",
    "StateError",
    "Strings",
    "WatchdogError",
    "batch_of",
    "load_rules",
]
