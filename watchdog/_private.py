"""What `bitcoin_watchdog._private` is as a package: our four packages under private names (docs/adr/0001).

In the wheel this file is `bitcoin_watchdog/_private/__init__.py`. The command line puts that folder on the import path,
because it owns its process. A program that imports `bitcoin_watchdog.api` owns its process itself: it may have a module
`rules`, or the file-watching package `watchdog`. So nothing is put on its path. Our modules are loaded as
`bitcoin_watchdog._private.watchdog.core.batch` and so on, and in them alone an import of `watchdog`, `rules`,
`detectors` or `alerts` means the one in this folder. Standard library only.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

PREFIX = f"{__name__}."
OURS = frozenset({"watchdog", "rules", "detectors", "alerts"})


def import_ours(
    name: str,
    globals: Mapping[str, object] | None = None,  # noqa: A002 - the names of the built-in function
    locals: Mapping[str, object] | None = None,  # noqa: A002 - same
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Import as `__import__` does, in one of our modules: names of our packages mean those in this folder."""
    top = name.partition(".")[0]
    if level or top not in OURS:
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    found = builtins.__import__(PREFIX + name, globals, locals, fromlist or ("__name__",), 0)
    return found if fromlist else sys.modules[PREFIX + top]


class PrivateLoader(SourceFileLoader):
    """Loads one of our modules, with `import_ours` as its import."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code with built-ins of its own."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_ours}
        super().exec_module(module)


class PrivateFinder:
    """Finds our modules below `bitcoin_watchdog._private`; others are left to Python."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of one of our modules, None for any other."""
        if not name.startswith(PREFIX):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = PrivateLoader(name, spec.loader.path)
        return spec


if __name__ == "bitcoin_watchdog._private":
    sys.meta_path.insert(0, PrivateFinder)  # before Python's own finder, whose modules would import by plain names
