"""What a report shows, as recorded values: filled from plan and traces, read by pages/; knows nothing of looks."""

from __future__ import annotations

import msgspec

from onnxbuild.base.diagnostics import Remark
from onnxbuild.engine.events import Failure
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.ort.facts import simulator_of
from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.proof.timing import Surroundings, Versus
from onnxbuild.recipe.changes import TargetChanges
from onnxbuild.recipe.history import Figures
from onnxbuild.recipe.lock import LockedTarget
from onnxbuild.recipe.types import Axis, Input, Output, OutputTolerance, Tolerance
from onnxbuild.stages.auto import AutoFacts
from onnxbuild.stages.benchmark import BenchmarkFacts
from onnxbuild.stages.blame import BlameFacts
from onnxbuild.stages.compile import CompileFacts
from onnxbuild.stages.data import DataFacts
from onnxbuild.stages.export import ExportFacts
from onnxbuild.stages.optimize import OptimizeFacts
from onnxbuild.stages.package import PackageFacts
from onnxbuild.stages.place import PlaceFacts
from onnxbuild.stages.prune import PruneFacts
from onnxbuild.stages.quantize import QuantizeFacts
from onnxbuild.stages.reference import ReferenceFacts
from onnxbuild.stages.repair import RepairFacts
from onnxbuild.stages.tune import TuneFacts
from onnxbuild.stages.validate import ValidateFacts

TWIN_FORMAT = 1
"""Version of the JSON twin; rises when a field changes its meaning."""


class ArtifactFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One output of an action: its label ("model", "outputs"), digest and size in bytes (None: not known)."""

    label: str
    digest: str
    bytes: int | None = None


class ActionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One planned action and what it delivered: only what an identical build anywhere would repeat.

    `name` is the plan's ("digits-cnn:int8/quantize"), `title` what it does in the recipe's words ("static int8,
    qdq"), `targets` the names of the targets that need it, `inputs` the names of the actions it reads from.
    `packages` maps the distributions in its key to versions; `command` reproduces it alone. `done` False: it has
    no trace, so it never ran to its end with these inputs.
    """

    name: str
    stage: str
    title: str = ""
    targets: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    done: bool = True
    artifacts: tuple[ArtifactFacts, ...] = ()
    bytes_in: int | None = None
    bytes_out: int | None = None
    packages: dict[str, str] = {}
    warnings: tuple[Remark, ...] = ()
    command: str | None = None
    failure: Failure | None = None


class ActionRun(msgspec.Struct, frozen=True, kw_only=True):
    """How one action came about, which differs from build to build.

    `decision` (up-to-date, restore, run, blocked) and `status` (ok, failed, cancelled, None: did not run) are of the
    run that drew the report; `reasons` say why its trace last ran; `seconds` what that took; `started` seconds after
    the beginning of this run, if it ran in it; `made` the ISO time, `host` and `key` are the trace's; `time` a
    placement's share of time by provider.
    """

    decision: str
    status: str | None = None
    reasons: tuple[str, ...] = ()
    seconds: float | None = None
    started: float | None = None
    made: str | None = None
    host: str | None = None
    key: str | None = None
    time: dict[str, float] = {}


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The run that drew the report: all that is volatile. `actions` maps an action's name to how it came about.

    `restored` maps a target to what keeping each of a few layers in float costs in time, as a ratio.
    """

    drawn: str | None = None
    command: str | None = None
    seconds: float | None = None
    actions: dict[str, ActionRun] = {}
    restored: dict[str, dict[str, float]] = {}


class ProviderAccuracy(msgspec.Struct, frozen=True):
    """What validate measured on one provider."""

    provider: str
    facts: ValidateFacts


class BenchmarkedProvider(msgspec.Struct, frozen=True):
    """What benchmark measured on one provider."""

    provider: str
    facts: BenchmarkFacts


class VersusFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in turns with the variant `other`, and where."""

    other: str
    provider: str
    versus: Versus
    surroundings: Surroundings


class StepFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One model along a target's way, in order: export first, then each step, package last if it is done.

    `label` is the stage with its number ("export", "optimize.1", "quantize"), `title` the step in the recipe's words,
    `action` the action's name. Just one of the stages' facts is set. `accuracy` is empty where the step's model was not
    validated. `limits` are a tenth of what the recipe tolerates, by output: what passes are held to today.
    """

    label: str
    action: str
    title: str = ""
    export: ExportFacts | None = None
    optimize: OptimizeFacts | None = None
    prune: PruneFacts | None = None
    quantize: QuantizeFacts | None = None
    auto: AutoFacts | None = None
    repair: RepairFacts | None = None
    package: PackageFacts | None = None
    accuracy: tuple[ProviderAccuracy, ...] = ()
    limits: dict[str, OutputTolerance] = {}

    @property
    def model(self) -> ModelFacts | None:
        """The model that the step delivered."""
        steps = (self.export, self.optimize, self.prune, self.quantize, self.auto, self.repair, self.package)
        for facts in steps:
            if facts is not None:
                return facts.model
        return None


class ProviderPlacement(msgspec.Struct, frozen=True):
    """Where the delivered model's nodes went on one provider; the time it took is volatile and left out."""

    provider: str
    facts: PlaceFacts


class CompiledModel(msgspec.Struct, frozen=True):
    """What a provider compiled of the delivered model; `file` is delivered beside it, None: nothing is."""

    provider: str
    facts: CompileFacts
    file: str | None = None


class DeclaredFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the recipe asks of a target; `tolerances` by provider, `opset` and `ir_version` None: the source's own."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    axes: dict[str, Axis] = {}
    opset: int | None = None
    ir_version: int | None = None
    tolerances: dict[str, Tolerance] = {}
    metadata: dict[str, str] = {}


class TargetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One target: verdict, gates, and the models on its way.

    `verdict` None is a target that is not built. `output` is the delivered model's path relative to the project,
    `bytes` its size with external data, `sha256` the model file's; they describe the model that was judged.
    `data` is what was read to evaluate it, with the edges of its dynamic axes. `stale` says that the folder in `build/`
    still holds an older model. `failed_action` names what stopped it. `blame` ranks its layers, where that was asked
    for or a tolerance was missed. `tied_to` is the hardware class of the machine that the model was optimised for,
    None: any. `accepted` is the target's entry in the lock, None: it was never accepted; `changes` how it differs now,
    None where there is nothing to compare; `history` is what was accepted of it before, the oldest first, and in the
    end what the lock has now, `accepted_on` the day on which that was committed. `lines` are those of the recipe that
    the target is made of, `limit_lines` those that require a gate, by its name in a lock.
    """

    name: str
    variant: str
    declared: DeclaredFacts
    verdict: Verdict | None = None
    gates: tuple[GateResult, ...] = ()
    steps: tuple[StepFacts, ...] = ()
    placements: tuple[ProviderPlacement, ...] = ()
    compiled: tuple[CompiledModel, ...] = ()
    data: DataFacts | None = None
    reference: ReferenceFacts | None = None
    output: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    stale: bool = False
    benchmarks: tuple[BenchmarkedProvider, ...] = ()
    versus: VersusFacts | None = None
    tuning: TuneFacts | None = None
    failed_action: str | None = None
    tied_to: str | None = None
    blame: BlameFacts | None = None
    accepted: LockedTarget | None = None
    changes: TargetChanges | None = None
    history: tuple[Figures, ...] = ()
    accepted_on: str | None = None
    lines: tuple[int, ...] = ()
    limit_lines: dict[str, int] = {}

    def simulator(self, provider: str) -> str | None:
        """Return what stood for the provider's device, None where there was one, or nothing."""
        placed = next((each.facts for each in self.placements if each.provider == provider), None)
        return simulator_of(placed.devices) if placed is not None else None


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A file that went into the build: what it was for ("factory", "weights", "evaluation"), its path and digest."""

    label: str
    path: str
    sha256: str
    bytes: int | None = None


class DataSetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Data that was read: its role (evaluation, calibration, probe), where from, and what was in it."""

    role: str
    source: str
    facts: DataFacts


class ProvenanceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where all of it comes from; `commit` None: not in a git repository, `dirty`: with uncommitted changes."""

    commit: str | None = None
    dirty: bool = False
    files: tuple[FileFacts, ...] = ()
    data: tuple[DataSetFacts, ...] = ()
    seeds: dict[str, int] = {}
    versions: dict[str, str] = {}
    hardware: dict[str, str] = {}


class RewrittenFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How the recipe's text differs from the one with which some variants were accepted, as a unified diff.

    `lines` None: that text is not in the history that git has here.
    """

    variants: tuple[str, ...]
    lines: tuple[str, ...] | None = None


class ReportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe's report, and its JSON twin as it is. `file` is relative to the project, `text` its YAML.

    `name` is the page's stem; `targets` and `actions` are in the plan's order. `volatile` alone may differ between two
    builds with identical results.
    """

    name: str
    file: str
    format: int = TWIN_FORMAT
    description: str = ""
    text: str | None = None
    version: str = ""
    targets: tuple[TargetFacts, ...] = ()
    actions: tuple[ActionFacts, ...] = ()
    rewritten: tuple[RewrittenFacts, ...] = ()
    provenance: ProvenanceFacts = ProvenanceFacts()
    volatile: RunFacts | None = None


class IndexLatency(msgspec.Struct, frozen=True, kw_only=True):
    """The median in milliseconds of calls of `batch` rows on one provider, beside what was accepted.

    `exceeds` tells whether the two are apart by more than noise; `trend` is what was accepted, the oldest first.
    """

    provider: str
    batch: int
    median: float
    accepted: float | None = None
    exceeds: bool | None = None
    trend: tuple[float | None, ...] = ()


class IndexRow(msgspec.Struct, frozen=True, kw_only=True):
    """One target in the index; `metric_*` in the metric's own unit, `size_ratio` its size over the `baseline`'s.

    `accepted` says how it stands to its entry in the lock, but for figures that have fields of their own,
    `accepted_on` the day on which that was committed. `waived` are
    gates that were accepted although they failed. `*_accepted` are the values in the lock (`metric_exceeds`: the metric
    left its noise), `*_trend` those in the lock at the last revisions that changed it, the oldest first. `latencies`
    has the first batch on each provider that was measured.
    """

    target: str
    recipe: str
    variant: str
    link: str
    verdict: Verdict | None
    summary: str
    trouble: str = ""
    metric: str | None = None
    metric_model: float | None = None
    metric_source: float | None = None
    metric_accepted: float | None = None
    metric_exceeds: bool | None = None
    metric_trend: tuple[float | None, ...] = ()
    higher_is_better: bool = True
    bytes: int | None = None
    bytes_accepted: int | None = None
    bytes_trend: tuple[int | None, ...] = ()
    baseline: str | None = None
    size_ratio: float | None = None
    gates_passed: int = 0
    gates: int = 0
    providers: tuple[str, ...] = ()
    latencies: tuple[IndexLatency, ...] = ()
    unverified_providers: tuple[str, ...] = ()
    accepted: str = ""
    accepted_on: str | None = None
    waived: tuple[str, ...] = ()


class IndexFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All targets of a project, and the index's JSON twin."""

    rows: tuple[IndexRow, ...]
    format: int = TWIN_FORMAT
    version: str = ""


class DrawnRow(msgspec.Struct, frozen=True):
    """A row of the index with its markup, which has a column for the latency on each of `providers`."""

    row: IndexRow
    providers: tuple[str, ...]
    markup: str
