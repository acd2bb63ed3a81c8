"""Where in a recipe the work of an action is asked for; knows actions by stage and name and reads no recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping

from onnxbuild.base.diagnostics import Place

_SECTIONS = {
    "export": ("source",),
    "canonicalize": ("source",),
    "reference": ("source",),
    "prune": ("pruning",),
    "quantize": ("quantization",),
    "validate": ("evaluation", "tolerance"),
    "package": ("package", "inputs"),
    "compile": ("package.formats", "package"),
}
"""Where a stage's work is asked for; `optimize` and `data` depend on more than their name."""


def action_place(name: str, stage: str, places: Mapping[str, Place]) -> Place | None:
    """Return the nearest place of `places`, by dotted path, at which the work of an action may be written."""
    return next((places[key] for key in _asked_for(name.rpartition("/")[2], stage) if key in places), None)


def _asked_for(name: str, stage: str) -> tuple[str, ...]:
    if stage == "optimize" and (step := re.match(r"optimize(?:\.(\d+))?", name)):
        return f"passes.{int(step[1] or 1) - 1}", "passes"
    if stage == "data":
        return ("calibration.data", "calibration") if name.startswith("data.2") else ("evaluation.data", "inputs")
    return _SECTIONS.get(stage, ("source",))
