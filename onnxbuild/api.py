"""Load, plan, run, judge, deliver, report: what the commands do, for Python callers too; prints nothing."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnxbuild.base.codec import decode
from onnxbuild.base.diagnostics import Diagnostic, UserError
from onnxbuild.engine.alone import MEMORY, run_alone
from onnxbuild.engine.events import Emit
from onnxbuild.engine.options import Options
from onnxbuild.engine.pool import Pool
from onnxbuild.engine.run import Run
from onnxbuild.engine.state import LastTraces
from onnxbuild.engine.watching import Watched
from onnxbuild.ir.facts import ComparisonFacts, ModelFacts
from onnxbuild.making import NO_OP_SECONDS, Made, Making, NoOp
from onnxbuild.plan.action import Plan
from onnxbuild.plan.build import build_plan
from onnxbuild.recipe.changes import LockChanges, RecipeChanges, compare_locks
from onnxbuild.recipe.load import check_project
from onnxbuild.recipe.project import FILE, load_project
from onnxbuild.recipe.revisions import compare_revisions, read_lock_file
from onnxbuild.recipe.types import Project, Source
from onnxbuild.report.draw import draw
from onnxbuild.sources.description import SourceFacts
from onnxbuild.stages.blame import BlameFacts
from onnxbuild.stages.compare import COMPARE, CompareParams
from onnxbuild.stages.describe import DESCRIBE, DescribeFacts, DescribeParams
from onnxbuild.stages.inspect import INSPECT, InspectFacts, InspectParams
from onnxbuild.stages.optimize import OPTIMIZE
from onnxbuild.store.blobs import CorruptBlobError
from onnxbuild.store.collection import Policy, Sweep, plan_sweep, remove
from onnxbuild.store.store import Store
from onnxbuild.store.traces import Discovered
from onnxbuild.targets import accepting
from onnxbuild.targets.repros import Repro, copy_repros, find_repros
from onnxbuild.targets.standing import Explainer, Explanation, Standing
from onnxbuild.workplace import Workplace, open_changed, open_project

__all__ = [
    "NO_OP_SECONDS",
    "Made",
    "NoOp",
    "Options",
    "Workplace",
    "accept",
    "blame",
    "check",
    "collect_garbage",
    "describe",
    "diff",
    "diff_locks",
    "diff_revisions",
    "explain",
    "get",
    "inspect",
    "make",
    "open_changed",
    "open_project",
    "open_store",
    "report",
    "repro",
    "status",
    "watched",
    "watched_project",
]


def make(
    workplace: Workplace,
    options: Options,
    emit: Emit,
    *,
    strict: bool = False,
    locked: bool = False,
    rebuild: bool = False,
    began: int = 0,
    pool: Pool | None = None,
) -> Made:
    """Build and prove the selected targets, deliver those that did not fail, draw the reports.

    `began` is the file system's time before the project was opened (see targets.evidence.file_clock); without it
    nothing is said about the next make. `pool` has workers that were started before; it is closed in the end. `locked`
    fails what differs from the recipes' locks. `rebuild` asks to rebuild the models elsewhere and to fail when they are
    not the same; see targets.determinism.
    """
    make = Making(workplace, options, emit, strict, rebuild, locked, pool)
    code = make.execute()
    return Made(code, make.no_op(code, began) if not (rebuild or locked) else None, make.account)


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


def status(workplace: Workplace) -> Standing:
    """Return how the selected targets and their actions stand; the decisions are those of `make --dry-run`."""
    return _walked(workplace).standing()


def explain(root: Path, name: str) -> tuple[Explanation, ...]:
    """Explain an action, or all actions of the targets that `name` selects; raises UserError for neither."""
    everything = open_project(root)
    plan = build_plan(everything.recipes, everything.selected)
    if (action := plan.actions.get(name, plan.explaining.get(name))) is not None:
        walked = _walked(replace(everything, selected=action.targets))
        names = [name]
        if name in plan.explaining:
            walked.walk_also(names)
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


def _walked(workplace: Workplace) -> Making:
    make = Making(workplace, Options(dry_run=True), lambda _: None, strict=False, rebuild=False)
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
    pointers = {walked.run.last.pointer(name) for name in (*walked.plan.actions, *walked.plan.explaining)}
    now = {(o.trace.key, o.trace.id) for o in walked.run.outcomes.values() if o.trace is not None}
    return now | {pointer for pointer in pointers if pointer is not None}


def blame(workplace: Workplace, options: Options, emit: Emit) -> dict[str, BlameFacts | None]:
    """Rank the layers of the selected targets by what restoring each alone gains; builds what that needs.

    None stands for a target that is neither pruned nor quantised, or whose ranking could not be made.
    """
    plan = build_plan(workplace.recipes, workplace.selected)
    every = {**plan.actions, **plan.explaining}
    wanted: set[str] = set()
    stack = [t.blame for t in plan.targets if not t.support and t.blame is not None]
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack.extend(every[name].upstream)
    run = Run(
        Plan({name: action for name, action in every.items() if name in wanted}),
        workplace.store,
        workplace.places,
        options,
        emit,
    )
    outcomes = run.execute()
    found: dict[str, BlameFacts | None] = {}
    for target in plan.targets:
        trace = outcomes[target.blame].trace if target.blame is not None and not target.support else None
        if not target.support:
            found[target.target.name] = decode(bytes(trace.facts), BlameFacts) if trace is not None else None
    return found


@dataclass(frozen=True)
class Repros:
    """Cases that broken passes left, the folders they were copied to, and the optimize actions of which none stands."""

    cases: tuple[Repro, ...]
    folders: tuple[Path, ...]
    unbuilt: tuple[str, ...]


def repro(root: Path, name: str | None, out: Path | None) -> Repros:
    """Find what shows how passes broke models, of an action or of the targets that `name` selects (None: all).

    With `out` the cases are copied there. Raises UserError when `name` selects nothing or `out` is not empty.
    """
    everything = open_project(root)
    plan = build_plan(everything.recipes, everything.selected)
    if name in plan.actions:
        walked, names = _walked(replace(everything, selected=plan.actions[name].targets)), [name]
    else:
        walked = _walked(open_project(root, [name] if name is not None else []))
        names = [*walked.plan.actions]
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(Diagnostic(code="not-empty", message=f"{out} is not an empty folder"))
    outcomes, workplace = walked.run.outcomes, walked.workplace
    cases = find_repros(names, outcomes, workplace.places)
    shown = {case.action for case in cases}
    optimizing = [n for n in names if walked.plan.actions[n].stage == OPTIMIZE.name and n not in shown]
    unbuilt = tuple(n for n in optimizing if (o := outcomes.get(n)) is None or o.trace is None)
    try:
        folders = copy_repros(cases, out, workplace.store) if out is not None else []
    except CorruptBlobError as error:
        hint = "run: onnxbuild make"
        raise UserError(Diagnostic(code="corrupt-artifact", message=str(error), hint=hint)) from None
    return Repros(tuple(cases), tuple(folders), unbuilt)


def report(workplace: Workplace) -> str:
    """Draw all pages from what the traces say and return the index's path, relative to the project."""
    return draw(workplace)


def check(root: Path, patterns: Sequence[str]) -> tuple[Diagnostic, ...]:
    """Return everything that is wrong with the recipes as far as files tell."""
    return tuple(check_project(root, patterns).diagnostics)


def accept(workplace: Workplace, waive: tuple[str, ...] = (), reason: str = "") -> tuple[str, ...]:
    """Merge the selected targets' results into the locks beside their recipes; return the locks' paths.

    A failed gate must be named in `waive`, with a reason. Raises UserError, and then nothing was written.
    """
    walked = _walked(workplace)
    root = Path(workplace.project.root)
    return accepting.accept(root, workplace.recipes, walked.plan, walked.run.outcomes, walked.judge, waive, reason)


def get(workplace: Workplace, out: Path) -> Path:
    """Copy the one selected target's last model to the folder `out` and return the model's file.

    Raises UserError when the target was never built or `out` is not empty.
    """
    if len(workplace.selected) != 1:
        names = ", ".join(workplace.selected)
        message, hint = f"get copies one target, and these match: {names}", "name one of them with its variant"
        raise UserError(Diagnostic(code="one-target", message=message, hint=hint))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        hint = "name a folder that is not there yet"
        raise UserError(Diagnostic(code="not-empty", message=f"{out} is not an empty folder", hint=hint))
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


def describe(source: Source, model: Path) -> SourceFacts:
    """Describe a saved model of any framework, in a worker with limits; raises UserError when it cannot be opened.

    What can run code (`source.trust_pickle`) runs it there.
    """
    with tempfile.TemporaryDirectory(prefix="onnxbuild-") as scratch:
        result = run_alone(DESCRIBE, DescribeParams(source), {"path": model.resolve()}, Path(scratch))
    if result.failure is not None:
        failure = result.failure
        code = "not-a-model" if failure.code != "missing-extra" else failure.code
        raise UserError(Diagnostic(code=code, message=f"{model}: {failure.message}", hint=failure.hint))
    return decode(bytes(result.facts), DescribeFacts).source


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


def diff_locks(old: Path, new: Path) -> LockChanges:
    """Compare two lock files; raises UserError."""
    targets = compare_locks(read_lock_file(old), read_lock_file(new))
    same = all(target.kind == "same" for target in targets)
    found = () if same else (RecipeChanges(lock=new.name, targets=targets),)
    return LockChanges(old=str(old), new=str(new), recipes=found)


def diff_revisions(root: Path, text: str) -> LockChanges:
    """Compare the locks of all recipes at both ends of a range of git's revisions; an open end is the working tree.

    Raises UserError.
    """
    return compare_revisions(root, load_project(root).recipes, text)


def diff(old: Path, new: Path) -> ComparisonFacts:
    """Compare two foreign model files, in a worker with limits; raises UserError when one cannot be opened."""
    for model in (old, new):
        if not model.is_file():
            raise UserError(Diagnostic(code="missing-file", message=f"there is no file {model}"))
    with tempfile.TemporaryDirectory(prefix="onnxbuild-") as scratch:
        files = {"old": old.resolve(), "new": new.resolve()}
        result = run_alone(COMPARE, CompareParams(), files, Path(scratch), memory=2 * MEMORY)  # two models
    if result.failure is not None:
        raise UserError(Diagnostic(code="not-a-model", message=f"{old} or {new}: {result.failure.message}"))
    return decode(bytes(result.facts), ComparisonFacts)
