"""One make: what the run asks and tells, target by target, from the plan to the exit code; prints nothing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from onnxbuild.base.atomic import sweep_files, sweep_folders
from onnxbuild.base.diagnostics import Remark
from onnxbuild.engine.events import (
    ActionDone,
    DecisionKind,
    Emit,
    Event,
    Gate,
    LockCompared,
    PlanMade,
    RunEnded,
    Status,
    TargetJudged,
)
from onnxbuild.engine.run import Hooks, Options, Outcome, Run
from onnxbuild.plan.action import Action, Plan, TargetPlan
from onnxbuild.plan.build import build_plan
from onnxbuild.proof.gates import Verdict, describe_doubt, describe_miss
from onnxbuild.recipe.project import FILE
from onnxbuild.report.draw import draw_if_changed, pages_of
from onnxbuild.store.traces import Trace
from onnxbuild.targets.accepting import compare
from onnxbuild.targets.deliver import MANIFEST, deliver, delivering, describe_delivery, is_delivered
from onnxbuild.targets.determinism import check_determinism
from onnxbuild.targets.evidence import Doubt, Evidence, wait_for_tick
from onnxbuild.targets.judge import Judge, Judgement
from onnxbuild.targets.standing import Standing, standing
from onnxbuild.workplace import Workplace

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


@dataclass
class Making:
    """One make of a workplace's selected targets; `run`, `judge` and `plan` are there once it was executed."""

    workplace: Workplace
    options: Options
    emit: Emit
    strict: bool
    rebuild: bool
    locked: bool = False
    began: float = field(default_factory=time.monotonic)
    gates: dict[str, list[Gate]] = field(default_factory=dict)
    heard: dict[str, ActionDone] = field(default_factory=dict)

    def execute(self) -> int:
        """Do it all and return the exit code; see api.make."""
        plan = build_plan(self.workplace.recipes, self.workplace.selected)
        self.plan = plan
        self.by_action: dict[str, list[TargetPlan]] = {}
        for target in plan.targets:
            for name in _concerns(target):
                self.by_action.setdefault(name, []).append(target)
        self.packaged: dict[str, list[TargetPlan]] = {}
        for target in plan.targets:
            if not target.support:
                self.packaged.setdefault(target.package, []).append(target)
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
        draw_if_changed(self.workplace, plan, self.run.outcomes)
        code = self._exit_code()
        if self.locked and not self._agrees_with_locks():
            code = max(code, 1)
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
        return self.packaged.get(action.name, [])

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
                interval=gate.interval,
                warnings=(Remark(gate.warning, describe_doubt(gate)),) if gate.warning is not None else (),
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

    def _agrees_with_locks(self) -> bool:
        """Tell, target by target, what differs from the lock."""
        root = Path(self.workplace.project.root)
        found = compare(root, self.plan, self.run.outcomes, self.judge)
        for target, differences in found.items():
            if differences or self.held is None:
                self.emit(LockCompared(target=target, agrees=not differences, differences=differences))
        return not any(found.values())

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
        for page in pages_of(self.workplace):
            evidence.add_output(os.path.relpath(page, project.root))
        run.inputs.save()

    def _gather_outputs(self, evidence: Evidence, action: Action, trace: Trace) -> None:
        if not self._in_place(action, trace):
            raise Doubt(action.name)
        for target, _ in self._deliverable(action):
            folder = os.path.relpath(self.workplace.output(target), self.workplace.project.root)
            for name in ("", MANIFEST, *trace.outputs["package"].files):
                evidence.add_output(f"{folder}/{name}" if name else folder)


def _names(plan: Plan) -> tuple[str, ...]:
    return tuple(target.target.name for target in plan.targets if not target.support)


def _concerns(target: TargetPlan) -> tuple[str, ...]:
    proofs = (*target.proofs, *([target.versus] if target.versus is not None else []))
    models = (model.ref.action for model in target.models)
    data = (target.evaluation, *((target.calibration,) if target.calibration else ()), target.reference)
    return tuple(dict.fromkeys([*data, *models, *proofs, target.package]))
