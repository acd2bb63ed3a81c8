"""A merged recipe to a Target: required keys, defaults, and nothing that the chosen modes do not use.

Knows nothing of files. What is missing is noted in the draft and stands as a placeholder, so that other sections are
still checked; a target with problems is never handed out.
"""

from __future__ import annotations

from onnxbuild.base.codec import Json
from onnxbuild.recipe.build_limits import build_evaluation, build_providers, build_size, build_tolerance, data_source
from onnxbuild.recipe.build_speed import build_speed_limits, build_tuning, default_rows
from onnxbuild.recipe.draft import Draft
from onnxbuild.recipe.known import PROVIDERS
from onnxbuild.recipe.node import places
from onnxbuild.recipe.raw import RawAuto, RawPass, RawQuantization
from onnxbuild.recipe.types import (
    Auto,
    Axis,
    Calibration,
    CustomPass,
    Framework,
    Function,
    Input,
    OnnxoptimizerPass,
    OnnxruntimePass,
    OnnxscriptPass,
    OnnxslimPass,
    Output,
    Package,
    Pass,
    Pruning,
    Quantization,
    Session,
    Source,
    Target,
    TransformersPass,
)

DEFAULT_OPSET = 20
INT4_OPSET = 21


def build_target(draft: Draft, recipe: str, variant: str, file: str) -> Target:
    """Return the target that the merged recipe describes; `draft.problems` says whether it is sound."""
    raw = draft.raw
    source = build_source(draft)
    opset = raw.opset if raw.opset is not None or source.framework is Framework.ONNX else DEFAULT_OPSET
    tolerance = build_tolerance(draft)
    outputs = build_outputs(draft)
    inputs, axes = build_inputs(draft), build_axes(draft)
    providers = build_providers(draft, tolerance)
    limits = build_speed_limits(draft, variant, providers, default_rows(inputs, axes))
    return Target(
        recipe=recipe,
        variant=variant,
        file=file,
        folder=file.rpartition("/")[0] or ".",
        description=raw.description or "",
        source=source,
        inputs=inputs,
        outputs=outputs,
        dynamic_axes=axes,
        opset=opset,
        ir_version=raw.ir_version,
        passes=tuple(
            step
            for index, entry in enumerate(raw.passes or [])
            if (step := build_pass(draft, index, entry)) is not None
        ),
        pruning=build_pruning(draft),
        calibration=build_calibration(draft),
        evaluation=build_evaluation(draft),
        quantization=build_quantization(draft, opset),
        auto=build_auto(draft, opset),
        tolerance=tolerance,
        providers=providers,
        session=build_session(draft),
        size=build_size(draft, variant),
        package=build_package(draft),
        guard=raw.guard or "revert",
        strict_reads=bool(raw.strict_reads),
        benchmark=limits.benchmark,
        speed=limits.speed,
        latency=limits.latency,
        tune=build_tuning(draft, limits.benchmark, inputs, axes),
        memory=limits.memory,
        places=places(draft.node),
    )


def function(text: str, args: dict[str, Json] | None = None) -> Function:
    """Return the function that `file.py:name` names."""
    file, _, name = text.rpartition(":")
    return Function(file=file, name=name, args=args or {})


def build_source(draft: Draft) -> Source:
    """Return the source; a placeholder when it has no framework or nothing to load."""
    raw = draft.raw.source
    if raw is None:
        draft.missing(("source",), "a `source`", hint="source: {framework: torch, factory: models/net.py:build}")
        return Source(framework=Framework.ONNX)
    if raw.framework is None:
        draft.missing(("source", "framework"), "`framework`")
        return Source(framework=Framework.ONNX)
    if draft.one_of(("source",), ("factory", "path")) is None:
        draft.missing(("source", "factory"), "`factory` or `path`")
    return Source(
        framework=Framework(raw.framework),
        factory=function(raw.factory, raw.args) if raw.factory is not None else None,
        weights=raw.weights,
        path=raw.path,
        sha256=raw.sha256,
        trust_pickle=raw.trust == "pickle",
        signature=raw.signature or "serving_default",
        reads=tuple(raw.reads or ()),
        env=tuple(raw.env or ()),
    )


def build_inputs(draft: Draft) -> tuple[Input, ...]:
    """Return the inputs that are complete."""
    raw = draft.raw.inputs
    if not raw:
        draft.missing(("inputs",), "`inputs`", hint="inputs: {x: {dtype: float32, shape: [batch, 10]}}")
        return ()
    found = []
    for name, value in raw.items():
        if value is None or value.dtype is None:
            draft.missing(("inputs", name, "dtype"), "`dtype`")
        elif value.shape is None:
            draft.missing(("inputs", name, "shape"), "`shape`", hint="shape: [batch, 10]; a scalar is []")
        else:
            bounds = (value.range[0], value.range[1]) if value.range is not None else None
            found.append(Input(name=name, dtype=value.dtype, shape=tuple(value.shape), range=bounds))
    return tuple(found)


def build_outputs(draft: Draft) -> tuple[Output, ...]:
    """Return the outputs; their names must differ."""
    raw = draft.raw.outputs
    if not raw:
        draft.missing(("outputs",), "`outputs`", hint="outputs: [y]")
        return ()
    if isinstance(raw, dict):
        return tuple(Output(name=name, method=method) for name, method in raw.items())
    for index, name in enumerate(raw):
        if name in raw[:index]:
            message = f"the output '{name}' is named twice"
            draft.error("duplicate-name", message, draft.value("outputs", index), "outputs")
    return tuple(Output(name=name) for name in raw)


def build_axes(draft: Draft) -> dict[str, Axis]:
    """Return the dynamic axes; an unwritten `min` is the smallest size that `multiple_of` allows."""
    axes = {}
    for name, raw in (draft.raw.dynamic_axes or {}).items():
        if raw is None or raw.max is None:
            draft.missing(("dynamic_axes", name, "max"), "`max`", hint=f"{name}: {{max: 64}}")
            continue
        multiple = raw.multiple_of or 1
        axes[name] = Axis(max=raw.max, min=raw.min if raw.min is not None else multiple, multiple_of=multiple)
    return axes


def build_pass(draft: Draft, index: int, raw: RawPass) -> Pass | None:
    """Return one entry of `passes`, or None when it lacks something."""
    keys = [key for key in raw.__struct_fields__ if getattr(raw, key) is not None]
    if len(keys) != 1:
        if "passes" not in draft.broken:
            place, message = draft.value("passes", index), f"`passes.{index}` must hold exactly one pass"
            hint = "begin each with a `-` of its own" if keys else "- onnxslim: default"
            draft.error("wrong-value", message, place, "passes", hint=hint)
        return None
    if raw.onnxscript is not None:
        return OnnxscriptPass()
    if raw.onnxoptimizer is not None:
        return OnnxoptimizerPass(names=None if isinstance(raw.onnxoptimizer, str) else tuple(raw.onnxoptimizer))
    if raw.onnxslim is not None:
        return OnnxslimPass()
    if raw.onnxruntime is not None:
        return OnnxruntimePass(level=raw.onnxruntime)
    if raw.transformers is not None:
        given = raw.transformers
        if given.model_type is None:
            draft.missing(("passes", index, "transformers", "model_type"), "`model_type`", hint="model_type: bert")
            return None
        return TransformersPass(
            model_type=given.model_type,
            num_heads=given.num_heads or 0,
            hidden_size=given.hidden_size or 0,
            expect=given.expect or {},
        )
    assert raw.custom is not None
    if raw.custom.function is not None:
        return CustomPass(function=function(raw.custom.function, raw.custom.args))
    draft.missing(("passes", index, "custom", "function"), "`function`", hint="function: passes/mine.py:run")
    return None


def build_pruning(draft: Draft) -> Pruning | None:
    """Return the pruning with only what its method uses."""
    raw = draft.raw.pruning
    if raw is None:
        return None
    include, exclude = tuple(raw.include or ()), tuple(raw.exclude or ())
    if raw.method is None:
        draft.missing(("pruning", "method"), "`method`", hint="method: magnitude")
        return None
    if raw.method == "magnitude":
        if raw.sparsity is None:
            draft.missing(("pruning", "sparsity"), "`sparsity` for magnitude pruning", hint="sparsity: 0.5")
        scope = raw.scope or "layer"
        return Pruning(method="magnitude", sparsity=raw.sparsity, scope=scope, include=include, exclude=exclude)
    if raw.method == "threshold":
        if raw.threshold is None:
            draft.missing(("pruning", "threshold"), "`threshold` for threshold pruning", hint="threshold: 1.0e-3")
        least = raw.min_sparsity if raw.min_sparsity is not None else 0.5
        return Pruning(
            method="threshold", threshold=raw.threshold, min_sparsity=least, include=include, exclude=exclude
        )
    n, m = (int(number) for number in raw.method.split(":"))
    if n >= m:
        message = f"in n:m pruning n of each m weights stay, so n must be less than m, not {raw.method}"
        draft.error("wrong-value", message, draft.value("pruning", "method"), "pruning", hint='method: "2:4"')
    return Pruning(method="n:m", n=n, m=m, include=include, exclude=exclude)


def build_calibration(draft: Draft) -> Calibration | None:
    """Return the calibration data."""
    raw = draft.raw.calibration
    if raw is None:
        return None
    data = data_source(draft, "calibration", raw.data)
    return Calibration(data=data, samples=raw.samples) if data is not None else None


def build_quantization(draft: Draft, opset: int | None) -> Quantization | None:
    """Return the quantisation with only what its mode uses; mode none is none at all, and so is auto (see `auto`)."""
    raw = draft.raw.quantization
    if raw is None or raw.mode in ("none", "auto"):
        return None
    if raw.mode is None:
        draft.missing(("quantization", "mode"), "`mode`", hint="mode: dynamic")
        return None
    return _replace(_of_mode(raw, raw.mode, opset), repair=raw.repair)


def build_auto(draft: Draft, opset: int | None) -> Auto | None:
    """Return what mode auto chooses from: unless the recipe says, every mode that the recipe has the data for."""
    raw = draft.raw.quantization
    if raw is None or raw.mode != "auto":
        return None
    written = raw.auto or RawAuto()
    standard = ["dynamic", *(["static"] if draft.raw.calibration is not None else []), "float16"]
    modes = [mode for mode in dict.fromkeys(written.candidates or standard) if mode != "none"]
    if written.candidates is not None and not modes:
        place, message = draft.value("quantization", "auto", "candidates"), "there is nothing to choose from"
        draft.error("wrong-value", message, place, "quantization", hint="candidates: [dynamic, float16]")
    providers: list[str] = list(draft.raw.providers or ("cpu",))
    provider: str = written.provider or providers[0]
    return Auto(
        candidates=tuple(_of_mode(raw, mode, opset) for mode in modes),
        objective=written.objective or "latency",
        provider={full: short for short, full in PROVIDERS.items()}.get(provider, provider),
        repair=bool(raw.repair),
    )


def _of_mode(raw: RawQuantization, mode: str, opset: int | None) -> Quantization:
    """Return the settings that a mode uses.

    int4 without `format` is qdq where the opset has 4-bit tensors (21), else ONNX Runtime's MatMulNBits operator.
    """
    plain = Quantization(
        mode=mode,
        op_types=tuple(raw.op_types) if raw.op_types is not None else None,
        exclude=tuple(raw.exclude or ()),
    )
    match mode:
        case "dynamic":
            return _replace(plain, weights=raw.weights, per_channel=raw.per_channel)
        case "static":
            return _replace(
                plain,
                weights=raw.weights,
                activations=raw.activations,
                format=raw.format,
                per_channel=raw.per_channel,
                calibrate=raw.calibrate,
            )
        case "float16":
            return _replace(plain, keep_io=raw.keep_io)
        case "int4":
            natural = "qdq" if opset is not None and opset >= INT4_OPSET else "qoperator"
            return _replace(plain, block_size=raw.block_size, symmetric=raw.symmetric, format=raw.format or natural)
    return plain


def _replace(value: Quantization, **changes: object) -> Quantization:
    written = {name: change for name, change in changes.items() if change is not None}
    return Quantization(**{name: getattr(value, name) for name in value.__struct_fields__} | written)


def build_session(draft: Draft) -> Session:
    """Return the session's settings."""
    raw = draft.raw.session
    if raw is None:
        return Session()
    return Session(
        graph_optimization=raw.graph_optimization,
        intra_op_threads=raw.intra_op_threads,
        memory_pattern=raw.memory_pattern,
        cpu_arena=raw.cpu_arena,
    )


def build_package(draft: Draft) -> Package:
    """Return the package's settings; metadata values become texts as YAML wrote them."""
    raw = draft.raw.package
    if raw is None:
        return Package()
    texts = {True: "true", False: "false"}
    metadata = {
        key: texts[value] if isinstance(value, bool) else str(value)
        for key, value in (raw.metadata or {}).items()
        if value is not None
    }
    formats = tuple(dict.fromkeys(raw.formats)) if raw.formats is not None else ("onnx",)
    if "onnx" not in formats:
        message = "`package.formats` must hold onnx: it is what is proved, and other formats are made from it"
        hint = f"formats: [{', '.join(('onnx', *formats))}]"
        draft.error("wrong-value", message, draft.value("package", "formats"), "package", hint=hint)
    return Package(metadata=metadata, portable=raw.portable is not False, formats=formats)
