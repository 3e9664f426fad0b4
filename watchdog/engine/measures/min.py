"""`min(x)`: the least value in the window, 0 when it is empty."""

from __future__ import annotations

from watchdog.engine.measures.extreme import Extreme
from watchdog.engine.measures.measure import MeasureKind

KIND = MeasureKind("min", lambda _plan, width: Extreme(width, least=True))
