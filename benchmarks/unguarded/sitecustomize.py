"""Loaded by every interpreter of a build under measurement: takes the guards out of stages as they are imported.

Passes are then applied, written and checked as before, but compared with nothing and in the action's own process.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType


def _compare_nothing(agreement: ModuleType) -> None:
    agreement.run_sound = lambda model, calls: []  # type: ignore[attr-defined]
    agreement.measure_agreement = lambda *_: ()  # type: ignore[attr-defined]


def _try_here(trial: ModuleType) -> None:
    trial.run_apart = lambda work, file, seconds, leave: work()  # type: ignore[attr-defined]
    trial.Bench._choose = lambda self, source: ([], [], trial.Tested())


CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "onnxbuild.stages.agreement": _compare_nothing,
    "onnxbuild.stages.trial": _try_here,
}
"""What is done to a module once it is imported."""


class _Changer(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        change = CHANGES.get(fullname)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target) if change is not None else None
        if spec is None or spec.loader is None or change is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            change(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Changer())
