"""river's classes for the rule language: the only module that imports river, and only when a rule asks for a class.

Without river everything else works; a rule that needs it cannot fire, and says what to install.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, NamedTuple

from watchdog.core.plan import DriftPlan, ModelPlan

EXTRA: Final = "pip install 'bitcoin-watchdog[river]'"
PREFIX: Final = "river"
MODULES: Final = ("anomaly", "drift")
SEED: Final = 0
LIMITED: Final = "limits"  # the parameter that half-space trees need
LARGEST: Final[Mapping[str, float]] = {"height": 15, "n_trees": 200, "n_random_cuts": 1_000, "n_bins": 1_000}
"""By parameter: trees have 2 to the power of `height` nodes each, and all are made at once."""
LARGEST_OTHER: Final = 1_000_000


class ModelFlaw(NamedTuple):
    """Why a class, or its parameters, cannot be used. about: the parameter, "" for the class. known: those it has."""

    message: str
    hint: str
    about: str = ""
    known: tuple[str, ...] = ()


def river_installed() -> bool:
    """Return whether river can be imported; it is not imported."""
    return find_spec(PREFIX) is not None


def class_names(module: str) -> list[str]:
    """Return the public classes of one of `MODULES`; empty without river."""
    found = _module(module)
    return [name for name in dir(found) if name[0].isupper()] if found else []


def refused(plan: ModelPlan) -> ModelFlaw | None:
    """Return what is wrong with a model; None if nothing is, or if river is not installed. The path has three parts."""
    _, module, name = plan.model.split(".")
    if name not in class_names(module):
        return ModelFlaw(f"river.{module} has no class '{name}'", "") if river_installed() else None
    known = inspect.signature(getattr(_module(module), name)).parameters
    for parameter, value in plan.parameters:
        if parameter not in known or parameter == LIMITED:
            return ModelFlaw(f"'{name}' has no parameter '{parameter}'", "", parameter, tuple(known))
        default = known[parameter].default
        if isinstance(default, int) and not isinstance(default, bool) and (isinstance(value, float) or value < 0):
            return ModelFlaw(f"'{parameter}' must be a whole number, 0 or more", "", parameter)
        if not -LARGEST_OTHER <= value <= LARGEST.get(parameter, LARGEST_OTHER):
            most = LARGEST.get(parameter, LARGEST_OTHER)
            return ModelFlaw(f"'{parameter}' is at most {most:,.0f}", "it bounds the memory of the model", parameter)
    given = {parameter for parameter, _ in plan.parameters}
    needed = [one for one in known.values() if one.default is inspect.Parameter.empty and one.name not in given]
    if needed:
        return ModelFlaw(f"'{name}' needs '{needed[0].name}'", "only classes that numbers can describe can be used")
    if LIMITED in known and len(plan.limits) < len(plan.features):
        missing = next(one for one in plan.features if one not in {limit[0] for limit in plan.limits})
        hint = f"give the range of each feature, as in limits: {{{missing}: 0 to 100}}"
        return ModelFlaw(f"'{name}' needs 'limits', and '{missing}' has none", hint)
    if plan.limits and LIMITED not in known:
        return ModelFlaw(f"'{name}' takes no 'limits'", "remove them", LIMITED)
    try:
        model_maker(plan)()
    except Exception as error:  # noqa: BLE001 - whatever the class makes of these numbers
        return ModelFlaw(f"'{name}' refuses its parameters: {type(error).__name__}: {str(error)[:120]}", "")
    return None


def wants_one(plan: ModelPlan) -> bool:
    """Return whether a model reads a single series: detectors of change do."""
    return plan.model.split(".")[1] == "drift"


def drift_maker(plan: DriftPlan) -> Callable[[], Any]:
    """Return what makes an ADWIN for `changed`. river is imported here."""
    from river.drift import ADWIN  # noqa: PLC0415 - takes a second, and is not always there

    return lambda: ADWIN(delta=plan.delta)


def model_maker(plan: ModelPlan) -> Callable[[], Any]:
    """Return what makes a model of a rule, the same each time: the seed is fixed. river is imported here."""
    _, module, name = plan.model.split(".")
    made = getattr(_module(module), name)
    options: dict[str, object] = dict(plan.parameters)
    known = inspect.signature(made).parameters
    if "seed" in known:
        options.setdefault("seed", SEED)
    if LIMITED in known:
        places = {feature: at for at, feature in enumerate(plan.features)}
        options[LIMITED] = {places[feature]: (low, high) for feature, low, high in plan.limits}
    return lambda: made(**options)


def _module(name: str) -> ModuleType | None:
    if not river_installed():
        return None
    if name == "anomaly":
        from river import anomaly  # noqa: PLC0415 - takes a second, and is not always there

        return anomaly  # type: ignore[no-any-return] # river is skipped by mypy
    from river import drift  # noqa: PLC0415

    return drift  # type: ignore[no-any-return]
