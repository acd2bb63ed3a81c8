"""The smallest model found on which a single pass still goes wrong, with inputs and a script that shows it.

Knows nothing of what is done about the pass.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import CustomPass
from onnxbuild.stages import tools
from onnxbuild.stages.minimize import minimize
from onnxbuild.stages.repro_script import README, write_script
from onnxbuild.stages.reverts import CASE, REPRO, Breakage, Reverted
from onnxbuild.stages.trial import Bench

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from onnxbuild.stages.guard import Culprit

TRIES = 60
"""Tries that making one model smaller may take."""

ELEMENTS = 50_000_000
"""Elements of all tensors in one call above which they are not held at once, and the model stays whole."""


@dataclass(frozen=True)
class Case:
    """A model artifact on which the parts in `only` (None: the whole entry) go wrong, at one call."""

    model: Path
    only: tuple[str, ...] | None
    call: dict[str, np.ndarray]
    broke: Breakage


def keep_repro(bench: Bench, source: Path, culprit: Culprit, number: int) -> Reverted:
    """Write the case for `culprit` below the output `repro` and return what is to be said of it."""
    tool = tools.tool_name(bench.step)
    name = culprit.name or tool
    folder = f"{number}-{''.join(c if c.isalnum() or c in '-_' else '-' for c in name)}"
    case = _reduce(bench, _isolate(bench, source, culprit))
    out = bench.ws.output(REPRO) / folder
    nodes = _write(bench, case, out, name)
    assert culprit.trial.broke is not None
    reverted = Reverted(tool=tool, name=name, broke=culprit.trial.broke, repro=folder, nodes=nodes)
    (out / CASE).write_bytes(encode(reverted))
    return reverted


def _isolate(bench: Bench, source: Path, culprit: Culprit) -> Case:
    """Return the case of the culprit by itself: on what the parts before it made, or on the source; else with them."""
    broke = culprit.trial.broke
    assert broke is not None
    if culprit.name is None:
        return Case(source, None, _call(bench, broke), broke)
    alone = (culprit.name,)
    models = [source]
    if culprit.before and bench.attempt(source, culprit.before).changed:
        before = bench.ws.scratch / "before"
        shutil.rmtree(before, ignore_errors=True)
        bench.candidate.rename(before)
        models.insert(0, before)
    for model in models:
        found = bench.attempt(model, alone).broke
        if found is not None and found.code == broke.code:
            return Case(model, alone, _call(bench, found), found)
    return Case(source, (*culprit.before, *alone), _call(bench, broke), broke)


def _call(bench: Bench, broke: Breakage) -> dict[str, np.ndarray]:
    """Return the first call of the sizes that show it; any, where it shows before the model runs."""
    from onnxbuild.data.calls import read_calls
    from onnxbuild.stages.trial import sizes_of, usable

    read = [(folder, read_calls(folder)) for folder in bench.calls]
    calls = [calls[number] for folder, calls in read for number in usable(folder, calls)]
    like = bench.ws.inputs["model"]
    return next((call for call in calls if broke.sizes in (None, sizes_of(like, call))), calls[0])


def _reduce(bench: Bench, case: Case) -> Case:
    """Return the case with as few nodes as were found in a bounded number of tries."""
    import onnx

    from onnxbuild.ir.model import MODEL
    from onnxbuild.ir.work import estimate
    from onnxbuild.ort.inference import infer_types
    from onnxbuild.ort.values import all_values

    if case.broke.code == "tool-hung":  # every try would take all its time
        return case
    proto = onnx.load(case.model / MODEL, load_external_data=False)
    if estimate(proto, {name: array.shape for name, array in case.call.items()})[1] > ELEMENTS:
        return case
    try:
        values = all_values(case.model / MODEL, case.call)
        types = infer_types(case.model / MODEL)
    except StageFailure:
        return case
    smallest = [case]

    def fails(keep: Sequence[int]) -> bool:
        reduced = _cut(bench, case, proto, keep, values, types)
        if reduced is None or not _goes_wrong(bench, reduced):
            return False
        smallest[0] = reduced
        return True

    minimize(range(len(proto.graph.node)), fails, TRIES)
    return smallest[0]


def _cut(
    bench: Bench,
    case: Case,
    proto: onnx.ModelProto,
    keep: Sequence[int],
    values: dict[str, np.ndarray],
    types: dict[str, Any],
) -> Case | None:
    import onnx_ir as ir

    from onnxbuild.ir.model import write_model
    from onnxbuild.ir.reduction import cut

    reduced = cut(proto, keep, types)
    if reduced is None or any(value.name not in values for value in reduced.graph.input):
        return None
    folder = bench.ws.scratch / "reduced" / "-".join((str(bench.counter[0]), str(len(keep))))
    model = ir.from_proto(reduced)
    _locate(model, case.model)
    write_model(model, folder)
    return replace(case, model=folder, call={value.name: values[value.name] for value in reduced.graph.input})


def _locate(model: Any, folder: Path) -> None:
    import onnx_ir as ir

    from onnxbuild.ir.walk import tensor_slots

    for slot in tensor_slots(model):
        if isinstance(slot.tensor, ir.ExternalTensor):
            slot.tensor.base_dir = folder


def _goes_wrong(bench: Bench, case: Case) -> bool:
    from onnxbuild.data.calls import write_calls

    calls = case.model.with_name(case.model.name + "-calls")
    write_calls(calls, [case.call])
    try:
        broke = replace(bench, calls=(calls,)).attempt(case.model, case.only).broke
    except StageFailure:  # a part of a model that ONNX Runtime refuses, or the tool
        return False
    return broke is not None and broke.code == case.broke.code


def _write(bench: Bench, case: Case, out: Path, name: str) -> int:
    import numpy as np
    import onnx

    from onnxbuild.ir.model import MODEL, read_model, write_model

    model = read_model(case.model)
    write_model(model, out)
    proto = onnx.load(out / MODEL, load_external_data=False)
    constant = {tensor.name for tensor in proto.graph.initializer}
    arrays = [case.call[value.name] for value in proto.graph.input if value.name not in constant]
    texts = [array.astype(str) if array.dtype == object else array for array in arrays]
    np.savez(out / "inputs.npz", *texts)
    custom = bench.ws.files.get("custom")
    if isinstance(bench.step, CustomPass) and custom is not None:
        shutil.copyfile(custom, out / "custom_pass.py")
    write_script(bench.step, case.only, name, case.broke, out)
    (out / "README").write_text(README, encoding="utf-8")
    return len(proto.graph.node)
