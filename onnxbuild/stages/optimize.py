"""The optimize stage: one entry of `passes`, applied as a transaction that keeps what the model computes."""

from __future__ import annotations

import msgspec

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.proof.limits import exceeds, step_limit
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import (
    CustomPass,
    OnnxoptimizerPass,
    OnnxruntimePass,
    OutputTolerance,
    Pass,
    TransformersPass,
)
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME, PRELOAD
from onnxbuild.stages.reverts import CHANGED_RESULTS, Reverted, Tested
from onnxbuild.stages.stage import Stage, Workspace
from onnxbuild.stages.tools import package_of, tool_name

STRICT = "strict"


class OptimizeParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of optimize. Inputs: `model`, `probe`; workspace file `custom` for a custom pass.

    `limits` maps an output to a tenth of what the recipe tolerates, where it says so; see proof.limits.step_limit.
    `guard` tells what becomes of a pass that breaks the model: revert or strict.
    """

    step: Pass
    opset: int | None
    ir_version: int | None
    limits: dict[str, OutputTolerance]
    guard: str = "revert"


class OptimizeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the entry did. Outputs: `model`, and `repro` where a pass was left out.

    `probe` tells how far each output moved, if the model changed; `reverted` what was left out and why; `tested` at
    which sizes.
    """

    model: ModelFacts
    changed: bool
    nodes_before: int
    probe: tuple[OutputMeasures, ...] = ()
    reverted: tuple[Reverted, ...] = ()
    tested: Tested = Tested()

    @property
    def worst(self) -> dict[str, float]:
        """The largest absolute difference of each output on the probe calls; 0 for integers and strings."""
        return {m.name: m.max_abs if isinstance(m.max_abs, float) else 0.0 for m in self.probe}


def run(params: OptimizeParams, ws: Workspace) -> OptimizeFacts:
    """Apply the entry less what breaks the model; raises StageFailure where the tool cannot take the model at all.

    With `guard: strict` a pass that breaks it is one too (`pass-broke-model`).
    """
    from onnxbuild.ir.describe import describe
    from onnxbuild.stages import delivery
    from onnxbuild.stages.guard import apply_guarded
    from onnxbuild.stages.trial import Bench

    source, tool = ws.inputs["model"], tool_name(params.step)
    before = describe(source)
    _warn_of_risk(params.step, ws)
    calls = tuple(ws.inputs[label] for label in ("probe", "edges") if label in ws.inputs)
    bench = Bench(params.step, params.opset, params.ir_version, params.limits, calls, ws)
    kept = apply_guarded(bench, source)
    for reverted in kept.reverted:
        _tell(reverted, ws, strict=params.guard == STRICT)
    if kept.trial.changed and not kept.trial.tested.sizes:
        ws.warn("not-compared", f"what {tool} did could not be compared: the model before it never computes the same")
    facts = delivery.deliver(kept.folder, ws)
    if isinstance(params.step, TransformersPass):
        _require_fusions(params.step, facts, kept.reverted)
    if not kept.trial.changed and not kept.reverted:
        ws.warn("no-effect", f"{tool} changed nothing")
    elif isinstance(params.step, TransformersPass) and not _new_operators(before, facts):
        ws.warn("no-effect", f"{tool} fused nothing")
    return OptimizeFacts(
        model=facts,
        changed=kept.trial.changed,
        nodes_before=before.nodes,
        probe=kept.trial.measures,
        reverted=kept.reverted,
        tested=kept.trial.tested,
    )


def _tell(reverted: Reverted, ws: Workspace, *, strict: bool) -> None:
    """Warn of a pass that was left out; raises StageFailure instead where that is not wanted."""
    what = f"{reverted.title} breaks the model: {reverted.broke.message}"
    nodes = "1 node" if reverted.nodes == 1 else f"{reverted.nodes} nodes"
    if strict:
        raise StageFailure(
            "pass-broke-model",
            f"{what} [{reverted.broke.code}]",
            hint="leave this pass out, or let `guard: revert` do so",
            tool=reverted.tool,
            node=reverted.broke.node,
        )
    shown = f"`onnxbuild repro` copies out a model of {nodes} that shows it"
    ws.warn("pass-reverted", f"{what}; it was left out, and {shown}")


def _warn_of_risk(step: Pass, ws: Workspace) -> None:
    from onnxbuild.ir.passes.onnxoptimizer import RISKY

    for name in step.names or () if isinstance(step, OnnxoptimizerPass) else ():
        if name in RISKY:
            ws.warn("risky-pass", f"onnxoptimizer's {name} can change what a model computes or how it is called")


def _new_operators(before: ModelFacts, after: ModelFacts) -> list[str]:
    return [name for name, count in after.operators.items() if count > before.operators.get(name, 0)]


def _require_fusions(step: TransformersPass, facts: ModelFacts, reverted: tuple[Reverted, ...]) -> None:
    found: dict[str, int] = {}
    for operator, count in facts.operators.items():
        name = operator.rpartition(".")[2]
        found[name] = found.get(name, 0) + count
    missed = {name: count for name, count in step.expect.items() if found.get(name, 0) != count}
    if missed:
        fused = {name.rpartition(".")[2]: count for name, count in facts.operators.items() if "." in name}
        wanted = ", ".join(f"{count} {name}, found {found.get(name, 0)}" for name, count in missed.items())
        listed = ", ".join(f"{count} {name}" for name, count in sorted(fused.items())) or "none"
        left_out = f"; left out, because it breaks the model: {', '.join(r.name for r in reverted)}" if reverted else ""
        raise StageFailure(
            "expected-fusion-missing",
            f"{tool_name(step)}: expected {wanted}; the fused operators are: {listed}{left_out}",
            hint="check model_type, num_heads and hidden_size; `onnxscript: optimize` before it can help",
            tool="onnxruntime.transformers",
        )


def _packages(params: OptimizeParams) -> tuple[str, ...]:
    package = package_of(params.step)
    return (*MODEL, ONNXRUNTIME, *((package,) if package is not None and package != ONNXRUNTIME else ()))


def _holds(params: OptimizeParams, facts: OptimizeFacts) -> bool:
    """Tell whether today's limits would keep what was kept, and leave out what was left out."""

    def is_beyond(measures: OutputMeasures) -> bool:
        limit = step_limit(params.limits.get(measures.name), measures.dtype, facts.tested.precision)
        return exceeds(measures, limit)

    if facts.reverted and params.guard == STRICT:
        return False
    judged = [r.broke.measures for r in facts.reverted if r.broke.code == CHANGED_RESULTS and r.broke.measures]
    return not any(map(is_beyond, facts.probe)) and all(any(map(is_beyond, measures)) for measures in judged)


def _is_tied_to_the_machine(params: OptimizeParams) -> bool:
    return isinstance(params.step, OnnxruntimePass) and params.step.level != "basic"


def _runs_user_code(params: OptimizeParams) -> bool:
    return isinstance(params.step, CustomPass)


OPTIMIZE = Stage(
    name="optimize",
    version=5,
    params=OptimizeParams,
    facts=OptimizeFacts,
    run=run,
    packages=_packages,
    preload=lambda _: PRELOAD,
    runs_user_code=_runs_user_code,
    unkeyed=("limits", "guard"),
    holds=_holds,
    hardware=_is_tied_to_the_machine,
)
