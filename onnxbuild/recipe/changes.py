"""In what two accepted entries of a target differ, as values in a reviewer's order; knows nothing of how it is told."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping

import msgspec

from onnxbuild.base.codec import encode
from onnxbuild.recipe.lock import Lock, LockedEstimate, LockedMetric, LockedPlacement, LockedTarget, lock_path
from onnxbuild.recipe.types import Session

RECIPE = "the recipe's text"
"""What the recipe itself is called among the inputs."""
MOST_LINES = 500
"""Lines of a recipe's difference that are kept."""
_CHOICES = {"keep": "layers kept in float", "winner": "winner of auto"}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is another now; None is absent. `kind` is digest where both are digests."""

    what: str
    old: str | None
    new: str | None
    kind: str = ""


class NumberChange(msgspec.Struct, frozen=True, kw_only=True):
    """A measure that is another now; `provider` where it has one, `interval` in which the old one lies.

    `delta` is None where one of them is no number. `exceeds` tells whether the new one lies outside of the noise
    that was recorded with the old one, None where none was. `unit` is ms or bytes, "" where `what` tells it; `limits`
    are what was required of a gate then and now, which tells its unit.
    """

    what: str
    provider: str | None
    old: float | str | None
    new: float | str | None
    delta: float | None = None
    interval: tuple[float, float] | None = None
    exceeds: bool | None = None
    unit: str = ""
    limits: tuple[str, str] = ("", "")


class TargetChanges(msgspec.Struct, frozen=True, kw_only=True):
    """How a target differs from its accepted entry. `kind` is same, changed, added (it had none) or removed.

    `bytes` is its size before and after where that differs; `limits` is what gates require, `gates` what they measured
    that has no other place, `timings` latencies and memory.
    """

    variant: str
    kind: str
    verdict: Change | None = None
    inputs: tuple[Change, ...] = ()
    versions: tuple[Change, ...] = ()
    limits: tuple[Change, ...] = ()
    graph: tuple[Change, ...] = ()
    metrics: tuple[NumberChange, ...] = ()
    gates: tuple[NumberChange, ...] = ()
    timings: tuple[NumberChange, ...] = ()
    bytes: tuple[int | None, int | None] | None = None
    output: tuple[Change, ...] = ()
    choices: tuple[Change, ...] = ()
    placement: tuple[Change, ...] = ()
    hardware: Change | None = None
    waivers: tuple[Change, ...] = ()


class RecipeChanges(msgspec.Struct, frozen=True, kw_only=True):
    """How the lock of one recipe differs; `lock` is its path. `lines` are those of the recipe, as a unified diff."""

    lock: str
    targets: tuple[TargetChanges, ...]
    lines: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return not self.lines and all(target.kind == "same" for target in self.targets)


class LockChanges(msgspec.Struct, frozen=True, kw_only=True):
    """How locks differ between two revisions or files, named `old` and `new`."""

    old: str
    new: str
    recipes: tuple[RecipeChanges, ...]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return all(recipe.is_same for recipe in self.recipes)


def compare_recipes(
    old: Mapping[str, Lock], new: Mapping[str, Lock], old_texts: Mapping[str, str], new_texts: Mapping[str, str]
) -> tuple[RecipeChanges, ...]:
    """Return how each recipe differs, those in which nothing does left out; texts are by the recipes' paths."""
    recipes = {lock_path(name): name for name in (*old_texts, *new_texts)}
    found = (
        RecipeChanges(
            lock=lock,
            targets=compare_locks(old.get(lock, {}), new.get(lock, {})),
            lines=tuple(changed_lines(old_texts.get(recipes[lock], ""), new_texts.get(recipes[lock], ""))),
        )
        for lock in sorted(recipes)
    )
    return tuple(recipe for recipe in found if not recipe.is_same)


def changed_lines(old: str, new: str) -> Iterator[str]:
    """Yield the lines of a recipe that differ, as a unified diff with three lines around each, its names left out."""
    found = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3)
    yield from itertools.islice(found, 2, 2 + MOST_LINES)


def compare_locks(old: Lock, new: Lock) -> tuple[TargetChanges, ...]:
    """Return how each target of two locks differs, those of the newer one first."""
    return tuple(
        compare_entries(variant, old[variant], new.get(variant)) if variant in old else _first(variant, new[variant])
        for variant in dict.fromkeys((*new, *old))
    )


def _first(variant: str, new: LockedTarget) -> TargetChanges:
    """Return what a reviewer must know of a target that is accepted for the first time."""
    return TargetChanges(
        variant=variant,
        kind="added",
        verdict=_change("verdict", None, new.verdict),
        waivers=tuple(_each({}, new.waivers)),
    )


def compare_entries(variant: str, old: LockedTarget | None, new: LockedTarget | None) -> TargetChanges:
    """Return how a target's entry differs from the older one; None is no entry."""
    if old is None or new is None:
        return TargetChanges(variant=variant, kind="added" if old is None else "removed")
    if old == new:
        return TargetChanges(variant=variant, kind="same")
    return TargetChanges(
        variant=variant,
        kind="changed",
        verdict=_change("verdict", old.verdict, new.verdict),
        inputs=(
            *_one(RECIPE, old.recipe, new.recipe, "digest"),
            *_each(old.sources, new.sources, kind="digest"),
        ),
        versions=tuple(_each(old.versions, new.versions)),
        limits=tuple(_limits(old, new)),
        graph=tuple(_graph(old, new)),
        metrics=tuple(_metrics(old.metrics, new.metrics)),
        gates=tuple(_gates(old, new)),
        timings=(
            *_timings(old.latencies, new.latencies, "ms"),
            *_timings(_memory(old), _memory(new), "bytes"),
        ),
        bytes=(old.bytes, new.bytes) if old.bytes != new.bytes else None,
        output=tuple(_each(old.output, new.output, kind="digest")),
        choices=tuple(_choices(old, new)),
        placement=tuple(_each(_placements(old), _placements(new))),
        hardware=_change("hardware", _machine(old), _machine(new)),
        waivers=tuple(_each(old.waivers, new.waivers)),
    )


def _machine(entry: LockedTarget) -> str:
    return entry.hardware if entry.cores is None else f"{entry.hardware}; {entry.cores} cores"


def _change(what: str, old: str | None, new: str | None, kind: str = "") -> Change | None:
    return Change(what=what, old=old or None, new=new or None, kind=kind) if old != new else None


def _one(what: str, old: str | None, new: str | None, kind: str = "") -> tuple[Change, ...]:
    found = _change(what, old, new, kind)
    return (found,) if found is not None else ()


def _each(old: Mapping[str, str], new: Mapping[str, str], *, kind: str = "", what: str = "{}") -> Iterator[Change]:
    for name in sorted({*old, *new}):
        yield from _one(what.format(name), old.get(name), new.get(name), kind)


def _graph(old: LockedTarget, new: LockedTarget) -> Iterator[Change]:
    yield from _each(_numbers(old.opset), _numbers(new.opset), what="opset {}")
    yield from _one("IR version", str(old.ir_version), str(new.ir_version))
    yield from _each(old.interface, new.interface)
    yield from _each(old.axes, new.axes, what="axis {}")
    yield from _one("nodes", _count(old.nodes), _count(new.nodes))
    yield from _each(_numbers(old.operators), _numbers(new.operators), what="{} nodes")
    if old.structure != new.structure and old.operators == new.operators:
        yield Change(what="names, attributes, edges or shapes", old=old.structure, new=new.structure, kind="digest")


def _numbers(found: Mapping[str, int]) -> dict[str, str]:
    return {name or "ai.onnx": str(number) for name, number in found.items()}


def _count(number: int | None) -> str | None:
    return None if number is None else str(number)


def _choices(old: LockedTarget, new: LockedTarget) -> Iterator[Change]:
    yield from _each(_chosen(old), _chosen(new))
    yield from _each(_sessions(old), _sessions(new), what="session on {}")
    yield from _one("passes left out", ", ".join(old.reverted), ", ".join(new.reverted))


def _chosen(entry: LockedTarget) -> dict[str, str]:
    chosen = msgspec.to_builtins(entry.choice) if entry.choice is not None else {}
    return {_CHOICES.get(name, name.replace("_", " ")): _text(value) for name, value in chosen.items()}


def _sessions(entry: LockedTarget) -> dict[str, str]:
    return {machine: _settings(one.session) for machine, one in entry.sessions.items()}


def _settings(session: Session) -> str:
    settings = {name: value for name, value in msgspec.to_builtins(session).items() if value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in settings.items()) or "defaults"


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else encode(value).decode()


def _placements(entry: LockedTarget) -> dict[str, str]:
    return {provider: _placed(placement) for provider, placement in entry.placement.items()}


def _placed(placement: LockedPlacement) -> str:
    if placement.absent is not None:
        return f"absent: {placement.absent}"
    return f"{placement.nodes} of {placement.of} nodes"


def _metrics(old: Mapping[str, LockedMetric], new: Mapping[str, LockedMetric]) -> Iterator[NumberChange]:
    for provider in sorted({*old, *new}):
        was, now = old.get(provider), new.get(provider)
        if was == now:
            continue
        name = now.name if now is not None else was.name if was is not None else ""
        if was is None or now is None or was.name != now.name:
            before = was.model if was is not None and was.name == name else None
            after = now.model if now is not None else None
            yield NumberChange(what=name, provider=provider, old=before, new=after)
        elif was.model != now.model:
            exceeds = not was.covers(now.model) if was.interval is not None else None
            delta = None if was.model is None or now.model is None else now.model - was.model
            yield NumberChange(
                what=name,
                provider=provider,
                old=was.model,
                new=now.model,
                delta=delta,
                interval=was.interval,
                exceeds=exceeds,
            )


def _memory(entry: LockedTarget) -> dict[str, LockedEstimate]:
    return {f"memory@{provider}": estimate for provider, estimate in entry.memory.items()}


def _timings(old: Mapping[str, LockedEstimate], new: Mapping[str, LockedEstimate], unit: str) -> Iterator[NumberChange]:
    for key in sorted({*old, *new}):
        what, _, provider = key.partition("@")
        was, now = old.get(key), new.get(key)
        if was == now:
            continue
        yield NumberChange(
            what=what,
            provider=provider,
            old=was.value if was is not None else None,
            new=now.value if now is not None else None,
            delta=now.value - was.value if was is not None and now is not None else None,
            interval=(was.low, was.high) if was is not None and was.high is not None else None,
            exceeds=not was.overlaps(now) if was is not None and now is not None else None,
            unit=unit,
        )


def _gates(old: LockedTarget, new: LockedTarget) -> Iterator[NumberChange]:
    """Yield what gates measured; metric, size, latency and memory have places of their own."""
    for key in sorted({*old.measured, *new.measured}):
        gate, _, provider = key.partition("@")
        was, now = old.measured.get(key), new.measured.get(key)
        if gate in ("tolerance.metric", "size", "latency", "memory") or was == now:
            continue
        delta = now - was if isinstance(was, float | int) and isinstance(now, float | int) else None
        limits = old.limits.get(key, ""), new.limits.get(key, "")
        yield NumberChange(what=gate, provider=provider or None, old=was, new=now, delta=delta, limits=limits)


def _limits(old: LockedTarget, new: LockedTarget) -> Iterator[Change]:
    """Yield what gates require; an entry that an older version wrote does not say what they required then."""
    if not old.limits:
        return
    for key in sorted({*old.limits, *new.limits}):
        gate, _, provider = key.partition("@")
        what = f"{gate.removeprefix('tolerance.')}{f' on {provider}' if provider else ''}"
        yield from _one(what, old.limits.get(key), new.limits.get(key))
