"""What a recipe may say, key by key with its description: the one source of the JSON Schema and of fast validation.

Every key may be absent, and null removes an inherited one; what the merged recipe must hold is `build`'s to say.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta


class Raw(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mapping with fixed keys; `x-...` keys are ignored."""


NAME = r"^(?!index$)[a-z0-9][a-z0-9._-]*$"
Name = Annotated[str, Meta(pattern=NAME)]
AxisName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
Text = Annotated[str, Meta(min_length=1)]
FunctionName = Annotated[str, Meta(pattern=r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Percent = Annotated[str, Meta(pattern=r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*%\s*$")]
Size = Annotated[str, Meta(pattern=r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(B|[kK]B|MB|GB|TB)\s*$")]
Duration = Annotated[str, Meta(pattern=r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(us|ms|s|min|h)\s*$")]
RatioOf = Annotated[
    str, Meta(pattern=r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(%|x)\s+of\s+(?!index\s*$)[a-z0-9][a-z0-9._-]*\s*$")
]
SizeOrRatioOf = Annotated[
    str,
    Meta(
        pattern=r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*"
        r"((B|[kK]B|MB|GB|TB)|(%|x)\s+of\s+(?!index\s*$)[a-z0-9][a-z0-9._-]*)\s*$"
    ),
]
MetricLimit = Annotated[str, Meta(pattern=r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*%(\s+of\s+source)?\s*$")]
Args = dict[str, Any]
Shape = list[Annotated[int, Meta(ge=1, le=2**31 - 1)] | AxisName]
Dtype = Literal[
    "float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool", "string",
]  # fmt: skip
Method = Literal["predict", "predict_proba", "transform", "decision_function"]
ProviderName = Literal[
    "cpu", "cuda", "tensorrt", "openvino", "coreml", "directml", "qnn", "webgpu", "migraphx", "xnnpack",
    "nv-tensorrt-rtx", "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider",
    "OpenVINOExecutionProvider", "CoreMLExecutionProvider", "DmlExecutionProvider", "QNNExecutionProvider",
    "WebGpuExecutionProvider", "MIGraphXExecutionProvider", "XnnpackExecutionProvider",
    "NvTensorRTRTXExecutionProvider",
]  # fmt: skip

ProviderKey = Annotated[str, Meta(pattern=f"^({'|'.join(get_args(ProviderName))})$")]


class RawSource(Raw, frozen=True):
    """The model to build from: a factory (with optional weights), or the path of a saved model."""

    framework: Annotated[
        Literal["torch", "tensorflow", "keras", "tflite", "sklearn", "onnx"] | None, Meta(description="What made it.")
    ] = None
    factory: Annotated[
        FunctionName | None,
        Meta(description="`file.py:name` of a function that returns the model (torch, keras, sklearn)."),
    ] = None
    args: Annotated[Args | None, Meta(description="Keyword arguments of the factory.")] = None
    weights: Annotated[
        Text | None,
        Meta(description="Weights to load: torch .safetensors, .pt or .pth (weights only); keras .weights.h5."),
    ] = None
    path: Annotated[
        Text | None,
        Meta(
            description="A saved model, instead of a factory: torch .pt2, a TensorFlow SavedModel folder, .keras, "
            ".tflite, sklearn .skops, .joblib or .pkl, .onnx."
        ),
    ] = None
    signature: Annotated[Text | None, Meta(description="Signature of a SavedModel; default serving_default.")] = None
    sha256: Annotated[Digest | None, Meta(description="Pin of `weights` or `path`; a mismatch is an error.")] = None
    trust: Annotated[
        Literal["pickle"] | None,
        Meta(description="Allow a file whose loading can run code (.pt2, .joblib, .pkl); needs `sha256` too."),
    ] = None
    reads: Annotated[
        list[Text] | None, Meta(description="Files (globs) that user code reads in ways onnxbuild cannot see.")
    ] = None
    env: Annotated[
        list[Text] | None, Meta(description="Environment variables user code may see; their values are keyed.")
    ] = None


class RawInput(Raw, frozen=True):
    """One model input."""

    dtype: Annotated[Dtype | None, Meta(description="Element type.")] = None
    shape: Annotated[Shape | None, Meta(description="Sizes and names of dynamic axes; an empty list is a scalar.")] = (
        None
    )
    range: Annotated[
        Annotated[list[float], Meta(min_length=2, max_length=2)] | None,
        Meta(description="Lowest and highest value of random and probe data."),
    ] = None


class RawAxis(Raw, frozen=True):
    """The range of a dynamic axis, both ends included."""

    min: Annotated[Count | None, Meta(description="Smallest size; default 1.")] = None
    max: Annotated[Count | None, Meta(description="Largest size; required.")] = None
    multiple_of: Annotated[Count | None, Meta(description="Sizes are multiples of this.")] = None


class RawTransformers(Raw, frozen=True):
    """ONNX Runtime's transformer fusions."""

    model_type: Annotated[Text | None, Meta(description="Family of the model, such as bert, gpt2, vit.")] = None
    num_heads: Annotated[Count | None, Meta(description="Attention heads; found by the tool if left out.")] = None
    hidden_size: Annotated[Count | None, Meta(description="Width of the model; found by the tool if left out.")] = None
    expect: Annotated[
        dict[Text, Annotated[int, Meta(ge=0)]] | None,
        Meta(description="Fused operators that must result, and how many."),
    ] = None


class RawCustomPass(Raw, frozen=True):
    """A pass of your own: (onnx_ir.Model, **args) -> onnx_ir.Model."""

    function: Annotated[FunctionName | None, Meta(description="`file.py:name` of the function.")] = None
    args: Annotated[Args | None, Meta(description="Keyword arguments of the function.")] = None


class RawPass(Raw, frozen=True):
    """One pass: a mapping with exactly one of these keys."""

    onnxscript: Annotated[Literal["optimize"] | None, Meta(description="onnxscript's optimizer.")] = None
    onnxoptimizer: Annotated[
        Literal["default"] | list[Text] | None, Meta(description="onnxoptimizer: its default passes, or these by name.")
    ] = None
    onnxslim: Annotated[Literal["default"] | None, Meta(description="onnxslim with its default settings.")] = None
    onnxruntime: Annotated[
        Literal["basic", "extended", "all"] | None,
        Meta(description="ONNX Runtime's own: basic is portable; extended and all need `package.portable: false`."),
    ] = None
    transformers: Annotated[RawTransformers | None, Meta(description="ONNX Runtime's transformer fusions.")] = None
    custom: Annotated[RawCustomPass | None, Meta(description="A pass of your own.")] = None


class RawPruning(Raw, frozen=True):
    """Which weights become zero."""

    method: Annotated[
        Annotated[str, Meta(pattern=r"^(magnitude|threshold|[1-9][0-9]{0,2}:[1-9][0-9]{0,2})$")] | None,
        Meta(description='magnitude, threshold, or "n:m" such as "2:4".'),
    ] = None
    sparsity: Annotated[Fraction | None, Meta(description="magnitude: the share of weights that become zero.")] = None
    threshold: Annotated[NotNegative | None, Meta(description="threshold: weights strictly under it become zero.")] = (
        None
    )
    min_sparsity: Annotated[
        Fraction | None,
        Meta(description="threshold: a tensor is pruned only when more than this share lies under it; default 0.5."),
    ] = None
    scope: Annotated[
        Literal["layer", "global"] | None, Meta(description="magnitude: rank weights by layer (default) or over all.")
    ] = None
    include: Annotated[list[Text] | None, Meta(description="Patterns of nodes to prune; default all.")] = None
    exclude: Annotated[list[Text] | None, Meta(description="Patterns of nodes to leave alone.")] = None


class RawRandom(Raw, frozen=True):
    """Generated data; verdicts from it are failed or unverified, never passed."""

    seed: Annotated[Annotated[int, Meta(ge=0)] | None, Meta(description="Seed; default 0.")] = None
    samples: Annotated[Count | None, Meta(description="Rows; default 64.")] = None


class RawData(Raw, frozen=True):
    """Data from a function, or generated."""

    loader: Annotated[
        FunctionName | None,
        Meta(description="`file.py:name` of a function that returns a mapping of arrays or an iterable of mappings."),
    ] = None
    args: Annotated[Args | None, Meta(description="Keyword arguments of the loader.")] = None
    random: Annotated[RawRandom | None, Meta(description="Generated data.")] = None


DATA = "A .npz, .safetensors, .csv or .parquet file, a folder of .npz, {loader: file.py:name} or {random: {...}}."


class RawCalibration(Raw, frozen=True):
    """Data for static quantisation."""

    data: Annotated[Text | RawData | None, Meta(description=DATA)] = None
    samples: Annotated[Count | None, Meta(description="Use the first so many.")] = None


class RawCustomMetric(Raw, frozen=True):
    """A metric of your own: (outputs: dict, labels, inputs: dict) -> float."""

    custom: Annotated[FunctionName | None, Meta(description="`file.py:name` of the function.")] = None
    higher_is_better: Annotated[bool | None, Meta(description="Its direction; default true.")] = None


MetricName = Literal["accuracy", "top_k", "f1", "precision", "recall", "roc_auc", "mae", "rmse", "r2", "cosine"]


class RawEvaluation(Raw, frozen=True):
    """Held-out data, and the metric on it."""

    data: Annotated[Text | RawData | None, Meta(description=DATA)] = None
    metric: Annotated[MetricName | RawCustomMetric | None, Meta(description="A known metric, or your own.")] = None
    samples: Annotated[Count | None, Meta(description="Use the first so many.")] = None
    output: Annotated[Text | None, Meta(description="The output that the metric reads; default the first.")] = None
    axis: Annotated[int | None, Meta(description="The axis of the classes; default -1.")] = None
    average: Annotated[
        Literal["binary", "macro"] | None, Meta(description="How f1, precision, recall and roc_auc are averaged.")
    ] = None
    labels: Annotated[Text | None, Meta(description="Name of the labels' array or column; default labels.")] = None
    k: Annotated[Count | None, Meta(description="top_k: how many guesses count; default 5.")] = None


class RawAuto(Raw, frozen=True):
    """Choose the quantisation by measurement."""

    candidates: Annotated[
        list[Literal["none", "dynamic", "static", "float16", "int4"]] | None, Meta(description="Modes to try.")
    ] = None
    objective: Annotated[Literal["latency", "size", "accuracy"] | None, Meta(description="What is best.")] = None
    provider: Annotated[ProviderName | None, Meta(description="Where it is measured.")] = None


class RawQuantization(Raw, frozen=True):
    """How weights and activations become smaller."""

    mode: Annotated[
        Literal["none", "dynamic", "static", "float16", "int4", "auto"] | None, Meta(description="The kind.")
    ] = None
    weights: Annotated[Literal["int8", "uint8"] | None, Meta(description="Type of weights; default int8.")] = None
    activations: Annotated[
        Literal["int8", "uint8"] | None, Meta(description="static: type of activations; default uint8.")
    ] = None
    format: Annotated[
        Literal["qdq", "qoperator"] | None,
        Meta(description="static, int4: how it is written; default qdq (int4 below opset 21: qoperator)."),
    ] = None
    per_channel: Annotated[bool | None, Meta(description="One scale for each channel; default false.")] = None
    calibrate: Annotated[
        Literal["minmax", "entropy", "percentile", "distribution"] | None,
        Meta(description="static: how ranges are found; default minmax."),
    ] = None
    op_types: Annotated[list[Text] | None, Meta(description="Operators to quantise; default all the tool can.")] = None
    exclude: Annotated[list[Text] | None, Meta(description="Node names or module paths (patterns) kept in float.")] = (
        None
    )
    keep_io: Annotated[bool | None, Meta(description="float16: inputs and outputs stay as declared; default true.")] = (
        None
    )
    block_size: Annotated[
        Literal[16, 32, 64, 128, 256] | None, Meta(description="int4: weights that share a scale; default 32.")
    ] = None
    symmetric: Annotated[bool | None, Meta(description="int4: no zero point; default true.")] = None
    repair: Annotated[
        bool | None, Meta(description="When the tolerance is missed, find layers to keep in float that meet it.")
    ] = None
    auto: Annotated[RawAuto | None, Meta(description="mode auto: what to choose from, and how.")] = None


class RawOutputTolerance(Raw, frozen=True):
    """Limits on one output against the reference; every one must hold."""

    atol: Annotated[NotNegative | None, Meta(description="Every element: |x - r| <= atol + rtol |r|.")] = None
    rtol: Annotated[NotNegative | None, Meta(description="Every element: |x - r| <= atol + rtol |r|.")] = None
    max_abs: Annotated[NotNegative | None, Meta(description="Largest absolute difference.")] = None
    mean_abs: Annotated[NotNegative | None, Meta(description="Mean absolute difference.")] = None
    cosine: Annotated[
        Annotated[float, Meta(ge=-1, le=1)] | None, Meta(description="Cosine of the worst sample, at least.")
    ] = None
    sqnr_db: Annotated[float | None, Meta(description="Signal to quantisation noise in dB, at least.")] = None
    argmax_agreement: Annotated[
        Fraction | Percent | None,
        Meta(
            description="Share with the same argmax, at least; of an output of integers, the share of equal elements."
        ),
    ] = None
    share: Annotated[
        Fraction | Percent | None, Meta(description="Share of elements within the elementwise limits; default 100%.")
    ] = None


class RawMetricLimit(Raw, frozen=True):
    """A limit on the metric: exactly one of these."""

    at_least: Annotated[float | MetricLimit | None, Meta(description='A value such as 0.97, or "99% of source".')] = (
        None
    )
    at_most: Annotated[
        float | MetricLimit | None, Meta(description='For metrics where lower is better: a value, or "101% of source".')
    ] = None
    max_drop: Annotated[float | Percent | None, Meta(description="Metric units, towards worse.")] = None


class RawTolerance(Raw, frozen=True):
    """What a target may differ from its source."""

    outputs: Annotated[dict[Text, RawOutputTolerance | None] | None, Meta(description="Limits by output name.")] = None
    metric: Annotated[RawMetricLimit | None, Meta(description="Limit on the evaluation's metric.")] = None


class RawProvider(Raw, frozen=True):
    """One execution provider to prove the target on."""

    tolerance: Annotated[RawTolerance | None, Meta(description="Merged over the target's tolerance.")] = None
    min_nodes: Annotated[
        Percent | Annotated[int, Meta(ge=0)] | None, Meta(description="Nodes it must get; default one node.")
    ] = None
    options: Annotated[dict[str, Any] | None, Meta(description="The provider's own options.")] = None
    required: Annotated[bool | None, Meta(description="A missing device is a failure; default false.")] = None


class RawSession(Raw, frozen=True):
    """ONNX Runtime's session configuration, used wherever the model runs and written into the package."""

    graph_optimization: Annotated[
        Literal["disable", "basic", "extended", "all"] | None, Meta(description="Optimisation at load.")
    ] = None
    intra_op_threads: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Threads of one operator; 0 is the runtime's choice.")
    ] = None
    memory_pattern: Annotated[bool | None, Meta(description="Plan memory from the first run.")] = None
    cpu_arena: Annotated[bool | None, Meta(description="Keep freed memory in an arena.")] = None
    auto: Annotated[Literal["latency", "throughput", "memory"] | None, Meta(description="Choose by measurement.")] = (
        None
    )


class RawBenchmark(Raw, frozen=True):
    """How speed and memory are measured."""

    batch: Annotated[list[Count] | None, Meta(description="Batch sizes; default [1].")] = None
    min_seconds: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="Shortest measurement; default 0.5.")
    ] = None
    memory: Annotated[bool | None, Meta(description="Measure peak memory; default true.")] = None


class RawSizeGate(Raw, frozen=True):
    """The model and its external data."""

    at_most: Annotated[
        SizeOrRatioOf | None, Meta(description='A size such as "2 MB", or "30% of fp32" (another variant).')
    ] = None


class RawSpeedGate(Raw, frozen=True):
    """Speed against another variant."""

    at_least: Annotated[RatioOf | None, Meta(description='Such as "1.1x of fp32" (another variant).')] = None
    provider: Annotated[ProviderName | None, Meta(description="Default: the first.")] = None
    batch: Annotated[Count | None, Meta(description="Default: the first.")] = None


class RawLatencyGate(Raw, frozen=True):
    """Latency of one call."""

    p50: Annotated[Duration | None, Meta(description='Such as "5 ms".')] = None
    p90: Annotated[Duration | None, Meta(description='Such as "5 ms".')] = None
    p95: Annotated[Duration | None, Meta(description='Such as "5 ms".')] = None
    p99: Annotated[Duration | None, Meta(description='Such as "5 ms".')] = None
    provider: Annotated[ProviderName | None, Meta(description="Default: the first.")] = None
    batch: Annotated[Count | None, Meta(description="Default: the first.")] = None


class RawMemoryGate(Raw, frozen=True):
    """Resident memory of a fresh process, less that of one with a one-node model."""

    peak: Annotated[Size | None, Meta(description='Such as "200 MB".')] = None
    provider: Annotated[ProviderName | None, Meta(description="Default: the first.")] = None


class RawGates(Raw, frozen=True):
    """Limits beyond accuracy."""

    size: Annotated[RawSizeGate | None, Meta(description="The model and its external data.")] = None
    speed: Annotated[RawSpeedGate | None, Meta(description="Speed against another variant.")] = None
    latency: Annotated[RawLatencyGate | None, Meta(description="Latency of one call.")] = None
    memory: Annotated[RawMemoryGate | None, Meta(description="Peak memory.")] = None


class RawPackage(Raw, frozen=True):
    """How a target is delivered."""

    metadata: Annotated[
        dict[Text, str | int | float | bool | None] | None, Meta(description="Texts written into the model.")
    ] = None
    formats: Annotated[
        list[Literal["onnx", "ort", "compiled"]] | None,
        Meta(
            description="Default [onnx]. compiled: for each provider that compiles models ahead, what it compiled (an "
            "EP-context model); it serves one kind of device and needs `portable: false`."
        ),
    ] = None
    portable: Annotated[bool | None, Meta(description="Refuse operators tied to a machine; default true.")] = None


class RawVariant(Raw, frozen=True):
    """What a variant, or `defaults` of onnxbuild.yaml, may say."""

    description: Annotated[str | None, Meta(description="What it is, for people.")] = None
    inputs: Annotated[dict[Text, RawInput | None] | None, Meta(description="Inputs in the model's order.")] = None
    outputs: Annotated[
        list[Text] | dict[Text, Method | None] | None,
        Meta(description="Names given to the outputs, in order; sklearn: also name to method."),
    ] = None
    dynamic_axes: Annotated[
        dict[AxisName, RawAxis | None] | None, Meta(description="The ranges of the axes that shapes name.")
    ] = None
    opset: Annotated[
        int | None, Meta(description="ONNX opset to deliver, 7 to 26; default an ONNX source's own, else 20.")
    ] = None
    ir_version: Annotated[
        int | None, Meta(description="ONNX IR version to deliver, 3 to 13; default 10, or what opset and dtypes need.")
    ] = None
    passes: Annotated[list[RawPass] | None, Meta(description="Graph passes, in order.")] = None
    pruning: Annotated[RawPruning | None, Meta(description="Which weights become zero.")] = None
    calibration: Annotated[RawCalibration | None, Meta(description="Data for static quantisation.")] = None
    evaluation: Annotated[RawEvaluation | None, Meta(description="Held-out data and the metric on it.")] = None
    quantization: Annotated[RawQuantization | None, Meta(description="How the model becomes smaller.")] = None
    tolerance: Annotated[
        RawTolerance | None,
        Meta(description="What may differ from the source; default every output within atol 1e-4, rtol 1e-3."),
    ] = None
    providers: Annotated[
        dict[ProviderKey, RawProvider | None] | None, Meta(description="Where to prove it; default cpu.")
    ] = None
    session: Annotated[RawSession | None, Meta(description="ONNX Runtime's session configuration.")] = None
    benchmark: Annotated[RawBenchmark | None, Meta(description="How speed and memory are measured.")] = None
    gates: Annotated[RawGates | None, Meta(description="Limits beyond accuracy.")] = None
    package: Annotated[RawPackage | None, Meta(description="How a target is delivered.")] = None
    guard: Annotated[
        Literal["revert", "strict"] | None, Meta(description="What a pass that breaks the model does.")
    ] = None
    strict_reads: Annotated[
        bool | None, Meta(description="A read outside the project that the recipe does not name is an error.")
    ] = None


class RawDefaults(RawVariant, frozen=True):
    """What every recipe of the project says unless it says otherwise."""

    source: Annotated[RawSource | None, Meta(description="The model to build from.")] = None


class RawRecipe(RawDefaults, frozen=True):
    """An onnxbuild recipe, format 1."""

    format: Annotated[Literal[1] | None, Meta(description="Version of the recipe format.")] = None
    name: Annotated[Name | None, Meta(description="Unique in the project; default the file's name without .yaml.")] = (
        None
    )
    variants: Annotated[
        dict[Name, RawVariant | None] | None,
        Meta(description="Each merged over the rest; null removes a key. Default: one, `default`."),
    ] = None


class RawLimits(Raw, frozen=True):
    """What one action may use."""

    memory: Annotated[Size | None, Meta(description='Such as "8 GB".')] = None
    time: Annotated[Duration | None, Meta(description='Such as "30 min".')] = None


class RawProject(Raw, frozen=True):
    """Settings of an onnxbuild project."""

    recipes: Annotated[Text | None, Meta(description="Glob of the recipes; default recipes/*.yaml.")] = None
    reports: Annotated[Text | None, Meta(description="Folder of the reports; default reports.")] = None
    output: Annotated[Text | None, Meta(description="Folder of what is built; default build.")] = None
    store: Annotated[Text | None, Meta(description="The store; default .onnxbuild, may be shared and absolute.")] = None
    jobs: Annotated[Count | None, Meta(description="Actions at once; default the number of cores.")] = None
    limits: Annotated[RawLimits | None, Meta(description="What one action may use.")] = None
    remote: Annotated[Text | None, Meta(description="Where artifacts are shared.")] = None
    trusted_keys: Annotated[list[Text] | None, Meta(description="Public keys whose records count.")] = None
    defaults: Annotated[RawDefaults | None, Meta(description="What every recipe says unless it says otherwise.")] = None
