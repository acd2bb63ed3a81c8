"""Sections of one target against each other: axes, names, metrics, passes; reads no file.

A check is skipped where a section it reads has errors already, so that one mistake causes one message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from onnxbuild.base.diagnostics import did_you_mean
from onnxbuild.recipe.checks.metrics import check_metric_limits
from onnxbuild.recipe.checks.opsets import check_opset, check_quantization
from onnxbuild.recipe.checks.package import check_package
from onnxbuild.recipe.checks.passes import check_passes
from onnxbuild.recipe.checks.providers import check_providers
from onnxbuild.recipe.checks.source import check_source_shape
from onnxbuild.recipe.checks.speed import check_batches, check_gate_providers, check_references
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.known import FLOATS
from onnxbuild.recipe.types import Framework, Input, RandomData, Target

Check = Callable[[Draft, Target], None]


def check_contract(draft: Draft, target: Target, variants: Sequence[str], broken: Collection[str]) -> None:
    """Note everything that contradicts itself in the target; `variants` names all variants of its recipe."""
    for check, sections in CHECKS:
        if sections.isdisjoint(broken):
            check(draft, target)
    if "gates" not in broken:
        check_references(draft, target, variants)


def _check_axes(draft: Draft, target: Target) -> None:
    used = set()
    for value in target.inputs:
        for index, dim in enumerate(value.shape):
            if isinstance(dim, int):
                continue
            used.add(dim)
            if dim not in target.dynamic_axes:
                place = draft.value("inputs", value.name, "shape", index)
                hint = did_you_mean(dim, list(target.dynamic_axes)) or f"dynamic_axes: {{{dim}: {{max: 64}}}}"
                draft.error("undeclared-axis", f"the dynamic axis '{dim}' is not declared", place, "inputs", hint=hint)
    for name in target.dynamic_axes:
        if name not in used:
            place, near = draft.key("dynamic_axes", name), did_you_mean(name, sorted(used))
            message = f"no input's shape names the dynamic axis '{name}'"
            draft.error("unused-axis", message, place, "dynamic_axes", hint=near or "use it, or leave it out")


def _check_axis_ranges(draft: Draft, target: Target) -> None:
    for name, axis in target.dynamic_axes.items():
        message = None
        if axis.min > axis.max:
            message = f"the axis '{name}' has min {axis.min} above max {axis.max}"
        elif axis.max % axis.multiple_of:
            message = f"the axis '{name}' has max {axis.max}, which is no multiple of {axis.multiple_of}"
        elif axis.min % axis.multiple_of:
            message = f"the axis '{name}' has min {axis.min}, which is no multiple of {axis.multiple_of}"
        if message is not None:
            end = "max" if "has max" in message or not draft.has("dynamic_axes", name, "min") else "min"
            draft.error("wrong-axis", message, draft.value("dynamic_axes", name, end), "dynamic_axes")


def _check_inputs(draft: Draft, target: Target) -> None:
    for value in target.inputs:
        if value.range is not None:
            _check_range(draft, value, value.range)


_UNSIGNED_BITS = {"uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}
_SIGNED_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}


def _check_range(draft: Draft, value: Input, bounds: tuple[float, float]) -> None:
    place = draft.value("inputs", value.name, "range")
    low, high = bounds
    message = None
    if value.dtype in ("string", "bool"):
        message = f"`inputs.{value.name}` has dtype {value.dtype}, which has no range"
    elif low > high:
        message = f"`inputs.{value.name}.range` begins above its end"
    elif value.dtype not in FLOATS:
        least, most = _limits(value.dtype)
        if not (float(low).is_integer() and float(high).is_integer()):
            message = f"`inputs.{value.name}.range` must be whole numbers, as its dtype is {value.dtype}"
        elif low < least or high > most:
            message = f"`inputs.{value.name}.range` does not fit into {value.dtype} ({least} to {most})"
    if message is not None:
        draft.error("wrong-range", message, place, "inputs")


def _limits(dtype: str) -> tuple[int, int]:
    if dtype in _UNSIGNED_BITS:
        return 0, 2 ** _UNSIGNED_BITS[dtype] - 1
    half = 2 ** (_SIGNED_BITS[dtype] - 1)
    return -half, half - 1


def _check_outputs(draft: Draft, target: Target) -> None:
    inputs = {value.name for value in target.inputs}
    written_as_list = isinstance(draft.raw.outputs, list)
    for index, output in enumerate(target.outputs):
        place = draft.value("outputs", index) if written_as_list else draft.key("outputs", output.name)
        if output.name in inputs:
            message = f"'{output.name}' is the name of an input and of an output"
            draft.error("duplicate-name", message, place, "outputs", hint="name the output otherwise")
        if output.method is not None and target.source.framework is not Framework.SKLEARN:
            message = f"only sklearn outputs name a method, not those of {target.source.framework.value}"
            draft.error("wrong-value", message, place, "outputs", hint="outputs: [y]")


def _check_output_names(draft: Draft, target: Target) -> None:
    known = [output.name for output in target.outputs]

    def check(name: str, path: tuple[str, ...], *, at_key: bool) -> None:
        if name in known or not draft.has(*path):
            return
        place = draft.key(*path) if at_key else draft.value(*path)
        hint = did_you_mean(name, known) or f"the outputs are {', '.join(known)}"
        draft.error("unknown-output", f"there is no output '{name}'", place, path[0], hint=hint)

    for name in target.tolerance.outputs:
        check(name, ("tolerance", "outputs", name), at_key=True)
    for written, raw in (draft.raw.providers or {}).items():
        for name in (raw.tolerance.outputs or {}) if raw is not None and raw.tolerance is not None else ():
            check(name, ("providers", written, "tolerance", "outputs", name), at_key=True)
    if target.evaluation is not None and target.evaluation.output is not None:
        check(target.evaluation.output, ("evaluation", "output"), at_key=False)


def _check_texts(draft: Draft, target: Target) -> None:
    """Note string inputs without data: texts come from data alone."""
    texts = next((value.name for value in target.inputs if value.dtype == "string"), None)
    if texts is None:
        return
    for section, wanted in (("evaluation", target.evaluation), ("calibration", target.calibration)):
        if wanted is not None and isinstance(wanted.data, RandomData):
            place = draft.value(section, "data")
        elif wanted is None and section == "evaluation":
            place = draft.key("inputs", texts)
        else:
            continue
        message = f"no strings can be generated for the input '{texts}'"
        draft.error("random-strings", message, place, section, hint="evaluation: {data: data/test.csv}")


def _check_calibration(draft: Draft, target: Target) -> None:
    if target.quantization is not None and target.quantization.mode == "static" and target.calibration is None:
        place = draft.value("quantization", "mode")
        hint = "calibration: {data: data/train.npz, samples: 256}"
        draft.error("calibration-missing", "static quantisation needs `calibration`", place, "quantization", hint=hint)


def _check_auto(draft: Draft, target: Target) -> None:
    auto = target.auto
    if auto is None:
        return
    if target.calibration is None and any(candidate.mode == "static" for candidate in auto.candidates):
        place = draft.value("quantization", "auto", "candidates")
        hint = "calibration: {data: data/train.npz, samples: 256}"
        draft.error("calibration-missing", "static quantisation needs `calibration`", place, "quantization", hint=hint)
    names = [provider.name for provider in target.providers]
    if auto.provider not in names:
        message = f"the target is not proved on {auto.provider}, so nothing can be chosen by its latency there"
        place, hint = draft.value("quantization", "auto", "provider"), f"provider: {names[0]}"
        draft.error("unknown-provider", message, place, "quantization", hint=hint)


CHECKS: tuple[tuple[Check, frozenset[str]], ...] = (
    (check_source_shape, frozenset({"source"})),
    (_check_axes, frozenset({"inputs", "dynamic_axes"})),
    (_check_axis_ranges, frozenset({"dynamic_axes"})),
    (_check_inputs, frozenset({"inputs"})),
    (_check_outputs, frozenset({"inputs", "outputs", "source"})),
    (_check_output_names, frozenset({"outputs", "tolerance", "providers", "evaluation"})),
    (_check_texts, frozenset({"inputs", "evaluation", "calibration"})),
    (_check_calibration, frozenset({"calibration", "quantization"})),
    (_check_auto, frozenset({"calibration", "quantization", "providers"})),
    (check_providers, frozenset({"providers"})),
    (check_passes, frozenset({"passes", "package"})),
    (check_package, frozenset({"package", "providers"})),
    (check_opset, frozenset({"source", "opset", "ir_version"})),
    (check_quantization, frozenset({"source", "opset", "ir_version", "quantization"})),
    (check_metric_limits, frozenset({"evaluation", "tolerance", "providers"})),
    (check_batches, frozenset({"benchmark", "gates", "inputs", "dynamic_axes"})),
    (check_gate_providers, frozenset({"gates", "providers"})),
)
"""Each check with the sections of the recipe it reads."""
