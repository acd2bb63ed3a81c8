"""How every action and target stands: what would be done now and why, and why it was last done; changes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from onnxbuild.base.codec import decode
from onnxbuild.engine.alone import run_alone
from onnxbuild.engine.changes import Change, changes_since
from onnxbuild.engine.decide import Decision
from onnxbuild.engine.events import ActionDone, DecisionKind
from onnxbuild.plan.action import TargetPlan
from onnxbuild.stages.difference import DIFFERENCE, DifferenceFacts, DifferenceParams
from onnxbuild.store.artifact import Artifact
from onnxbuild.store.store import Store
from onnxbuild.store.traces import Trace
from onnxbuild.targets.judge import Judge

MODEL = "model.onnx"
"""What an artifact has that is a model; ir.model says the same, and brings onnx with it."""


class ActionStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One action: the decision about it, and the seconds it would take where it must run or waits."""

    action: str
    stage: str
    targets: tuple[str, ...]
    decision: DecisionKind
    reasons: tuple[str, ...]
    on: tuple[str, ...]
    estimate: float | None


class TargetStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One target: how many of its actions stand how, the seconds they would take in all, and its verdict when known."""

    target: str
    verdict: str | None
    decisions: dict[str, int]
    estimate: float


class Standing(msgspec.Struct, frozen=True):
    """The selected targets and all their actions, in the plan's order."""

    targets: tuple[TargetStanding, ...]
    actions: tuple[ActionStanding, ...]


class Difference(msgspec.Struct, frozen=True):
    """A change; for a model, what differs in it, None where one of the two is no longer in the store."""

    change: Change
    model: DifferenceFacts | None = None


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """Why an action last ran: `reasons` as they were told then, `changes` against the making before that."""

    made: str
    seconds: float
    reasons: tuple[str, ...]
    changes: tuple[Difference, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why an action would run, and why it last ran."""

    standing: ActionStanding
    changes: tuple[Difference, ...]
    last: LastRun | None


def standing(targets: Iterable[TargetPlan], told: Mapping[str, ActionDone], judge: Judge) -> Standing:
    """Return how everything stands from what a dry run told of each action."""
    actions = {
        name: ActionStanding(
            action=name,
            stage=event.stage,
            targets=event.targets,
            decision=event.decision,
            reasons=event.reasons,
            on=event.on,
            estimate=event.estimate,
        )
        for name, event in told.items()
    }
    by_target: dict[str, list[ActionStanding]] = {}
    for action in actions.values():
        for target in action.targets:
            by_target.setdefault(target, []).append(action)
    rows = []
    for plan in targets:
        if plan.support:
            continue
        own = by_target[plan.target.name]
        judgement = judge.judgement(plan.target.name)
        count = {kind.value: sum(a.decision is kind for a in own) for kind in DecisionKind}
        rows.append(
            TargetStanding(
                target=plan.target.name,
                verdict=judgement.verdict.value if judgement is not None else None,
                decisions={kind: number for kind, number in count.items() if number},
                estimate=round(sum(a.estimate or 0.0 for a in own), 3),
            )
        )
    return Standing(tuple(rows), tuple(actions.values()))


class Explainer:
    """Explains actions from the store's traces; models are read in a worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._traces = [trace for _, trace in store.traces.every() if trace is not None]
        self._compared: dict[tuple[str, str], DifferenceFacts | None] = {}

    def explain(self, action: ActionStanding, decision: Decision | None, last: Trace | None) -> Explanation:
        """Explain one action; `decision` is None for what waits, `last` its last trace."""
        changes = decision.changes if decision is not None else ()
        return Explanation(
            standing=action,
            changes=tuple(self._look_into(change) for change in changes),
            last=self._last_run(last) if last is not None else None,
        )

    def _last_run(self, trace: Trace) -> LastRun:
        before = [t for t in self._traces if (t.action, t.stage) == (trace.action, trace.stage) and t.made < trace.made]
        changes = changes_since(max(before, key=lambda t: t.made), trace) if before else []
        return LastRun(
            made=trace.made,
            seconds=trace.seconds,
            reasons=trace.reasons,
            changes=tuple(self._look_into(change) for change in changes),
        )

    def _look_into(self, change: Change) -> Difference:
        if not change.component.startswith("input ") or change.old is None or change.new is None:
            return Difference(change)
        pair = change.old, change.new
        if pair not in self._compared:
            self._compared[pair] = self._compare(self._find(change.old), self._find(change.new))
        return Difference(change, self._compared[pair])

    def _find(self, digest: str) -> Artifact | None:
        artifacts = (artifact for trace in self._traces for artifact in trace.outputs.values())
        return next((a for a in artifacts if a.digest == digest and self._store.blobs.has_artifact(a)), None)

    def _compare(self, old: Artifact | None, new: Artifact | None) -> DifferenceFacts | None:
        if old is None or new is None or MODEL not in old.files or MODEL not in new.files:
            return None
        with tempfile.TemporaryDirectory(prefix="onnxbuild-") as scratch:
            inputs = {"old": old, "new": new}
            result = run_alone(DIFFERENCE, DifferenceParams(), {}, Path(scratch), inputs, self._store.root)
        if result.failure is not None or result.corrupt is not None:
            return None
        return decode(bytes(result.facts), DifferenceFacts)


def describe_model_difference(facts: DifferenceFacts) -> str:
    """Say in how much two models differ."""
    parts = []
    if facts.changed_initializers:
        parts.append(f"{facts.changed_initializers} of {facts.initializers} initializers differ")
    if facts.removed_initializers:
        parts.append(f"{facts.removed_initializers} initializers are gone")
    nodes = {"differ": facts.changed_nodes, "are new": facts.added_nodes, "are gone": facts.removed_nodes}
    parts += [f"{number} of {facts.nodes} nodes {what}" for what, number in nodes.items() if number]
    if not parts:
        return "only metadata differs"
    return ", ".join(parts) + (f"; first: {facts.first}" if facts.first else "")
