"""Whether an action is up to date, can be restored or must run, and why; pure: the disk comes in as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnxbuild.engine.events import DecisionKind
from onnxbuild.plan.manifest import key_of
from onnxbuild.store.artifact import Artifact
from onnxbuild.store.traces import Component, Discovered, Trace


@dataclass(frozen=True)
class Decision:
    """What is to be done with an action; `trace` is the one that stands for it unless it runs."""

    kind: DecisionKind
    key: str
    manifest: tuple[Component, ...]
    reasons: tuple[str, ...] = ()
    trace: Trace | None = None


def decide(
    manifest: tuple[Component, ...],
    find: Callable[[str], Sequence[Trace]],
    last: Trace | None,
    is_current: Callable[[Discovered], bool],
    has_artifact: Callable[[Artifact], bool],
    holds: Callable[[Trace], bool],
    is_in_place: Callable[[Trace], bool],
    *,
    force: bool = False,
) -> Decision:
    """Decide about one action.

    `find` returns the traces under a key, `last` is the trace that stood for the action in this project before.
    `holds` tells whether what a trace measured keeps the limits of today, `is_in_place` whether what it delivered
    outside the store is there unaltered.
    """
    key = key_of(manifest)
    if force:
        return Decision(DecisionKind.RUN, key, manifest, ("forced",))
    current = [trace for trace in find(key) if all(is_current(found) for found in trace.discovered)]
    matching = [trace for trace in current if holds(trace)]
    whole = [trace for trace in matching if all(has_artifact(a) for a in trace.outputs.values())]
    if whole:
        chosen = next((t for t in whole if last is not None and t.key == last.key and t.id == last.id), whole[0])
        same = last is not None and (chosen.key, chosen.id) == (last.key, last.id)
        if same and is_in_place(chosen):
            return Decision(DecisionKind.UP_TO_DATE, key, manifest, (), chosen)
        why = "the output was altered or is missing" if same else "built before with the same inputs"
        return Decision(DecisionKind.RESTORE, key, manifest, (why,), chosen)
    if matching:
        return Decision(DecisionKind.RUN, key, manifest, ("an artifact of it is no longer in the store",))
    if current:
        return Decision(DecisionKind.RUN, key, manifest, ("what it measured or read is beyond the limits of today",))
    if last is None:
        return Decision(DecisionKind.RUN, key, manifest, ("never built",))
    return Decision(DecisionKind.RUN, key, manifest, explain_difference(last, manifest, is_current))


def explain_difference(
    last: Trace, manifest: Sequence[Component], is_current: Callable[[Discovered], bool]
) -> tuple[str, ...]:
    """Say in words in which components `manifest` and the discovered inputs differ from what `last` was made from."""
    old = {line.label: line for line in last.manifest}
    new = {line.label: line for line in manifest}
    reasons = [
        _difference(label, old.get(label), new.get(label))
        for label in dict.fromkeys([*new, *old])
        if _value(old.get(label)) != _value(new.get(label))
    ]
    reasons += [_discovered(found) for found in last.discovered if not is_current(found)]
    return tuple(reasons) or ("its last trace is gone",)


def _difference(label: str, old: Component | None, new: Component | None) -> str:
    kind, _, name = label.partition(" ")
    note = (new or old or Component("", "")).note
    match kind:
        case "file":
            return f"input {note} changed"
        case "input":
            return f"{note} delivered another {name}"
        case "version":
            return f"the stage's own version rose from {_value(old)} to {_value(new)}"
        case _:
            return f"{label} changed from {_value(old)} to {_value(new)}"


def _discovered(found: Discovered) -> str:
    match found.kind:
        case "absent":
            return f"input {found.name} is there now"
        case "package":
            return f"package {found.name} is no longer {found.digest}"
        case "folder":
            return f"the files in {found.name}/ are others"
        case _:
            return f"input {found.name} changed"


def _value(line: Component | None) -> str:
    return "nothing" if line is None else line.value
