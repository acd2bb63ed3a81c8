"""The optimize stage: one entry of `passes`, applied and compared with its input on probe calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.proof.limits import DEFAULT_STEP, exceeds
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import (
    CustomPass,
    OnnxoptimizerPass,
    OnnxruntimePass,
    OnnxscriptPass,
    OnnxslimPass,
    OutputTolerance,
    Pass,
    TransformersPass,
)
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace

if TYPE_CHECKING:
    import onnx_ir as ir


class OptimizeParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of optimize. Inputs: `model`, `probe`; workspace file `custom` for a custom pass.

    `limits` maps an output to the absolute and relative limit the pass must keep: a tenth of the recipe's
    tolerance, else atol 1e-5, rtol 1e-3.
    """

    step: Pass
    opset: int | None
    ir_version: int | None
    limits: dict[str, OutputTolerance]


class OptimizeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the pass did. Output: `model`. `probe` tells how far each output moved, if the pass changed anything."""

    model: ModelFacts
    changed: bool
    nodes_before: int
    probe: tuple[OutputMeasures, ...] = ()

    @property
    def worst(self) -> dict[str, float]:
        """The largest absolute difference of each output on the probe calls; 0 for integers and strings."""
        return {m.name: m.max_abs if isinstance(m.max_abs, float) else 0.0 for m in self.probe}


def run(params: OptimizeParams, ws: Workspace) -> OptimizeFacts:
    """Apply the pass and deliver its result; raises StageFailure when the tool fails or the outputs differ."""
    from onnxbuild.data.calls import read_calls
    from onnxbuild.ir.describe import describe
    from onnxbuild.ir.model import MODEL as FILE
    from onnxbuild.stages import delivery
    from onnxbuild.stages.agreement import require_agreement

    source, tool = ws.inputs["model"], tool_name(params.step)
    before = describe(source)
    _warn_of_risk(params.step, ws)
    model = _apply(params.step, ws)
    folder = delivery.write_candidate(model, source, ws, tool, opset=params.opset, ir_version=params.ir_version)
    changed = not delivery.is_same(source, folder)
    moved: dict[str, OutputMeasures] = {}
    if changed:
        moved = require_agreement(source / FILE, folder / FILE, read_calls(ws.inputs["probe"]), params.limits, tool)
    facts = delivery.deliver(folder, ws)
    if isinstance(params.step, TransformersPass):
        _require_fusions(params.step, facts)
    if not changed:
        ws.warn("no-effect", f"{tool} changed nothing")
    elif isinstance(params.step, TransformersPass) and not _new_operators(before, facts):
        ws.warn("no-effect", f"{tool} fused nothing")
    return OptimizeFacts(model=facts, changed=changed, nodes_before=before.nodes, probe=tuple(moved.values()))


def tool_name(step: Pass) -> str:
    """Return what messages call a pass, such as "onnxruntime basic"."""
    match step:
        case OnnxscriptPass():
            return "onnxscript optimize"
        case OnnxoptimizerPass(names=None):
            return "onnxoptimizer default"
        case OnnxoptimizerPass(names=names):
            return f"onnxoptimizer {', '.join(names or ())}"
        case OnnxslimPass():
            return "onnxslim"
        case OnnxruntimePass(level=level):
            return f"onnxruntime {level}"
        case TransformersPass(model_type=model_type):
            return f"onnxruntime transformers {model_type}"
        case CustomPass(function=function):
            return f"{function.file}:{function.name}"


def _apply(step: Pass, ws: Workspace) -> ir.Model:
    import onnx_ir as ir

    from onnxbuild.ir import passes
    from onnxbuild.ir.model import MODEL as FILE
    from onnxbuild.ir.model import read_model
    from onnxbuild.ort import optimizer, transformers

    source = ws.inputs["model"]
    match step:
        case OnnxscriptPass():
            return passes.onnxscript.optimize(read_model(source), ws.scratch)
        case OnnxoptimizerPass(names=names):
            return passes.onnxoptimizer.optimize(read_model(source), names, ws.scratch)
        case OnnxslimPass():
            return passes.onnxslim.slim(source / FILE, ws.scratch)
        case OnnxruntimePass(level=level):
            return ir.load(optimizer.optimize(source / FILE, level, ws.scratch))
        case TransformersPass():
            return ir.from_proto(transformers.optimize(source / FILE, step, ws.scratch))
        case CustomPass(function=function):
            return passes.custom.apply(read_model(source), function, ws.files["custom"])


def _warn_of_risk(step: Pass, ws: Workspace) -> None:
    from onnxbuild.ir.passes.onnxoptimizer import RISKY

    for name in step.names or () if isinstance(step, OnnxoptimizerPass) else ():
        if name in RISKY:
            ws.warn("risky-pass", f"onnxoptimizer's {name} can change what a model computes or how it is called")


def _new_operators(before: ModelFacts, after: ModelFacts) -> list[str]:
    return [name for name, count in after.operators.items() if count > before.operators.get(name, 0)]


def _require_fusions(step: TransformersPass, facts: ModelFacts) -> None:
    found: dict[str, int] = {}
    for operator, count in facts.operators.items():
        name = operator.rpartition(".")[2]
        found[name] = found.get(name, 0) + count
    missed = {name: count for name, count in step.expect.items() if found.get(name, 0) != count}
    if missed:
        fused = {name.rpartition(".")[2]: count for name, count in facts.operators.items() if "." in name}
        wanted = ", ".join(f"{count} {name}, found {found.get(name, 0)}" for name, count in missed.items())
        listed = ", ".join(f"{count} {name}" for name, count in sorted(fused.items())) or "none"
        raise StageFailure(
            "expected-fusion-missing",
            f"{tool_name(step)}: expected {wanted}; the fused operators are: {listed}",
            hint="check model_type, num_heads and hidden_size; `onnxscript: optimize` before it can help",
            tool="onnxruntime.transformers",
        )


_TOOLS = {
    OnnxscriptPass: ("onnxscript",),
    OnnxoptimizerPass: ("onnxoptimizer",),
    OnnxslimPass: ("onnxslim",),
    OnnxruntimePass: (),
    TransformersPass: (),
    CustomPass: (),
}


def _packages(params: OptimizeParams) -> tuple[str, ...]:
    return (*MODEL, ONNXRUNTIME, *_TOOLS[type(params.step)])


def _holds(params: OptimizeParams, facts: OptimizeFacts) -> bool:
    return not any(exceeds(measures, params.limits.get(measures.name, DEFAULT_STEP)) for measures in facts.probe)


def _is_tied_to_the_machine(params: OptimizeParams) -> bool:
    return isinstance(params.step, OnnxruntimePass) and params.step.level != "basic"


def _runs_user_code(params: OptimizeParams) -> bool:
    return isinstance(params.step, CustomPass)


OPTIMIZE = Stage(
    name="optimize",
    version=1,
    params=OptimizeParams,
    facts=OptimizeFacts,
    run=run,
    packages=_packages,
    preload=lambda _: PRELOAD,
    runs_user_code=_runs_user_code,
    unkeyed=("limits",),
    holds=_holds,
    hardware=_is_tied_to_the_machine,
)
