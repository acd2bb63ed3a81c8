"""Walks a plan: decides each action when what it needs is known, runs what must run, records traces; prints nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from onnxbuild.base.atomic import sweep_files
from onnxbuild.base.diagnostics import Remark
from onnxbuild.engine.decide import Decision, decide
from onnxbuild.engine.events import (
    STOPPED,
    ActionDone,
    ActionProgress,
    ActionStarted,
    DecisionKind,
    Emit,
    Failure,
    Notice,
    Status,
)
from onnxbuild.engine.host import (
    declared_values,
    describe_host,
    worker_environment,
)
from onnxbuild.engine.inputs import Inputs
from onnxbuild.engine.job import READ_OUTSIDE, JobResult
from onnxbuild.engine.jobs import PROGRESS_POLL, Jobs, Started
from onnxbuild.engine.options import Options, Places
from onnxbuild.engine.order import Costs, Load, expected_seconds, has_room, load_of, longest_ways
from onnxbuild.engine.pool import Pool
from onnxbuild.engine.scratch import sweep
from onnxbuild.engine.state import LastTraces
from onnxbuild.plan.action import Action, Plan, Ref
from onnxbuild.plan.manifest import make_manifest
from onnxbuild.stages.stage import AnyStage
from onnxbuild.stages.table import STAGES
from onnxbuild.stamp import devices
from onnxbuild.store.artifact import Artifact
from onnxbuild.store.blobs import CorruptBlobError
from onnxbuild.store.leases import Lease
from onnxbuild.store.locks import BothLocks
from onnxbuild.store.store import Store
from onnxbuild.store.traces import Trace

LOCK_POLL = 0.1
"""Seconds between two tries for a key that another process is building."""


@dataclass
class Outcome:
    """What became of one action in this run; `trace` is there unless it failed, waits or was not reached.

    `started` is in seconds since the run began, None for what did not run in it.
    """

    decision: DecisionKind
    status: Status
    trace: Trace | None = None
    failure: Failure | None = None
    started: float | None = None


@dataclass
class Hooks:
    """What the caller adds: `admit` may refuse an action that is about to be decided (returns the reason), once
    `is_ready` tells that what the caller wants to know for that has come in; `misplaced` tells why what a trace
    delivers outside the store is not there, None where it is, `deliver` puts it there and may raise CorruptBlobError,
    `done` hears each outcome; True is a failure, as it is of `retell`, which tells all of a recipe that stands.
    `recover` clears what a make that died left outside the store, `idle` uses the time in which the first actions run.
    """

    is_ready: Callable[[Action], bool] = lambda _: True
    admit: Callable[[Action], str | None] = lambda _: None
    misplaced: Callable[[Action, Trace], str | None] = lambda *_: None
    deliver: Callable[[Action, Trace], None] = lambda *_: None
    done: Callable[[Action, Outcome], bool] = lambda *_: False
    retell: Callable[[str], bool] = lambda _: False
    recover: Callable[[], None] = lambda: None
    idle: Callable[[], None] = lambda: None


@dataclass
class Run:
    """One walk over a plan; `outcomes` fills up as it goes.

    `standing` has all of the project's recipes in order, where the plan is not of all: True for those that stand as
    they were last time, which `hooks.retell` tells of. `pool` has workers that were started before, if any were.
    """

    plan: Plan
    store: Store
    places: Places
    options: Options
    emit: Emit
    hooks: Hooks = field(default_factory=Hooks)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    standing: Mapping[str, bool] = field(default_factory=dict)
    pool: Pool | None = None

    def __post_init__(self) -> None:
        self.inputs = Inputs(self.places.root, self.places.state / "files.json", self.places.hidden)
        self.last = LastTraces(self.places.state / "last.json")
        self.decisions: dict[str, Decision] = {}
        self.failed = False
        self._began = time.monotonic()
        self.costs = Costs(self.places.state / "costs.json")
        self._ways: dict[str, float] = {}
        self._expected: dict[str, float] = {}
        self._pending = {name: action for name, action in self.plan.actions.items() if name not in self.outcomes}
        self._dependents: dict[str, list[str]] = {}
        for action in self._pending.values():
            for name in action.upstream:
                self._dependents.setdefault(name, []).append(action.name)
        self._candidates = self._in_order()
        self._again: dict[str, None] = {}
        self._held_back: dict[int, dict[str, None]] = {}
        self._groups = self.plan.group_of
        self._queued: dict[str, Decision] = {}
        self._jobs: Jobs | None = None
        self._contended: set[str] = set()
        self._waited_for: dict[str, str] = {}
        self._host = describe_host()
        self._devices = devices()

    def execute(self) -> dict[str, Outcome]:
        """Do the whole plan and return the outcome of each action by name."""
        if self.options.dry_run:
            self._advance()
            return self.outcomes
        self.places.logs.mkdir(parents=True, exist_ok=True)
        if self.store.traces.claim():
            text = "the store was written by an older onnxbuild: its files are used, its records are made again"
            self.emit(Notice(code="older-store", message=text))
        self.store.sweep()
        sweep_files(self.places.state)
        sweep_files(self.places.state / "stamps")
        sweep_files(self.places.state / "kept")
        sweep(self.places.scratch, self.hooks.recover)
        lease = Lease(self.store.root)
        pool = self.pool or Pool(worker_environment(self.options.hash_seed))
        self._jobs = jobs = Jobs(pool, self.store, self.places, self.options)
        try:
            self._advance()
            if jobs:
                self.hooks.idle()
            while jobs or self._queued:
                for started, result, remarks in jobs.wait(LOCK_POLL if self._contended else PROGRESS_POLL):
                    try:
                        self._finish(started, result, remarks)
                    finally:
                        jobs.release(started)
                for action, message in jobs.said():
                    self.emit(ActionProgress(action=action.name, message=message))
                self._advance()
        finally:
            jobs.stop()
            try:
                self.last.save()
                self.costs.save()
                self.inputs.save()
            finally:
                jobs.close()
                lease.release()
        return self.outcomes

    # Deciding

    def _advance(self) -> None:
        """Decide every action whose upstream is done and start what must run, until nothing moves."""
        self._contended.clear()
        while self._again or self._candidates or self._held_back:
            queue = self._again or self._candidates
            if not queue:
                if self._queued or self._jobs:
                    break
                held, self._held_back = self._held_back, {}  # nothing more can come for them
                self._again = {name: None for group in held.values() for name in group}
                self._consider(_take_first(self._again))
                continue
            name = _take_first(queue)
            action = self._pending.get(name)
            if self.standing.get(name):
                self.failed = self.hooks.retell(name) or self.failed
            elif action is None or name in self._queued or not self._is_ready(action):
                pass
            elif not self.hooks.is_ready(action):
                self._held_back.setdefault(self._group(action), {})[name] = None
            else:
                self._consider(name)
        if self._jobs is not None:
            self._start_queued(self._jobs)

    def _in_order(self) -> dict[str, None]:
        """Return the names of all actions and of the recipes that stand, as a plan of all of them would have them."""
        if not self.standing:
            return dict.fromkeys(self._pending)
        of: dict[str, list[str]] = {}
        for name, action in self._pending.items():
            of.setdefault(stretch_of(action), []).append(name)
        return {
            n: None for recipe, stands in self.standing.items() for n in ([recipe] if stands else of.get(recipe, ()))
        }

    def _group(self, action: Action) -> int:
        return self._groups.get(stretch_of(action), -1)

    def _is_ready(self, action: Action) -> bool:
        return all(name in self.outcomes for name in action.upstream)

    def _consider(self, name: str) -> None:
        """Settle one action, or put it into the queue of what must run."""
        action = self._pending[name]
        upstream = {name: self.outcomes[name] for name in action.upstream}
        broken = [n for n, o in upstream.items() if o.status is not Status.OK]
        waiting = [
            n for n, o in upstream.items() if o.decision in (DecisionKind.WAITS, DecisionKind.RUN) and not o.trace
        ]
        if broken:
            self._block(action, tuple(broken))
        elif waiting:
            self._settle(action, Outcome(DecisionKind.WAITS, Status.OK), on=tuple(waiting))
        elif (refusal := self.hooks.admit(action)) is not None:
            self._block(action, (), refusal)
        else:
            self._take(action, self.decide(action))

    def _take(self, action: Action, decision: Decision) -> None:
        """Act on a decision: settle the action, or put it into the queue of what must run."""
        self.decisions[action.name] = decision
        runs = self._jobs is not None
        if decision.trace is not None:
            if runs and not self.store.traces.use(decision.trace.key, decision.trace.id):
                self._candidates[action.name] = None  # a collection took it just now
                return
            self.last.set(action.name, decision.trace)
            self._settle(action, Outcome(decision.kind, Status.OK, decision.trace), decision.reasons)
        elif runs:
            self._queued[action.name] = decision
        else:
            self._settle(action, Outcome(DecisionKind.RUN, Status.OK), decision.reasons)

    def _start_queued(self, jobs: Jobs) -> None:
        """Start what is in the queue, longest way first, as far as there is room; what settles may bring candidates."""
        stops = self.failed and not self.options.keep_going
        for name in sorted(self._queued, key=lambda name: -self._way(name)):
            action, decision = self._pending[name], self._queued[name]
            if stops:
                del self._queued[name]
                self._block(action, (), STOPPED)
            elif not self._is_ready(action):
                del self._queued[name]  # what it needs is made again
            elif not has_room(self._load(action), (each.load for each in jobs), self.options.jobs):
                continue
            elif all(decision.key != started.decision.key for started in jobs):
                self._start(action, decision, jobs)
        if self._candidates:
            self._advance()

    def _load(self, action: Action) -> Load:
        """Return what the action takes of the machine, all that it needs being done."""

        def told(label: str) -> Any:
            if label not in action.inputs:
                return None
            maker = action.inputs[label].action
            trace = self.outcomes[maker].trace
            assert trace is not None
            return msgspec.json.decode(trace.facts, type=STAGES[self.plan.actions[maker].stage].facts)

        return load_of(action, told)

    def _estimate(self, action: Action) -> float:
        """Return the seconds that the action is expected to take; see engine.order."""
        if not self._expected:
            self._expected = expected_seconds(self.plan.actions, self.costs)
        return self._expected[action.name]

    def _way(self, name: str) -> float:
        """Return the seconds expected until the last of what needs the action is done; see engine.order."""
        if name not in self._ways:
            pending = {n: action for n, action in self.plan.actions.items() if n in self._pending}
            self._ways = longest_ways(pending, self.costs)
        return self._ways[name]

    def decide(self, action: Action) -> Decision:
        """Decide about an action whose upstream actions all have traces."""
        stage = STAGES[action.stage]
        digests = {}
        for label, ref in action.inputs.items():
            trace = self.outcomes[ref.action].trace
            assert trace is not None
            digests[label] = trace.outputs[ref.output].digest
        manifest = make_manifest(
            action,
            stage.version,
            {label: self.inputs.digest(path) or "absent" for label, path in action.files.items()},
            digests,
            {name: self.inputs.version(name) for name in stage.packages(action.params)},
            declared_values(action.env),
            stage.unkeyed,
            **self._machine(action),
        )
        return decide(
            manifest,
            self.store.traces.find,
            self.last.get(action.name, self.store.traces),
            self.inputs.now,
            self.store.blobs.has_artifact,
            lambda trace: _holds(stage, action, trace),
            lambda trace: self.hooks.misplaced(action, trace),
            force=self._is_forced(action, stage),
        )

    def _is_forced(self, action: Action, stage: AnyStage) -> bool:
        options = self.options
        return options.force or (options.remeasure and stage.alone) or action.name in options.rerun

    def _machine(self, action: Action) -> dict[str, Any]:
        """Return what of this machine is in the action's key."""
        stage = STAGES[action.stage]
        found = {
            "hardware": self._host.hardware if stage.hardware(action.params) else None,
            "cores": self._host.cores if stage.cores(action.params) else None,
            "devices": self._devices if stage.devices(action.params) else None,
        }
        return {name: value for name, value in found.items() if value is not None}

    # Running

    def _start(self, action: Action, decision: Decision, jobs: Jobs) -> None:
        """Start the action's job, unless another process is building the same key or has built it meanwhile."""
        key_lock = self.store.lock(decision.key)
        lock = BothLocks(key_lock) if STAGES[action.stage].alone else key_lock
        if not lock.try_acquire(f"process {os.getpid()}, {action.name}"):
            if self._waited_for.get(action.name) != (holder := lock.holder()):
                self._waited_for[action.name] = holder
                self.emit(Notice(code="waiting", message=f"{action.name} waits for {holder}, which {lock.why}"))
            self._contended.add(action.name)
            return
        del self._queued[action.name]
        again = self.decide(action)
        if again.trace is not None or again.key != decision.key:
            lock.release()  # another builder finished since we decided, or an input changed
            self._candidates[action.name] = None
            return
        way = self._way(action.name)
        del self._pending[action.name]
        inputs = {label: self._artifact(ref) for label, ref in action.inputs.items()}
        jobs.start(action, decision, inputs, _class_of(**self._machine(action)), self._load(action), lock)
        self.emit(
            ActionStarted(
                action=action.name,
                stage=action.stage,
                targets=action.targets,
                reasons=decision.reasons,
                estimate=self.costs.get(action.name),
                path=round(way, 3),
            )
        )

    def _artifact(self, ref: Ref) -> Artifact:
        trace = self.outcomes[ref.action].trace
        assert trace is not None
        return trace.outputs[ref.output]

    def _finish(self, started: Started, result: JobResult, remarks: tuple[Remark, ...]) -> None:
        if result.corrupt is not None:
            self._rebuild_producer(started.action, result.corrupt)
            return
        if (changed := self._changed_meanwhile(started)) is not None:
            text = f"{changed} changed while {started.action.name} ran; run again"
            self.emit(Notice(code="input-changed", message=text))
            self._pending[started.action.name] = started.action
            return
        seconds = time.monotonic() - started.since
        if result.failure is not None:
            log = os.path.relpath(started.log, self.places.root)
            failure = msgspec.structs.replace(result.failure, log=log)
            outcome = Outcome(DecisionKind.RUN, Status.FAILED, failure=failure)
        else:
            outcome = Outcome(DecisionKind.RUN, Status.OK, self._record(started, result, seconds))
        outcome.started = round(started.since - self._began, 3)
        self._settle(started.action, outcome, started.decision.reasons, seconds, (*remarks, *result.warnings))

    def _changed_meanwhile(self, started: Started) -> str | None:
        """Return a file that is not what its digest in the key says any more: nobody knows which of both was read."""
        keyed = {line.label: line.value for line in started.decision.manifest}
        for label, path in started.action.files.items():
            if (self.inputs.digest(path) or "absent") != keyed[f"file {label}"]:
                return path
        return None

    def _record(self, started: Started, result: JobResult, seconds: float) -> Trace:
        trace = Trace(
            key=started.decision.key,
            action=started.action.name,
            stage=started.action.stage,
            manifest=started.decision.manifest,
            discovered=result.discovered,
            outputs=result.outputs,
            facts=result.facts,
            warnings=result.warnings,
            reasons=started.decision.reasons,
            seconds=round(seconds, 3),
            host=self._host,
            made=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        self.store.traces.record(trace)
        self.last.set(started.action.name, trace)
        return trace

    def _rebuild_producer(self, action: Action, digest: str) -> None:
        """Take an action back whose input blob was altered, and all that shares the blob, so that it is made again."""
        self._pending[action.name] = action
        self._candidates[action.name] = None
        producers = [name for name in action.upstream if _has_blob(self.outcomes.get(name), digest)]
        self._take_back(producers, digest)  # none when another consumer has found it first

    def _take_back(self, names: list[str], digest: str) -> None:
        """Make actions again whose blob `digest` was altered; the blob is set aside already."""
        if names:
            code, what = "corrupt-artifact", f"an artifact of {', '.join(names)} was altered in the store"
            self.emit(Notice(code=code, message=f"{what}; made again (blob {digest})"))
        for name in names:
            del self.outcomes[name]
            self._pending[name] = self.plan.actions[name]
            self._candidates[name] = None

    # Settling

    def _block(self, action: Action, on: tuple[str, ...], reason: str | None = None) -> None:
        reasons = (reason,) if reason is not None else ()
        self._settle(action, Outcome(DecisionKind.BLOCKED, Status.CANCELLED), reasons, on=on)

    def _settle(
        self,
        action: Action,
        outcome: Outcome,
        reasons: tuple[str, ...] = (),
        seconds: float = 0.0,
        warnings: tuple[Remark, ...] = (),
        on: tuple[str, ...] = (),
    ) -> None:
        self._pending.pop(action.name, None)
        self.outcomes[action.name] = outcome
        if outcome.trace is not None and not self.options.dry_run:
            try:
                self.hooks.deliver(action, outcome.trace)
            except CorruptBlobError as error:
                self._take_back([action.name], error.digest)
                return
        self._candidates.update(dict.fromkeys(self._dependents.get(action.name, ())))
        self._again |= self._held_back.pop(self._group(action), {})
        if outcome.trace is not None and outcome.decision is not DecisionKind.UP_TO_DATE:
            self.costs.set(action.name, action.stage, outcome.trace.seconds)
        will_run = (
            outcome.trace is None
            and outcome.failure is None
            and outcome.decision in (DecisionKind.RUN, DecisionKind.WAITS)
        )
        self.emit(
            ActionDone(
                action=action.name,
                stage=action.stage,
                targets=action.targets,
                decision=outcome.decision,
                status=outcome.status,
                reasons=reasons,
                seconds=round(seconds, 3),
                warnings=warnings,
                failure=outcome.failure,
                on=on,
                estimate=self._estimate(action) if will_run else None,
            )
        )
        self.failed = self.hooks.done(action, outcome) or self.failed or outcome.status is Status.FAILED


def _class_of(hardware: str = "", cores: int | None = None, devices: str = "") -> str:
    """Return the name of a class of machines, such as "Some CPU; 8 cores; avx avx2"."""
    cpu, _, instructions = hardware.partition("; ")
    count = f"{cores} core{'s' if cores != 1 else ''}" if cores is not None else ""
    return "; ".join(filter(None, (cpu, count, instructions, devices)))


def _take_first(queue: dict[str, None]) -> str:
    name = next(iter(queue))
    del queue[name]
    return name


def stretch_of(action: Action) -> str:
    """Return the recipe in whose stretch of the plan an action is: the first that asked for it."""
    return action.targets[0].partition(":")[0] if action.targets else ""


def _has_blob(outcome: Outcome | None, digest: str) -> bool:
    if outcome is None or outcome.trace is None:
        return False
    return any(blob.digest == digest for artifact in outcome.trace.outputs.values() for blob in artifact.files.values())


def _holds(stage: AnyStage, action: Action, trace: Trace) -> bool:
    """Tell whether a trace keeps the limits of today and what the lock has chosen."""
    facts = msgspec.json.decode(trace.facts, type=stage.facts)
    return (
        stage.holds(action.params, facts)
        and (action.locked is None or stage.honours(action.locked, facts))
        and not (action.strict_reads and any(r.code == READ_OUTSIDE for r in trace.warnings))
    )
