"""Loaded by every interpreter of a build under measurement: takes guards and ledger out of modules being imported.

Passes are then applied, written and checked as before, but compared with nothing and in the action's own process; only
the delivered model is measured, on the data's own calls and without intervals: what its gates need.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any


def _compare_nothing(agreement: ModuleType) -> None:
    agreement.run_sound = lambda model, calls: []  # type: ignore[attr-defined]
    agreement.measure_agreement = lambda *_: ()  # type: ignore[attr-defined]


def _try_here(trial: ModuleType) -> None:
    trial.run_apart = lambda work, file, seconds, leave: work()  # type: ignore[attr-defined]
    trial.Bench._choose = lambda self, source: ([], [], trial.Tested())


def _measure_the_last(validations: ModuleType) -> None:
    def add(
        drafts: Any, target: Any, models: Any, evaluation: str, reference: str, tuned: Any, compiled: Any
    ) -> dict[str, tuple[str, ...]]:
        found = {}
        for provider in target.providers:
            ref = validations.compiled_or(models[-1].ref, compiled, provider.name)
            action = validations._validate(target, provider.name, ref, evaluation, reference)
            action = replace(action, inputs={**action.inputs, **tuned})
            found[provider.name] = (drafts.add(target, f"validate@{provider.name}", action),) * len(models)
        return found

    validations.add_validations = add  # type: ignore[attr-defined]


def _make_no_edges(edges: ModuleType) -> None:
    edges.make_edges = lambda *_: edges.Edges((), ())  # type: ignore[attr-defined]


def _draw_no_samples(bootstrap: ModuleType) -> None:
    bootstrap.metric_intervals = lambda *_: None  # type: ignore[attr-defined]


CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "onnxbuild.stages.agreement": _compare_nothing,
    "onnxbuild.stages.trial": _try_here,
    "onnxbuild.plan.validations": _measure_the_last,
    "onnxbuild.data.edges": _make_no_edges,
    "onnxbuild.proof.bootstrap": _draw_no_samples,
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
