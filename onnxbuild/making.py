"""One make: what the run asks and tells, target by target, from the plan to the exit code; prints nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from onnxbuild.base.atomic import sweep_folders
from onnxbuild.base.codec import encode
from onnxbuild.base.diagnostics import Diagnostic, UserError, did_you_mean
from onnxbuild.engine.events import (
    ActionDone,
    DecisionKind,
    Emit,
    Event,
    Gate,
    LockCompared,
    Notice,
    PlanMade,
    Retold,
    RunEnded,
    Status,
    TargetJudged,
)
from onnxbuild.engine.options import Options
from onnxbuild.engine.pool import Pool
from onnxbuild.engine.run import Hooks, Outcome, Run, stretch_of
from onnxbuild.plan.action import Action, Plan, RecipeGroup, TargetPlan
from onnxbuild.plan.build import build_plan
from onnxbuild.proof.gates import Verdict
from onnxbuild.recipe.project import FILE
from onnxbuild.report.account import Account
from onnxbuild.report.action_place import action_place
from onnxbuild.report.collect import collect
from onnxbuild.report.draw import draw_if_changed, drawn_file, prepare_to_draw
from onnxbuild.store.traces import Trace
from onnxbuild.targets.accepting import compare
from onnxbuild.targets.blame import top_culprits, what_next
from onnxbuild.targets.deliver import (
    MANIFEST,
    deliver,
    delivered_artifact,
    delivering,
    describe_delivery,
    misdelivery,
)
from onnxbuild.targets.determinism import check_determinism
from onnxbuild.targets.evidence import Doubt, Evidence, wait_for_tick
from onnxbuild.targets.judge import Judge, Judgement, has_missed
from onnxbuild.targets.kept import KeptGroup, KeptRecipe, KeptTarget
from onnxbuild.targets.retelling import Concerned, Stretch, concerns, gates_of, is_said, retell
from onnxbuild.targets.stale import stale_deliveries
from onnxbuild.targets.standing import Standing, standing
from onnxbuild.workplace import Workplace

NO_OP_SECONDS = 7.77e-13
"""Stands in the events of a no-op for the time it will take."""


MOST_STALE = 3
"""Deliveries of targets that went away that are named one by one."""


@dataclass(frozen=True)
class NoOp:
    """What an equal make would tell as long as nothing that `evidence` records differs; and of which groups it is."""

    events: tuple[Event, ...]
    evidence: Evidence
    files: tuple[str, ...]
    groups: tuple[KeptGroup, ...]


@dataclass(frozen=True)
class Made:
    """How a make ended; `again` is None when an equal make would do something, or when that is in doubt.

    `account` gathers what came of it, for those who ask.
    """

    code: int
    again: NoOp | None
    account: Callable[[], Account]


def _check_names(actions: Iterable[str], plan: Plan) -> None:
    """Raise UserError for names of actions that the plan does not have."""
    for name in actions:
        if name not in plan.actions and name not in plan.explaining:
            hint = did_you_mean(name, [*plan.actions, *plan.explaining]) or "onnxbuild status lists them"
            message = f"no selected target needs an action '{name}'"
            raise UserError(Diagnostic(code="no-such-action", message=message, hint=hint))


def _stopped_by(judgement: Judgement) -> str | None:
    """Return in a line which action failed, and with what, where that left the target without gates."""
    if judgement.failure is None:
        return None
    first, *more = judgement.failure.message.splitlines() or [""]
    return f"{judgement.failed_action} failed: {first}{' …' if more else ''} [{judgement.failure.code}]"


@dataclass
class Making:
    """One make of a workplace's selected targets; `run`, `judge` and `plan` are there once it was executed."""

    workplace: Workplace
    options: Options
    emit: Emit
    strict: bool
    rebuild: bool
    locked: bool = False
    pool: Pool | None = None
    began: float = field(default_factory=time.monotonic)
    gates: dict[str, list[Gate]] = field(default_factory=dict)
    heard: dict[str, ActionDone] = field(default_factory=dict)
    compared: list[LockCompared] = field(default_factory=list)

    def execute(self) -> int:
        """Do it all and return the exit code; see api.make."""
        plan = build_plan(self.workplace.recipes, self.workplace.selected)
        _check_names(self.options.rerun, plan)
        self.plan = plan
        self.concerned = Concerned(plan)
        before = self.workplace.before
        self.kept = before.recipes if before is not None else {}
        self.live: dict[str, list[TargetPlan]] = {}
        for target in plan.targets:
            if not target.support:
                self.live.setdefault(target.target.recipe, []).append(target)
        self.targets = [*self._in_order()]
        self.held: list[Event] | None = []
        self.told: set[str] = set()
        self.emit(self._plan_made())
        self.hooks = Hooks(
            lambda action: self.concerned.is_judged(action, self.judge),
            lambda action: self.concerned.refusal(action, self.judge),
            self._misplaced,
            self._deliver,
            self._done,
            self._retell,
            self._recover,
            prepare_to_draw,
        )
        standing = {recipe: recipe in self.kept for recipe in self.workplace.order} if self.kept else {}
        store, places = self.workplace.store, self.workplace.places
        self.run = Run(plan, store, places, self.options, self._hear, self.hooks, standing=standing, pool=self.pool)
        self.judge = Judge(plan, self.run.outcomes)
        self.run.execute()
        if self.options.dry_run:
            self._release()
            return self._end(0)
        self._explain_misses()
        for each in self.targets:
            self._tell(each)
        if self.held is not None:
            for event in self._what_is_not_passed():
                self.emit(event)
        draw_if_changed(self.workplace, self.plan, self.run.outcomes)
        self._tell_of_stale()
        code = self._exit_code()
        if self.locked and not self._agrees_with_locks():
            code = max(code, 1)
        if self.rebuild and not self._is_repeatable():
            code = max(code, 1)
        return self._end(code)

    def _explain_misses(self) -> None:
        """Rank the layers of the targets that missed their tolerance; of others it costs nothing to know."""
        missed = [t for t in self.plan.targets if not t.support and has_missed(self.judge.judgement(t.target.name))]
        if wanted := {t.blame for t in missed if t.blame is not None}:
            self.walk_also(wanted)

    def walk_also(self, explaining: Iterable[str]) -> None:
        """Walk actions that explain results too, once everything else was walked."""
        wanted = {name: self.plan.explaining[name] for name in explaining}
        self.plan = replace(self.plan, actions={**self.plan.actions, **wanted})
        store, places, outcomes = self.workplace.store, self.workplace.places, self.run.outcomes
        self.run = Run(self.plan, store, places, self.options, self._hear, self.hooks, outcomes)
        self.run.execute()

    def _in_order(self) -> Iterator[TargetPlan | KeptTarget]:
        """Yield the selected targets in the project's order, those that stand among those that are walked."""
        for recipe in self.workplace.order:
            yield from self.kept[recipe].targets if recipe in self.kept else self.live.get(recipe, ())

    def _plan_made(self) -> PlanMade:
        names = tuple(t.name if isinstance(t, KeptTarget) else t.target.name for t in self.targets)
        planned = sum(name not in self.plan.explaining for name in self.plan.actions)
        return PlanMade(names, planned + sum(recipe.actions for recipe in self.kept.values()))

    # What the run asks

    def _misplaced(self, action: Action, trace: Trace) -> str | None:
        if action.stage != "package":
            return None
        found = (
            misdelivery(self.workplace.output(t), self._delivery(t, j, trace), self.run.inputs)
            for t, j in self._deliverable(action)
        )
        return next((why for why in found if why is not None), None)

    def _deliver(self, action: Action, trace: Trace) -> None:
        if action.stage != "package":
            return
        for target, judgement in self._deliverable(action):
            folder, manifest = self.workplace.output(target), self._delivery(target, judgement, trace)
            if misdelivery(folder, manifest, self.run.inputs) is not None:
                artifact = delivered_artifact(target, trace, self._traces(target))
                with delivering(self.workplace.places.state):
                    deliver(folder, manifest, artifact, self.workplace.store.blobs, self.run.inputs)

    def _recover(self) -> None:
        """Clear what a make that died left half delivered; what it left half drawn goes with the next drawing."""
        root, project = Path(self.workplace.project.root), self.workplace.project
        with delivering(self.workplace.places.state):
            for folder in sorted((root / project.output).glob("*/")):
                sweep_folders(folder)

    def _done(self, action: Action, outcome: Outcome) -> bool:
        """Judge the targets that this outcome completes; True when a gate failed."""
        failed = False
        if outcome.status is Status.FAILED:
            for target in self.concerned.by_action.get(action.name, ()):
                self.judge.forget(target.target.name)
        for target in self.concerned.by_action.get(action.name, ()):
            judged = self.judge.judgement(target.target.name)
            if judged is not None:
                failed = failed or judged.verdict is Verdict.FAILED
                self._tell_gates(target, judged)
        return failed

    def _packaged_by(self, action: Action) -> list[TargetPlan]:
        return self.concerned.packaged.get(action.name, [])

    def _deliverable(self, action: Action) -> list[tuple[TargetPlan, Judgement]]:
        judged = [(t, self.judge.judgement(t.target.name)) for t in self._packaged_by(action)]
        return [(t, j) for t, j in judged if j is not None and j.verdict is not Verdict.FAILED]

    def _delivery(self, target: TargetPlan, judgement: Judgement, package: Trace) -> dict[str, object]:
        return describe_delivery(target, judgement, package, self._traces(target))

    def _traces(self, target: TargetPlan) -> dict[str, Trace]:
        return {
            name: outcome.trace
            for name in concerns(target)
            if (outcome := self.run.outcomes.get(name)) is not None and outcome.trace is not None
        }

    # What the caller hears

    def _hear(self, event: Event) -> None:
        """Hold back what is up to date until something is not: a run with nothing to do says nothing."""
        if isinstance(event, ActionDone):
            event = self._placed(event)
            self.heard[event.action] = event
        quiet = isinstance(event, Gate | Retold) or (
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

    def _placed(self, event: ActionDone) -> ActionDone:
        """Add to a failure where the recipe asks for what failed."""
        targets = self.concerned.by_action.get(event.action)
        if event.failure is None or not targets:
            return event
        place = action_place(event.action, event.stage, targets[0].target.places)
        failure = msgspec.structs.replace(event.failure, place=str(place) if place is not None else None)
        return msgspec.structs.replace(event, failure=failure)

    def _retell(self, recipe: str) -> bool:
        """Tell what would be told of a recipe that stands, in its place among the others; True when a gate failed."""
        kept = self.kept[recipe]
        self._hear(Retold(kept.events, kept.said))
        return kept.failed

    def _release(self) -> None:
        for event in self.held or ():
            self.emit(event)
        self.held = None

    def _tell_gates(self, target: TargetPlan, judgement: Judgement) -> None:
        if target.target.name in self.told or target.support:
            return
        self.told.add(target.target.name)
        self.gates[target.target.name] = gates_of(target.target.name, judgement)
        for told in self.gates[target.target.name]:
            self._hear(told)

    def _tell(self, target: TargetPlan | KeptTarget) -> None:
        """Write the target's verdict, unless nothing was done for any target."""
        if isinstance(target, KeptTarget):
            if self.held is None:
                self.emit(target.verdict)
            return
        judgement = self.judge.judgement(target.target.name)
        if self.held is None and judgement is not None:
            self.emit(self._verdict(target, judgement))

    def _what_is_not_passed(self) -> list[Event]:
        """Return all that a make with nothing to do tells: the verdicts that are not passed, and why."""
        told: list[Event] = []
        for target in self.targets:
            if isinstance(target, KeptTarget):
                told += [*target.gates, *([target.verdict] if target.verdict.verdict != "passed" else [])]
                continue
            judgement = self.judge.judgement(target.target.name)
            if judgement is not None and judgement.verdict is not Verdict.PASSED:
                told += [*self._missed(target), self._verdict(target, judgement)]
        return told

    def _missed(self, target: TargetPlan) -> list[Gate]:
        return [gate for gate in self.gates.get(target.target.name, ()) if gate.verdict != "passed"]

    def _verdict(self, target: TargetPlan, judgement: Judgement) -> TargetJudged:
        outcome = self.run.outcomes.get(target.package)
        output = sha256 = None
        if judgement.verdict is not Verdict.FAILED and outcome is not None and outcome.trace is not None:
            output = os.path.relpath(self.workplace.output(target) / "model.onnx", self.workplace.project.root)
            sha256 = outcome.trace.outputs["package"].files["model.onnx"].digest
        blamed = self.run.outcomes.get(target.blame) if target.blame is not None else None
        culprits = top_culprits(blamed.trace) if blamed is not None and blamed.trace is not None else ()
        return TargetJudged(
            target=target.target.name,
            verdict=judgement.verdict.value,
            output=output,
            sha256=sha256,
            reason=_stopped_by(judgement),
            culprits=culprits,
            hint=what_next(target.target, culprits),
        )

    def _tell_of_stale(self) -> None:
        """Tell of what is still delivered for targets that went away, where recipes or their variants may have."""
        live = {recipe.name: [target.variant for target in recipe.targets] for recipe in self.workplace.recipes}
        broken = {name: None for name in self.workplace.order if name not in live and name not in self.kept}
        whole = self.workplace.before is None
        output = Path(self.workplace.project.root) / self.workplace.project.output
        stale = [*stale_deliveries(output, {**live, **broken}, whole=whole)]
        for recipe, variant in stale[:MOST_STALE]:
            folder = f"{self.workplace.project.output}/{recipe}/{variant}"
            message = f"{folder} is of no target any more; `onnxbuild clean {recipe}:{variant}` deletes it"
            self.emit(Notice(code="stale-output", message=message))
        if len(stale) > MOST_STALE:
            more = f"{len(stale) - MOST_STALE} more in {self.workplace.project.output}/ are of no target any more"
            self.emit(Notice(code="stale-output", message=f"{more}; `onnxbuild clean` deletes all, make restores"))

    def _agrees_with_locks(self) -> bool:
        """Tell, target by target, what differs from the lock."""
        root = Path(self.workplace.project.root)
        found = compare(root, self.plan, self.run.outcomes, self.judge, self.workplace.store.blobs)
        for target, one in found.items():
            told = LockCompared(
                target=target,
                agrees=not one.differences,
                differences=one.differences,
                notes=one.notes,
                unverified=one.unverified,
            )
            self.compared.append(told)
            if one.differences or one.notes or one.unverified or self.held is None:
                self.emit(told)
        return not any(one.differences or (self.strict and one.unverified) for one in found.values())

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
        verdicts |= {Verdict(target.verdict.verdict) for target in self.targets if isinstance(target, KeptTarget)}
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
                up_to_date=counts[DecisionKind.UP_TO_DATE] + self._standing(),
            )
        )
        return code

    def _standing(self) -> int:
        """Return how many actions were not walked because nothing of theirs differs."""
        return sum(recipe.up_to_date for recipe in self.kept.values())

    def standing(self) -> Standing:
        """Return how everything stands after a dry run."""
        told = {name: self.heard[name] for name in self.plan.actions}
        return standing(self.plan.targets, told, self.judge)

    def account(self) -> Account:
        """Return what this make came to, with the facts that a report would show of it."""
        project, recipes = self.workplace.project, {target.target.recipe for target in self.plan.targets}
        root = Path(project.root)
        return Account(
            root=root,
            reports=root / project.reports,
            recipes=tuple(
                collect(recipe, self.plan, self.run.outcomes, self.judge, root, project.output)
                for recipe in self.workplace.recipes
                if recipe.name in recipes
            ),
            selected=frozenset(t.target.name for t in self.plan.targets if not t.support),
            done=self.heard,
            locks=self.compared,
            places={target.target.name: target.target.places for target in self.plan.targets},
        )

    # The next time

    def no_op(self, code: int, began: int) -> NoOp | None:
        """Return what an equal make would tell, or None unless it would find nothing to do."""
        if not began or self.options.dry_run or not self.workplace.is_sound or not self._is_settled():
            return None
        root = Path(self.workplace.project.root)
        wait_for_tick(root)
        evidence = Evidence(root, began)
        try:
            groups = self._gather(evidence)
        except (Doubt, OSError):
            return None
        good = sum(outcome.status is Status.OK for outcome in self.run.outcomes.values()) + self._standing()
        ended = RunEnded(exit_code=code, seconds=NO_OP_SECONDS, ran=0, restored=0, up_to_date=good)
        events = (self._plan_made(), *self._what_is_not_passed(), ended)
        return NoOp(events, evidence, self.workplace.files, groups)

    def _is_settled(self) -> bool:
        """Tell whether every action has its trace, or is the packaging of what failed a gate."""
        return all(
            outcome.trace is not None or (outcome.failure is None and self._is_refused(self.plan.actions[name]))
            for name, outcome in self.run.outcomes.items()
        )

    def _is_refused(self, action: Action) -> bool:
        judged = [self.judge.judgement(t.target.name) for t in self._packaged_by(action)]
        return bool(judged) and all(j is not None and j.verdict is Verdict.FAILED for j in judged)

    def _gather(self, evidence: Evidence) -> tuple[KeptGroup, ...]:
        """Record everything that this make depended on and delivered, and return it by groups; raises Doubt."""
        project, run, before = self.workplace.project, self.run, self.workplace.before
        if before is None:  # else it was as it had been when this make began
            evidence.add_file(FILE)
            evidence.add_glob(project.recipes, settled=True)
        evidence.add_packages(run.inputs)
        evidence.add_store(self.workplace.store.root)
        self.by_name = {recipe.name: recipe for recipe in self.workplace.recipes}
        self.stretches: dict[str, list[Action]] = {}
        for action in self.plan.actions.values():
            self.stretches.setdefault(stretch_of(action), []).append(action)
        retold = retell(self.plan, run.outcomes, self.concerned)
        groups = []
        for group in self.plan.groups:
            own = Evidence(evidence.root, evidence.began)
            self._gather_group(own, group)
            groups.append(self._keep(group, own, retold))
            evidence.join(own)
        evidence.add_output(os.path.relpath(drawn_file(self.workplace), project.root))
        evidence.add_output(f"{project.reports}/index.html")
        if before is not None:
            evidence.take(before.stamp, (*before.stamp.files, *before.stamp.folders, *before.stamp.environment))
        run.inputs.save()
        return (*groups, *(before.groups if before is not None else ()))

    def _gather_group(self, evidence: Evidence, group: RecipeGroup) -> None:
        for recipe in group.recipes:
            for name in self.workplace.read[recipe]:
                evidence.add_tree(name)
            evidence.add_output(f"{self.workplace.project.reports}/{recipe}.html")
        for action in self._actions_of(group):
            if (trace := self.run.outcomes[action.name].trace) is not None:
                evidence.add_action(action, trace, self.run.inputs)
                if action.stage == "package":
                    self._gather_outputs(evidence, action, trace)

    def _actions_of(self, group: RecipeGroup) -> list[Action]:
        return [action for recipe in group.recipes for action in self.stretches.get(recipe, ())]

    def _keep(self, group: RecipeGroup, evidence: Evidence, retold: Mapping[str, Stretch]) -> KeptGroup:
        """Return what the next make needs of a group in which nothing will differ."""
        actions = self._actions_of(group)
        traces = [trace for action in actions if (trace := self.run.outcomes[action.name].trace) is not None]
        pointers = [self.run.last.pointer(action.name) for action in actions]
        artifacts = [artifact for trace in traces for artifact in trace.outputs.values()]
        return KeptGroup(
            recipes=tuple(self._keep_recipe(name, retold.get(name, Stretch())) for name in group.recipes),
            roots=group.roots,
            names=evidence.names,
            blobs={blob.digest: blob.size for artifact in artifacts for blob in artifact.files.values()},
            traces=tuple(dict.fromkeys(pointer for pointer in pointers if pointer is not None)),
            flawless=not self.workplace.flawed.intersection(group.recipes)
            and all(action.name not in self.plan.explaining for action in actions),
        )

    def _keep_recipe(self, name: str, retold: Stretch) -> KeptRecipe:
        recipe = self.by_name[name]
        targets = []
        for target in self.live.get(name, ()):
            judgement = self.judge.judgement(target.target.name)
            if judgement is None:
                raise Doubt(target.target.name)
            targets.append(KeptTarget(self._verdict(target, judgement), tuple(self._missed(target))))
        return KeptRecipe(
            name=name,
            file=recipe.file,
            variants=tuple(target.variant for target in recipe.targets),
            actions=retold.actions,
            up_to_date=retold.up_to_date,
            failed=retold.failed,
            events=b"".join(encode(event) + b"\n" for event in retold.events),
            said=tuple(event for event in retold.events if is_said(event)),
            targets=tuple(targets),
        )

    def _gather_outputs(self, evidence: Evidence, action: Action, trace: Trace) -> None:
        if self._misplaced(action, trace) is not None:
            raise Doubt(action.name)
        for target, _ in self._deliverable(action):
            folder = os.path.relpath(self.workplace.output(target), self.workplace.project.root)
            for name in ("", MANIFEST, *delivered_artifact(target, trace, self._traces(target)).files):
                evidence.add_output(f"{folder}/{name}" if name else folder)
