"""What a walk over actions that are all as they were would tell, in its order; walks nothing and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxbuild.base.diagnostics import Remark
from onnxbuild.engine.events import ActionDone, DecisionKind, Gate, Status
from onnxbuild.engine.run import Outcome, stretch_of
from onnxbuild.plan.action import Action, Plan, TargetPlan
from onnxbuild.proof.gates import Verdict, describe_doubt, describe_miss
from onnxbuild.targets.judge import Judge, Judgement


def concerns(target: TargetPlan) -> tuple[str, ...]:
    """Return the names of all actions that a target is built and proved by."""
    models = (model.ref.action for model in target.models)
    data = (target.evaluation, *((target.calibration,) if target.calibration else ()), target.reference)
    return tuple(dict.fromkeys([*data, *models, *target.compiled.values(), *target.measurements, target.package]))


class Concerned:
    """Which targets of a plan an action is for: `by_action` all that it helps to judge, `packaged` those it packs."""

    def __init__(self, plan: Plan) -> None:
        self.by_action: dict[str, list[TargetPlan]] = {}
        self.packaged: dict[str, list[TargetPlan]] = {}
        for target in plan.targets:
            for name in concerns(target):
                self.by_action.setdefault(name, []).append(target)
            if not target.support:
                self.packaged.setdefault(target.package, []).append(target)

    def is_judged(self, action: Action, judge: Judge) -> bool:
        """Tell whether all gates of what is to be packaged can be judged; a ratio waits for the other target."""
        if action.stage != "package":
            return True
        return all(judge.judgement(t.target.name) is not None for t in self.packaged.get(action.name, ()))

    def refusal(self, action: Action, judge: Judge) -> str | None:
        """Return why what failed a gate is not packaged."""
        if action.stage != "package":
            return None
        judged = [judge.judgement(t.target.name) for t in self.packaged.get(action.name, ())]
        if any(j is not None and j.verdict is not Verdict.FAILED for j in judged):
            return None
        failed = [gate for j in judged if j for gate in j.gates if gate.verdict is Verdict.FAILED]
        return f"gate {failed[0].gate} failed" if failed else "its proof is missing"


def gates_of(target: str, judgement: Judgement) -> list[Gate]:
    """Return the events that tell of a target's gates."""
    return [
        Gate(
            target=target,
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


def is_said(event: ActionDone | Gate) -> bool:
    """Tell whether a terminal shows what is told of something that is as it was."""
    if isinstance(event, ActionDone):
        return event.decision is not DecisionKind.UP_TO_DATE
    return event.verdict != Verdict.PASSED.value or bool(event.warnings)


@dataclass
class Stretch:
    """One recipe's stretch: what is told of it, how many actions are up to date, and whether a gate fails in it."""

    events: list[ActionDone | Gate] = field(default_factory=list)
    actions: int = 0
    up_to_date: int = 0
    failed: bool = False


def retell(plan: Plan, outcomes: Mapping[str, Outcome], concerned: Concerned) -> dict[str, Stretch]:
    """Return by recipe what is told when nothing is left to do; `outcomes` are of a run that left nothing.

    What a package waits for is known once the proofs of its group are; it is told right then, as engine.run does it.
    """
    settled: dict[str, Outcome] = {}
    told: set[str] = set()
    judge, groups = Judge(plan, settled), plan.group_of
    found: dict[str, Stretch] = {}
    waiting: dict[int, list[Action]] = {}

    def settle(action: Action, stretch: Stretch) -> None:
        refusal = concerned.refusal(action, judge)
        settled[action.name] = outcomes[action.name]
        stretch.events.append(_done(action, refusal))
        stretch.up_to_date += refusal is None
        for target in concerned.by_action.get(action.name, ()):
            judgement = judge.judgement(target.target.name)
            if judgement is None:
                continue
            stretch.failed = stretch.failed or judgement.verdict is Verdict.FAILED
            if target.target.name not in told and not target.support:
                told.add(target.target.name)
                stretch.events += gates_of(target.target.name, judgement)

    for action in plan.actions.values():
        recipe = stretch_of(action)
        stretch = found.setdefault(recipe, Stretch())
        held = waiting.setdefault(groups.get(recipe, -1), [])
        if not concerned.is_judged(action, judge):
            held.append(action)
        else:
            settle(action, stretch)
            for ready in [each for each in held if concerned.is_judged(each, judge)]:
                held.remove(ready)
                settle(ready, stretch)
        stretch.actions += action.name not in plan.explaining
    return found


def _done(action: Action, refusal: str | None) -> ActionDone:
    refused = refusal is not None
    return ActionDone(
        action=action.name,
        stage=action.stage,
        targets=action.targets,
        decision=DecisionKind.BLOCKED if refused else DecisionKind.UP_TO_DATE,
        status=Status.CANCELLED if refused else Status.OK,
        reasons=(refusal,) if refusal is not None else (),
    )
