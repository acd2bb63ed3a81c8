"""What a recipe says, as frozen values: every other layer reads these and never a dictionary of YAML."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from onnxbuild.base.codec import Json
from onnxbuild.base.diagnostics import Place


class Framework(enum.Enum):
    """Where a source model comes from."""

    TORCH = "torch"
    TENSORFLOW = "tensorflow"
    KERAS = "keras"
    TFLITE = "tflite"
    SKLEARN = "sklearn"
    ONNX = "onnx"


class Function(msgspec.Struct, frozen=True):
    """A Python function that a recipe names as `file.py:name`; `file` is relative to the recipe's folder."""

    file: str
    name: str
    args: dict[str, Json] = {}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The model to build from: a factory (with optional weights) or a saved model's path.

    Paths are relative to the recipe's folder. `sha256` pins `weights`, or `path` where there is one.
    """

    framework: Framework
    factory: Function | None = None
    weights: str | None = None
    path: str | None = None
    sha256: str | None = None
    trust_pickle: bool = False
    signature: str = "serving_default"
    reads: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


class Axis(msgspec.Struct, frozen=True):
    """The declared range of a dynamic axis, both ends included."""

    max: int
    min: int = 1
    multiple_of: int = 1


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One model input: `shape` holds sizes and names of dynamic axes; `range` bounds generated data."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    range: tuple[float, float] | None = None


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """One model output; `method` is the scikit-learn method it stands for, where the recipe says it."""

    name: str
    method: str | None = None


# Passes: a sealed union, told apart by their tag.


class OnnxscriptPass(msgspec.Struct, frozen=True, tag="onnxscript"):
    """onnxscript's optimizer."""


class OnnxoptimizerPass(msgspec.Struct, frozen=True, tag="onnxoptimizer"):
    """onnxoptimizer passes by name; None is the tool's default list."""

    names: tuple[str, ...] | None = None


class OnnxslimPass(msgspec.Struct, frozen=True, tag="onnxslim"):
    """onnxslim with its default settings."""


class OnnxruntimePass(msgspec.Struct, frozen=True, tag="onnxruntime"):
    """ONNX Runtime's graph optimisation, written back to a model; `level` is basic, extended or all."""

    level: str


class TransformersPass(msgspec.Struct, frozen=True, tag="transformers", kw_only=True):
    """ONNX Runtime's transformer fusions; `expect` maps an operator type to the count that must result."""

    model_type: str
    num_heads: int = 0
    hidden_size: int = 0
    expect: dict[str, int] = {}


class CustomPass(msgspec.Struct, frozen=True, tag="custom"):
    """A user's function `(onnx_ir.Model, **args) -> onnx_ir.Model`."""

    function: Function


Pass = OnnxscriptPass | OnnxoptimizerPass | OnnxslimPass | OnnxruntimePass | TransformersPass | CustomPass


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """Which weights become zero. `method` is magnitude, threshold or n:m (then `n` of each `m` stay)."""

    method: str
    sparsity: float | None = None
    threshold: float | None = None
    min_sparsity: float = 0.5
    n: int | None = None
    m: int | None = None
    scope: str = "layer"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


# Data: a sealed union.


class FileData(msgspec.Struct, frozen=True, tag="file"):
    """Arrays in a file (.npz, .safetensors, .csv, .parquet) or a folder of .npz, relative to the recipe's folder."""

    path: str


class LoaderData(msgspec.Struct, frozen=True, tag="loader"):
    """Arrays that a user's function returns: a mapping of arrays or an iterable of mappings."""

    function: Function


class RandomData(msgspec.Struct, frozen=True, tag="random"):
    """Generated arrays; verdicts from them are failed or unverified, never passed."""

    seed: int = 0
    samples: int = 64


DataSource = FileData | LoaderData | RandomData


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A task metric: a known name, or a user's function `(outputs, labels, inputs) -> float`."""

    name: str
    function: Function | None = None
    higher_is_better: bool = True


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Data for static quantisation; `samples` is the first so many calls."""

    data: DataSource
    samples: int | None = None


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Held-out data with labels, and the metric on it. `output` None is the first; `labels` names the labels' array."""

    data: DataSource
    metric: Metric | None = None
    samples: int | None = None
    output: str | None = None
    axis: int = -1
    average: str | None = None
    labels: str = "labels"
    k: int = 5


class Quantization(msgspec.Struct, frozen=True, kw_only=True):
    """How weights and activations become smaller. `mode` is none, dynamic, static, float16 or int4."""

    mode: str
    weights: str = "int8"
    activations: str = "uint8"
    format: str = "qdq"
    per_channel: bool = False
    calibrate: str = "minmax"
    op_types: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    keep_io: bool = True
    block_size: int = 32
    symmetric: bool = True
    repair: bool = False


class Auto(msgspec.Struct, frozen=True, kw_only=True):
    """A quantisation to be chosen by measurement among `candidates`, of one mode each; float32 is always one more.

    `objective` is latency, size or accuracy; latency is measured on `provider`. `repair` goes on where tools fail.
    """

    candidates: tuple[Quantization, ...]
    objective: str = "latency"
    provider: str = "cpu"
    repair: bool = False


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a search chose, or what a lock says it is to choose: repair's settings and layers, auto's winner.

    `keep` are names of nodes that stay in float, besides the recipe's `exclude`. A setting that is not None stands in
    place of the recipe's. `winner` is auto's candidate by its mode, `sessions` are what tune chose by class of machine.
    """

    keep: tuple[str, ...] = ()
    calibrate: str | None = None
    per_channel: bool | None = None
    weights: str | None = None
    activations: str | None = None
    op_types: tuple[str, ...] | None = None
    block_size: int | None = None
    symmetric: bool | None = None
    winner: str | None = None
    sessions: tuple[tuple[str, TunedSession], ...] | None = None


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One limit. `kind` is at_least, at_most or max_drop; `of` names what a share or ratio refers to.

    With `of`, `value` is a share or ratio (0.99, 1.1), else it is in the measure's own unit. `text` is the
    limit as the recipe wrote it, such as "at least 99% of source".
    """

    kind: str
    value: float
    of: str | None = None
    text: str = ""


class OutputTolerance(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on one output against the reference; None is not limited. `share` loosens elementwise measures."""

    atol: float | None = None
    rtol: float | None = None
    max_abs: float | None = None
    mean_abs: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    argmax_agreement: float | None = None
    share: float = 1.0


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """What a target may differ from its source, by output name and in the metric."""

    outputs: dict[str, OutputTolerance] = {}
    metric: Bound | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One execution provider to prove the target on, by its short name; its `tolerance` is merged over the target's.

    `min_nodes` is a count, or a share `of` the "nodes"; None is the default, one node. `options` are the provider's
    own, as the texts that ONNX Runtime takes. `required`: a missing device is a failure.
    """

    name: str
    tolerance: Tolerance
    min_nodes: Bound | None = None
    options: dict[str, str] = {}
    required: bool = False


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """ONNX Runtime's session configuration, used wherever the model runs and written into the package.

    `graph_optimization` is disable, basic, extended or all; None leaves the runtime's default.
    """

    graph_optimization: str | None = None
    intra_op_threads: int | None = None
    memory_pattern: bool | None = None
    cpu_arena: bool | None = None


class TunedSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A session as it was chosen by measuring, and what for: the settings of Session beside those of Tuning."""

    objective: Literal["latency", "throughput", "memory"]
    provider: str
    batch: Annotated[int, Meta(ge=1)]
    graph_optimization: Literal["disable", "basic", "extended", "all"] | None = None
    intra_op_threads: Annotated[int, Meta(ge=0)] | None = None
    memory_pattern: bool | None = None
    cpu_arena: bool | None = None

    @property
    def session(self) -> Session:
        """The settings alone."""
        return Session(**{name: getattr(self, name) for name in Session.__struct_fields__})


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """How speed and memory are measured: rows of a call, seconds a model at least, and whether memory is measured."""

    batch: tuple[int, ...]
    min_seconds: float = 0.5
    memory: bool = True


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What the session is to be best at ("latency", "throughput" or "memory"), with calls of `batch` rows."""

    objective: str
    batch: int


class SpeedGate(msgspec.Struct, frozen=True, kw_only=True):
    """How many times as fast as the variant `bound.of` a call of `batch` rows must be on a provider."""

    bound: Bound
    provider: str
    batch: int


class LatencyGate(msgspec.Struct, frozen=True, kw_only=True):
    """What a percentile ("p95") of the latency of a call of `batch` rows may be on a provider, in milliseconds."""

    percentile: str
    bound: Bound
    provider: str
    batch: int


class MemoryGate(msgspec.Struct, frozen=True, kw_only=True):
    """How many bytes a fresh process may hold at its peak on a provider, above one with a model of one node."""

    bound: Bound
    provider: str


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """How a target is delivered: `formats` are onnx, and beside it ort or compiled where the recipe asks for it."""

    metadata: dict[str, str] = {}
    portable: bool = True
    formats: tuple[str, ...] = ("onnx",)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe merged with one of its variants: everything that is to be built and proved.

    `file` is the recipe's path and `folder` its folder, both relative to the project ("recipes/a.yaml", "recipes").
    `opset` None means the ONNX source's own. `guard` is revert or strict. `places` tells where the recipe wrote a
    value, by dotted path ("tolerance.metric", "gates.size", "passes.0"); it is for messages and in no key. `benchmark`
    is also set where only a gate needs it. `locked` is what the recipe's lock chose for its model, `sessions` are the
    ones that were chosen for it by class of machine.
    """

    recipe: str
    variant: str
    file: str
    folder: str
    description: str
    source: Source
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    dynamic_axes: dict[str, Axis]
    opset: int | None
    ir_version: int | None
    passes: tuple[Pass, ...]
    pruning: Pruning | None
    calibration: Calibration | None
    evaluation: Evaluation | None
    quantization: Quantization | None
    auto: Auto | None = None
    tolerance: Tolerance
    providers: tuple[Provider, ...]
    session: Session
    size: Bound | None
    package: Package
    guard: str
    strict_reads: bool
    benchmark: Benchmark | None = None
    speed: SpeedGate | None = None
    latency: tuple[LatencyGate, ...] = ()
    memory: MemoryGate | None = None
    tune: Tuning | None = None
    places: dict[str, Place] = {}
    locked: Choice | None = None
    sessions: dict[str, TunedSession] = {}

    @property
    def name(self) -> str:
        """The target's name, `<recipe>:<variant>`."""
        return f"{self.recipe}:{self.variant}"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe file with its targets, one for each variant, in the file's order."""

    name: str
    file: str
    description: str
    targets: tuple[Target, ...]


class ReadRecipe(msgspec.Struct, frozen=True):
    """One recipe file as read: its targets even where it has errors; `variants` None when not even names are known."""

    name: str
    file: str
    name_place: Place
    description: str
    variants: tuple[str, ...] | None
    targets: tuple[Target, ...]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one action may use: bytes of memory and seconds of wall time; None is the engine's default."""

    memory: int | None = None
    time: float | None = None


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """The project's folder and settings; `root` is absolute, all else is relative to it (the store may be absolute)."""

    root: str
    recipes: str = "recipes/*.yaml"
    reports: str = "reports"
    output: str = "build"
    store: str = ".onnxbuild"
    jobs: int | None = None
    limits: Limits = Limits()
