"""Rebuilds all that makes models in other folders under other hash seeds and compares with the store; prints nothing.

Each rebuild has a project of its own, which holds no more than the inputs on record: code that reads something else
fails there, and says so.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from onnxbuild.engine.events import Emit, Event, Notice, Rebuilt, Status
from onnxbuild.engine.options import Options, Places
from onnxbuild.engine.run import Outcome, Run
from onnxbuild.plan.action import Action, Plan
from onnxbuild.store.artifact import Artifact
from onnxbuild.store.store import Store
from onnxbuild.store.traces import Trace

SEEDS = (1, 2)
"""Hash seeds of the two rebuilds; what is in the store was made under 0."""


def check_determinism(
    plan: Plan, outcomes: Mapping[str, Outcome], store: Store, places: Places, options: Options, emit: Emit
) -> bool:
    """Rebuild the models of `plan` twice and return whether all of it is what the traces in `outcomes` say.

    Tells of each action once, by a Rebuilt event. An action without a trace was not built and is left out.
    """
    traces = {name: o.trace for name, o in outcomes.items() if o.trace is not None}
    models = _makers(plan, traces)
    found: dict[str, tuple[str, str]] = {}
    places.scratch.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        emit(Notice(code="rebuild", message=f"rebuilding {len(models.actions)} actions under hash seed {seed}"))
        with tempfile.TemporaryDirectory(dir=places.scratch, prefix=f"seed-{seed}-") as scratch:
            rebuild = _Rebuild(models, traces, store, places.root, Path(scratch))
            for name, result in rebuild.run(replace(options, hash_seed=seed), emit).items():
                found.setdefault(name, result)
    for name, action in models.actions.items():
        verdict, reason = found.get(name, ("same", ""))
        emit(
            Rebuilt(action=name, stage=action.stage, targets=action.targets, verdict=verdict, difference=reason or None)
        )
    return not found


def _makers(plan: Plan, traces: Mapping[str, Trace]) -> Plan:
    """Return the part of the plan that models are made by, proofs left out, as far as it has traces."""
    wanted: set[str] = set()
    stack = [name for t in plan.targets for name in (t.package, *(model.ref.action for model in t.models))]
    while stack:
        name = stack.pop()
        if name in plan.actions and name not in wanted:
            wanted.add(name)
            stack.extend(ref.action for ref in plan.actions[name].inputs.values())
    actions: dict[str, Action] = {}
    for name, action in plan.actions.items():
        built = name in traces and all(ref.action in actions for ref in action.inputs.values())
        if name in wanted and built:
            actions[name] = replace(action, after=())
    return Plan(actions)


class _Rebuild:
    """One rebuild of `plan` in `scratch`, with a store and a copy of the recorded inputs of its own."""

    def __init__(self, plan: Plan, traces: Mapping[str, Trace], store: Store, project: Path, scratch: Path) -> None:
        self.plan, self.traces, self.store, self.project, self.scratch = plan, traces, store, project, scratch

    def run(self, options: Options, emit: Emit) -> dict[str, tuple[str, str]]:
        """Run everything and return the verdict and the reason for each action that did not come out the same."""
        root = self._copy_inputs()
        places = Places(root, self.scratch / "state", self.scratch / "logs", self.scratch / "work", ())
        options = replace(options, keep_going=True, dry_run=False, force=False)

        def hear(event: Event) -> None:
            if isinstance(event, Notice):
                emit(event)

        outcomes = Run(self.plan, Store(self.scratch / "store"), places, options, hear).execute()
        results: dict[str, tuple[str, str]] = {}
        for name, action in self.plan.actions.items():
            outcome = outcomes[name]
            if outcome.status is Status.CANCELLED:
                results[name] = ("failed", "what it needs failed")
            elif outcome.trace is None:
                results[name] = ("failed", outcome.failure.message if outcome.failure is not None else "it did not run")
            elif (reason := self._difference(name, outcome.trace)) is not None:
                cause = next((r.action for r in action.inputs.values() if r.action in results), None)
                results[name] = ("different", f"it was made from another {cause}" if cause is not None else reason)
        return results

    def _copy_inputs(self) -> Path:
        """Copy the files on record to a project folder of another depth and return it."""
        names = sorted(set(self._inputs()))
        outside = max((Path(name).parts.count("..") for name in names), default=0)
        root = self.scratch.joinpath(*["outer"] * (outside + 1), "project")
        for folder in {action.folder for action in self.plan.actions.values()}:
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            source, target = self.project / name, Path(os.path.normpath(root / name))
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            elif source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        return root

    def _inputs(self) -> Iterator[str]:
        """Yield the paths, relative to the project, of what the actions are known to read; not those elsewhere."""
        for name, action in self.plan.actions.items():
            yield from action.files.values()
            for found in self.traces[name].discovered:
                if found.kind in ("package", "modules") or Path(found.name).is_absolute():
                    continue
                if found.kind == "glob":
                    yield from (p.relative_to(self.project).as_posix() for p in self.project.glob(found.name))
                elif found.kind == "folder":
                    listed = (p for p in (self.project / found.name).iterdir() if p.is_file())
                    yield from (os.path.relpath(p, self.project) for p in listed)
                else:
                    yield found.name

    def _difference(self, name: str, rebuilt: Trace) -> str | None:
        """Say in what the first output that differs does so, or return None when none does."""
        for output, stored in sorted(self.traces[name].outputs.items()):
            again = rebuilt.outputs.get(output)
            if again is None:
                return f"it delivered no {output}"
            if again.digest != stored.digest:
                return self._compare(output, stored, again)
        return None

    def _compare(self, output: str, stored: Artifact, again: Artifact) -> str:
        files = [f for f in sorted({*stored.files, *again.files}) if stored.files.get(f) != again.files.get(f)]
        if "model.onnx" in files or "model.onnx.data" in files:
            from onnxbuild.ir.difference import first_difference  # the model libraries, for those who need them

            with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
                one, other = Path(folder, "one"), Path(folder, "other")
                self.store.blobs.lay_out(stored, one)
                Store(self.scratch / "store").blobs.lay_out(again, other)
                if (difference := first_difference(one, other)) is not None:
                    return difference
        return f"{output}: {', '.join(files)} differ"
