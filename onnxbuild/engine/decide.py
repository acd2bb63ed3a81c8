"""Whether an action is up to date, can be restored or must run, and why; pure: the disk comes in as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnxbuild.engine.changes import Change, discovered_changes, manifest_changes
from onnxbuild.engine.events import DecisionKind
from onnxbuild.plan.manifest import key_of
from onnxbuild.store.artifact import Artifact
from onnxbuild.store.traces import Component, Discovered, Trace


@dataclass(frozen=True)
class Decision:
    """What is to be done with an action; `trace` is the one that stands for it unless it runs.

    `changes` are behind those of the reasons that name what differs from last time.
    """

    kind: DecisionKind
    key: str
    manifest: tuple[Component, ...]
    reasons: tuple[str, ...] = ()
    trace: Trace | None = None
    changes: tuple[Change, ...] = ()


def decide(
    manifest: tuple[Component, ...],
    find: Callable[[str], Sequence[Trace]],
    last: Trace | None,
    now: Callable[[Discovered], str | None],
    has_artifact: Callable[[Artifact], bool],
    holds: Callable[[Trace], bool],
    misplaced: Callable[[Trace], str | None],
    *,
    force: bool = False,
) -> Decision:
    """Decide about one action.

    `find` returns the traces under a key, `last` is the trace that stood for the action in this project before. `now`
    returns a discovered input's digest or version of today, None for what is absent. `holds` tells whether what a
    trace measured and chose keeps the limits and the lock of today, `misplaced` why what it delivers outside the store
    is not there as it should be, None where it is.
    """
    key = key_of(manifest)
    if force:
        return Decision(DecisionKind.RUN, key, manifest, ("forced",))
    current = [trace for trace in find(key) if not discovered_changes(trace.discovered, now)]
    matching = [trace for trace in current if holds(trace)]
    whole = [trace for trace in matching if all(has_artifact(a) for a in trace.outputs.values())]
    if whole:
        chosen = next((t for t in whole if last is not None and t.key == last.key and t.id == last.id), whole[0])
        same = last is not None and (chosen.key, chosen.id) == (last.key, last.id)
        why = misplaced(chosen) if same else "built before with the same inputs"
        if why is None:
            return Decision(DecisionKind.UP_TO_DATE, key, manifest, (), chosen)
        return Decision(DecisionKind.RESTORE, key, manifest, (why,), chosen)
    if matching:
        return Decision(DecisionKind.RUN, key, manifest, ("an artifact of it is no longer in the store",))
    if current:
        return Decision(
            DecisionKind.RUN,
            key,
            manifest,
            ("what it measured, read or chose is not within the limits of today or the lock",),
        )
    if last is None:
        return Decision(DecisionKind.RUN, key, manifest, ("never built",))
    changes = (*manifest_changes(last.manifest, manifest), *discovered_changes(last.discovered, now))
    reasons = tuple(change.text for change in changes) or ("its last trace is gone",)
    return Decision(DecisionKind.RUN, key, manifest, reasons, changes=changes)
