"""Load, plan, run, judge, deliver, report: what the commands do, for Python callers too; prints nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from onnxbuild import __version__
from onnxbuild.base.atomic import sweep_files, sweep_folders, write_atomically
from onnxbuild.base.codec import decode, encode
from onnxbuild.base.diagnostics import Diagnostic, Severity, UserError
from onnxbuild.base.digest import digest_bytes
from onnxbuild.engine.alone import run_alone
from onnxbuild.engine.events import (
    ActionDone,
    DecisionKind,
    Emit,
    Event,
    Gate,
    PlanMade,
    RunEnded,
    Status,
    TargetJudged,
)
from onnxbuild.engine.run import Hooks, Options, Outcome, Places, Run
from onnxbuild.engine.state import LastTraces
from onnxbuild.engine.watching import Watched
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.plan.action import Action, Plan, TargetPlan
from onnxbuild.plan.build import build_plan
from onnxbuild.proof.gates import Verdict, describe_miss
from onnxbuild.recipe.cache import RecipeCache
from onnxbuild.recipe.load import check_project, load_recipes
from onnxbuild.recipe.project import FILE, load_project
from onnxbuild.recipe.types import Project, Recipe
from onnxbuild.report.collect import collect
from onnxbuild.report.write import write_reports
from onnxbuild.stages.inspect import INSPECT, InspectFacts, InspectParams
from onnxbuild.store.blobs import CorruptBlobError
from onnxbuild.store.collection import Policy, Sweep, plan_sweep, remove
from onnxbuild.store.store import Store
from onnxbuild.store.traces import FORMAT as TRACE_FORMAT
from onnxbuild.store.traces import Discovered, Trace
from onnxbuild.targets.deliver import MANIFEST, deliver, delivering, describe_delivery, is_delivered
from onnxbuild.targets.determinism import check_determinism
from onnxbuild.targets.evidence import Doubt, Evidence, wait_for_tick
from onnxbuild.targets.judge import Judge, Judgement
from onnxbuild.targets.standing import Explainer, Explanation, Standing, standing


@dataclass(frozen=True)
class Workplace:
    """A loaded project: its settings, its sound recipes, the names of the targets selected, and warnings.

    `read` are the files that were looked at, `is_sound` tells that no recipe has an error; see Loaded.
    """

    project: Project
    recipes: tuple[Recipe, ...]
    selected: tuple[str, ...]
    warnings: tuple[Diagnostic, ...] = ()
    read: tuple[str, ...] = ()
    is_sound: bool = False

    @property
    def places(self) -> Places:
        """The project's folders, absolute."""
        root = Path(self.project.root)
        own = root / ".onnxbuild"
        hidden = (root / self.project.output, own, self.store.root, root / ".git")
        return Places(root, own / "state", own / "logs", own / "scratch", hidden)

    @property
    def store(self) -> Store:
        """The project's store."""
        return Store(Path(self.project.root) / self.project.store)

    def output(self, plan: TargetPlan) -> Path:
        """Return the folder that a target is delivered to."""
        return Path(self.project.root) / self.project.output / plan.target.recipe / plan.target.variant


def open_project(root: Path, patterns: Sequence[str] = ()) -> Workplace:
    """Load a project and select targets; raises UserError with everything that is wrong (exit code 2)."""
    cache = RecipeCache(root, root / ".onnxbuild/state/recipes.msgpack")
    project = cache.project or load_project(root)
    loaded = load_recipes(project, patterns, cache=cache)
    errors = [d for d in loaded.diagnostics if d.severity is Severity.ERROR]
    if errors:
        raise UserError(loaded.diagnostics)
    workplace = Workplace(
        project, loaded.recipes, loaded.selected, tuple(loaded.diagnostics), loaded.read, is_sound=loaded.is_sound
    )
    if (newer := workplace.store.traces.newer_format()) is not None:
        note = f"its records have format {newer}, this version knows {TRACE_FORMAT}"
        hint = "update onnxbuild, or name another folder with `store:` in onnxbuild.yaml"
        message = f"the store {project.store} was written by a newer onnxbuild"
        raise UserError(Diagnostic(code="newer-store", message=message, note=note, hint=hint))
    return workplace


NO_OP_SECONDS = 7.77e-13
"""Stands in the events of a no-op for the time it will take."""


@dataclass(frozen=True)
class NoOp:
    """What an equal make would tell as long as nothing that `evidence` records differs."""

    events: tuple[Event, ...]
    evidence: Evidence


@dataclass(frozen=True)
class Made:
    """How a make ended; `again` is None when an equal make would do something, or when that is in doubt."""

    code: int
    again: NoOp | None


def make(
    workplace: Workplace,
    options: Options,
    emit: Emit,
    *,
    strict: bool = False,
    rebuild: bool = False,
    began: int = 0,
) -> Made:
    """Build and prove the selected targets, deliver those that did not fail, draw the reports.

    `began` is the file system's time before the project was opened (see targets.evidence.file_clock); without it
    nothing is said about the next make. `rebuild` asks to rebuild the models elsewhere and to fail when they are not
    the same; see targets.determinism.
    """
    make = _Make(workplace, options, emit, strict, rebuild)
    code = make.execute()
    return Made(code, make.no_op(code, began) if not rebuild else None)


def watched_project(root: Path) -> Watched:
    """Return what decides whether the project at `root` can be loaded: its recipes and settings, broken or not."""
    try:
        project = load_project(root)
    except UserError:
        project = Project(root=str(root.resolve()))
    workplace = Workplace(project, (), ())
    return Watched(workplace.places.root, workplace.places.hidden, (FILE, project.recipes))


def watched(workplace: Workplace) -> Watched:
    """Return all that the selected targets depend on: also what their actions discovered when they last ran."""
    plan = build_plan(workplace.recipes, workplace.selected)
    last = LastTraces(workplace.places.state / "last.json")
    found = {Discovered("file", path, "") for action in plan.actions.values() for path in action.files.values()}
    for name in plan.actions:
        trace = last.get(name, workplace.store.traces)
        found.update(trace.discovered if trace is not None else ())
    places = workplace.places
    return Watched(places.root, places.hidden, (FILE, workplace.project.recipes), found)


@dataclass
class _Make:
    workplace: Workplace
    options: Options
    emit: Emit
    strict: bool
    rebuild: bool
    began: float = field(default_factory=time.monotonic)
    gates: dict[str, list[Gate]] = field(default_factory=dict)
    heard: dict[str, ActionDone] = field(default_factory=dict)

    def execute(self) -> int:
        plan = build_plan(self.workplace.recipes, self.workplace.selected)
        self.plan = plan
        self.by_action: dict[str, list[TargetPlan]] = {}
        for target in plan.targets:
            for name in _concerns(target):
                self.by_action.setdefault(name, []).append(target)
        self.held: list[Event] | None = []
        self.told: set[str] = set()
        self.emit(PlanMade(_names(plan), len(plan.actions)))
        self.run = Run(plan, self.workplace.store, self.workplace.places, self.options, self._hear, self._hooks())
        self.judge = Judge(plan, self.run.outcomes)
        self.run.execute()
        if self.options.dry_run:
            self._release()
            return self._end(0)
        for target in plan.targets:
            self._tell(target)
        if self.held is not None:
            for event in self._what_is_not_passed():
                self.emit(event)
        _draw_if_changed(self.workplace, plan, self.run.outcomes)
        code = self._exit_code()
        if self.rebuild and not self._is_repeatable():
            code = max(code, 1)
        return self._end(code)

    # What the run asks

    def _hooks(self) -> Hooks:
        return Hooks(self._is_judged, self._admit, self._in_place, self._deliver, self._done, self._recover)

    def _is_judged(self, action: Action) -> bool:
        """Tell whether all gates of what is to be packaged can be judged; a ratio waits for the other target."""
        if action.stage != "package":
            return True
        return all(self.judge.judgement(t.target.name) is not None for t in self._packaged_by(action))

    def _admit(self, action: Action) -> str | None:
        """Refuse to package what failed a gate."""
        if action.stage != "package":
            return None
        judged = [(t, self.judge.judgement(t.target.name)) for t in self._packaged_by(action)]
        if any(j is not None and j.verdict is not Verdict.FAILED for _, j in judged):
            return None
        failed = [gate for _, j in judged if j for gate in j.gates if gate.verdict is Verdict.FAILED]
        return f"gate {failed[0].gate} failed" if failed else "its proof is missing"

    def _in_place(self, action: Action, trace: Trace) -> bool:
        if action.stage != "package":
            return True
        return all(
            is_delivered(self.workplace.output(t), self._delivery(t, j, trace), self.run.inputs)
            for t, j in self._deliverable(action)
        )

    def _deliver(self, action: Action, trace: Trace) -> None:
        if action.stage != "package":
            return
        for target, judgement in self._deliverable(action):
            folder, manifest = self.workplace.output(target), self._delivery(target, judgement, trace)
            if not is_delivered(folder, manifest, self.run.inputs):
                with delivering(self.workplace.places.state):
                    deliver(folder, manifest, trace, self.workplace.store.blobs, self.run.inputs)

    def _recover(self) -> None:
        """Clear what a make that died left half delivered or half drawn."""
        root, project = Path(self.workplace.project.root), self.workplace.project
        sweep_files(root / project.reports)
        with delivering(self.workplace.places.state):
            for folder in sorted((root / project.output).glob("*/")):
                sweep_folders(folder)

    def _done(self, action: Action, outcome: Outcome) -> bool:
        """Judge the targets that this outcome completes; True when a gate failed."""
        failed = False
        if outcome.status is Status.FAILED:
            for target in self.by_action.get(action.name, ()):
                self.judge.forget(target.target.name)
        for target in self.by_action.get(action.name, ()):
            judged = self.judge.judgement(target.target.name)
            if judged is not None:
                failed = failed or judged.verdict is Verdict.FAILED
                self._tell_gates(target, judged)
        return failed

    def _packaged_by(self, action: Action) -> list[TargetPlan]:
        return [t for t in self.plan.targets if t.package == action.name and not t.support]

    def _deliverable(self, action: Action) -> list[tuple[TargetPlan, Judgement]]:
        judged = [(t, self.judge.judgement(t.target.name)) for t in self._packaged_by(action)]
        return [(t, j) for t, j in judged if j is not None and j.verdict is not Verdict.FAILED]

    def _delivery(self, target: TargetPlan, judgement: Judgement, package: Trace) -> dict[str, object]:
        traces = {
            name: outcome.trace
            for name in _concerns(target)
            if (outcome := self.run.outcomes.get(name)) is not None and outcome.trace is not None
        }
        return describe_delivery(target, judgement, package, traces)

    # What the caller hears

    def _hear(self, event: Event) -> None:
        """Hold back what is up to date until something is not: a run with nothing to do says nothing."""
        if isinstance(event, ActionDone):
            self.heard[event.action] = event
        quiet = isinstance(event, Gate) or (
            isinstance(event, ActionDone)
            and (
                event.decision is DecisionKind.UP_TO_DATE
                or (event.decision is DecisionKind.BLOCKED and all("gate " in reason for reason in event.reasons))
            )
        )
        if self.held is not None and quiet:
            self.held.append(event)
            return
        self._release()
        self.emit(event)

    def _release(self) -> None:
        for event in self.held or ():
            self.emit(event)
        self.held = None

    def _tell_gates(self, target: TargetPlan, judgement: Judgement) -> None:
        if target.target.name in self.told or target.support:
            return
        self.told.add(target.target.name)
        self.gates[target.target.name] = [
            Gate(
                target=target.target.name,
                gate=gate.gate,
                provider=gate.provider,
                limit=gate.limit,
                measured=gate.measured,
                verdict=gate.verdict.value,
                source=gate.source,
                margin=gate.margin,
                reason=describe_miss(gate) if gate.verdict is not Verdict.PASSED else gate.reason,
            )
            for gate in judgement.gates
        ]
        for told in self.gates[target.target.name]:
            self._hear(told)

    def _tell(self, target: TargetPlan) -> None:
        """Write the target's verdict, unless nothing was done for any target."""
        judgement = self.judge.judgement(target.target.name)
        if self.held is None and judgement is not None and not target.support:
            self.emit(self._verdict(target, judgement))

    def _what_is_not_passed(self) -> list[Event]:
        """Return all that a make with nothing to do tells: the verdicts that are not passed, and why."""
        told: list[Event] = []
        for target in self.plan.targets:
            judgement = self.judge.judgement(target.target.name)
            if judgement is not None and judgement.verdict is not Verdict.PASSED and not target.support:
                told += [gate for gate in self.gates.get(target.target.name, ()) if gate.verdict != "passed"]
                told.append(self._verdict(target, judgement))
        return told

    def _verdict(self, target: TargetPlan, judgement: Judgement) -> TargetJudged:
        outcome = self.run.outcomes.get(target.package)
        output = sha256 = None
        if judgement.verdict is not Verdict.FAILED and outcome is not None and outcome.trace is not None:
            output = os.path.relpath(self.workplace.output(target) / "model.onnx", self.workplace.project.root)
            sha256 = outcome.trace.outputs["package"].files["model.onnx"].digest
        return TargetJudged(target=target.target.name, verdict=judgement.verdict.value, output=output, sha256=sha256)

    def _is_repeatable(self) -> bool:
        store, places = self.workplace.store, self.workplace.places
        return check_determinism(self.plan, self.run.outcomes, store, places, self.options, self.emit)

    # The end

    def _exit_code(self) -> int:
        failures = [o.failure for o in self.run.outcomes.values() if o.failure is not None]
        if any(failure.code == "internal" for failure in failures):
            return 3
        judged = [self.judge.judgement(t.target.name) for t in self.plan.targets if not t.support]
        verdicts = {judgement.verdict for judgement in judged if judgement is not None}
        if failures or Verdict.FAILED in verdicts or any(judgement is None for judgement in judged):
            return 1
        return 1 if self.strict and Verdict.UNVERIFIED in verdicts else 0

    def _end(self, code: int) -> int:
        counts = dict.fromkeys(DecisionKind, 0)
        for outcome in self.run.outcomes.values():
            counts[outcome.decision] += outcome.status is not Status.CANCELLED
        self.emit(
            RunEnded(
                exit_code=code,
                seconds=round(time.monotonic() - self.began, 3),
                ran=counts[DecisionKind.RUN],
                restored=counts[DecisionKind.RESTORE],
                up_to_date=counts[DecisionKind.UP_TO_DATE],
            )
        )
        return code

    def standing(self) -> Standing:
        """Return how everything stands after a dry run."""
        told = {name: self.heard[name] for name in self.plan.actions}
        return standing(self.plan.targets, told, self.judge)

    # The next time

    def no_op(self, code: int, began: int) -> NoOp | None:
        """Return what an equal make would tell, or None unless it would find nothing to do."""
        if not began or self.options.dry_run or not self.workplace.is_sound or not self._is_settled():
            return None
        root = Path(self.workplace.project.root)
        wait_for_tick(root)
        evidence = Evidence(root, began)
        try:
            self._gather(evidence)
        except (Doubt, OSError):
            return None
        good = sum(outcome.status is Status.OK for outcome in self.run.outcomes.values())
        ended = RunEnded(exit_code=code, seconds=NO_OP_SECONDS, ran=0, restored=0, up_to_date=good)
        made = PlanMade(_names(self.plan), len(self.plan.actions))
        return NoOp((made, *self._what_is_not_passed(), ended), evidence)

    def _is_settled(self) -> bool:
        """Tell whether every action has its trace, or is the packaging of what failed a gate."""
        return all(
            outcome.trace is not None or (outcome.failure is None and self._is_refused(self.plan.actions[name]))
            for name, outcome in self.run.outcomes.items()
        )

    def _is_refused(self, action: Action) -> bool:
        judged = [self.judge.judgement(t.target.name) for t in self._packaged_by(action)]
        return bool(judged) and all(j is not None and j.verdict is Verdict.FAILED for j in judged)

    def _gather(self, evidence: Evidence) -> None:
        """Record everything that this make depended on and delivered; raises Doubt."""
        project, run = self.workplace.project, self.run
        evidence.add_file(FILE)
        evidence.add_glob(project.recipes, settled=True)
        for name in self.workplace.read:
            evidence.add_tree(name)
        for name, outcome in run.outcomes.items():
            action = self.plan.actions[name]
            if outcome.trace is not None:
                evidence.add_action(action, outcome.trace, run.inputs)
                if action.stage == "package":
                    self._gather_outputs(evidence, action, outcome.trace)
        evidence.add_packages(run.inputs)
        evidence.add_store(self.workplace.store.root)
        for page in _pages(self.workplace):
            evidence.add_output(os.path.relpath(page, project.root))
        run.inputs.save()

    def _gather_outputs(self, evidence: Evidence, action: Action, trace: Trace) -> None:
        if not self._in_place(action, trace):
            raise Doubt(action.name)
        for target, _ in self._deliverable(action):
            folder = os.path.relpath(self.workplace.output(target), self.workplace.project.root)
            for name in ("", MANIFEST, *trace.outputs["package"].files):
                evidence.add_output(f"{folder}/{name}" if name else folder)


def _pages(workplace: Workplace) -> list[Path]:
    folder = Path(workplace.project.root, workplace.project.reports)
    return [folder / "index.html", *(folder / f"{recipe.name}.html" for recipe in workplace.recipes)]


def _names(plan: Plan) -> tuple[str, ...]:
    return tuple(target.target.name for target in plan.targets if not target.support)


def _concerns(target: TargetPlan) -> tuple[str, ...]:
    proofs = (name for names in target.validations.values() for name in names)
    models = (model.ref.action for model in target.models)
    data = (target.evaluation, *((target.calibration,) if target.calibration else ()), target.reference)
    return tuple(dict.fromkeys([*data, *models, *proofs, target.package]))


def status(workplace: Workplace) -> Standing:
    """Return how the selected targets and their actions stand; the decisions are those of `make --dry-run`."""
    return _walked(workplace).standing()


def explain(root: Path, name: str) -> tuple[Explanation, ...]:
    """Explain an action, or all actions of the targets that `name` selects; raises UserError for neither."""
    everything = open_project(root)
    plan = build_plan(everything.recipes, everything.selected)
    if name in plan.actions:
        walked = _walked(replace(everything, selected=plan.actions[name].targets))
        names = [name]
    else:
        walked = _walked(open_project(root, [name]))
        names = [*walked.plan.actions]
    explainer = Explainer(walked.workplace.store)
    stands = {action.action: action for action in walked.standing().actions}
    run = walked.run
    return tuple(
        explainer.explain(stands[name], run.decisions.get(name), run.last.get(name, walked.workplace.store.traces))
        for name in names
    )


def _walked(workplace: Workplace) -> _Make:
    make = _Make(workplace, Options(dry_run=True), lambda _: None, strict=False, rebuild=False)
    make.execute()
    return make


def open_store(root: Path) -> Store:
    """Return the store of the project at `root`; raises UserError."""
    return Workplace(load_project(root), (), ()).store


def collect_garbage(root: Path, policy: Policy, *, dry_run: bool) -> Sweep:
    """Remove from the store what `policy` lets go, never what the project's recipes stand on; return what went.

    With `dry_run` nothing is removed. Where a recipe is broken all that its project ever stood on counts as needed.
    """
    store = open_store(root)
    sweep = plan_sweep(store, _needed(root), policy, time.time())
    return sweep if dry_run else remove(store, sweep)


def _needed(root: Path) -> set[tuple[str, str]]:
    """Return keys and ids of the traces that the project's recipes stand on now, or did when they last ran."""
    try:
        workplace = open_project(root)
    except UserError:
        workplace = None
    if workplace is None or not workplace.is_sound:
        return set(LastTraces(root / ".onnxbuild/state/last.json").pointers())
    walked = _walked(workplace)
    pointers = {walked.run.last.pointer(name) for name in walked.plan.actions}
    now = {(o.trace.key, o.trace.id) for o in walked.run.outcomes.values() if o.trace is not None}
    return now | {pointer for pointer in pointers if pointer is not None}


def report(workplace: Workplace) -> str:
    """Draw all pages from what the traces say and return the index's path, relative to the project."""
    return _draw(workplace, {})


def _draw_if_changed(workplace: Workplace, plan: Plan, outcomes: Mapping[str, Outcome]) -> None:
    """Draw the reports, unless what they were last drawn from and the pages themselves are still there."""
    traces = [(name, o.trace.id if o.trace is not None else o.status.value) for name, o in outcomes.items()]
    wanted = digest_bytes(encode([__version__, [t.target for t in plan.targets], traces]))
    mark = workplace.places.state / "reports"
    if all(page.exists() for page in [*_pages(workplace), mark]) and mark.read_bytes() == wanted.encode():
        return
    mark.unlink(missing_ok=True)  # who dies between two pages leaves pages of two builds
    _draw(workplace, outcomes)
    write_atomically(mark, wanted.encode())


def _draw(workplace: Workplace, outcomes: Mapping[str, Outcome]) -> str:
    """Draw every recipe's page: `outcomes` of this run, and for all else what would be decided now."""
    plan = build_plan(workplace.recipes, [t.name for recipe in workplace.recipes for t in recipe.targets])
    places, store = workplace.places, workplace.store
    walk = Run(plan, store, places, Options(dry_run=True), lambda _: None, outcomes=dict(outcomes))
    judge = Judge(plan, walk.outcomes)
    walk.execute()
    root = Path(workplace.project.root)
    pages = [collect(r, plan, walk.outcomes, judge, root, workplace.project.output) for r in workplace.recipes]
    write_reports(pages, root / workplace.project.reports)
    return f"{workplace.project.reports}/index.html"


def check(root: Path, patterns: Sequence[str]) -> tuple[Diagnostic, ...]:
    """Return everything that is wrong with the recipes as far as files tell."""
    return tuple(check_project(root, patterns).diagnostics)


def get(workplace: Workplace, out: Path) -> Path:
    """Copy the one selected target's last model to the folder `out` and return the model's file.

    Raises UserError when the target was never built or `out` is not empty.
    """
    if len(workplace.selected) != 1:
        names = ", ".join(workplace.selected)
        raise UserError(Diagnostic(code="one-target", message=f"get copies one target, and these match: {names}"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(Diagnostic(code="not-empty", message=f"{out} is not an empty folder"))
    plan = build_plan(workplace.recipes, workplace.selected)
    walk = Run(plan, workplace.store, workplace.places, Options(dry_run=True), lambda _: None)
    walk.execute()
    model = next(t for t in plan.targets if t.target.name == workplace.selected[0]).models[-1].ref
    outcome = walk.outcomes[model.action]
    if outcome.trace is None:
        name = workplace.selected[0]
        hint = f"run: onnxbuild make {name}"
        raise UserError(Diagnostic(code="not-built", message=f"{name} is not built from what is there now", hint=hint))
    try:
        workplace.store.blobs.lay_out(outcome.trace.outputs[model.output], out, writable=True)
    except CorruptBlobError as error:
        shutil.rmtree(out)
        hint = f"run: onnxbuild make {workplace.selected[0]}"
        raise UserError(Diagnostic(code="corrupt-artifact", message=str(error), hint=hint)) from None
    return out / "model.onnx"


def inspect(model: Path) -> tuple[ModelFacts, tuple[str, ...]]:
    """Describe a foreign model file, in a worker with limits, and name its external data files.

    Raises UserError when the file cannot be opened.
    """
    if not model.is_file():
        raise UserError(Diagnostic(code="missing-file", message=f"there is no file {model}"))
    with tempfile.TemporaryDirectory(prefix="onnxbuild-") as scratch:
        result = run_alone(INSPECT, InspectParams(), {"model": model.resolve()}, Path(scratch))
    if result.failure is not None:
        raise UserError(Diagnostic(code="not-a-model", message=f"{model}: {result.failure.message}"))
    facts = decode(bytes(result.facts), InspectFacts)
    return facts.model, facts.data
