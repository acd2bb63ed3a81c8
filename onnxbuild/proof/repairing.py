"""The search for the fewest layers to keep in float that meet a tolerance; knows no model and no quantiser.

Excluding more layers is not always better (a runtime quantises again what it finds between quantised neighbours), so
the best set seen is kept, not the last. Cheap settings of the whole model come first, then layers by ablation. A model
most of which is in float is no repair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from onnxbuild.proof.ablation import Measured, rank
from onnxbuild.recipe.types import Choice

STEPS = 8
"""Layers that are added one at a time; then several at once."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One choice that was measured, or could not be made (`measured` None); `layers` are those that `keep` names."""

    choice: Choice
    layers: tuple[str, ...]
    measured: Measured | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The best choice seen and all that were tried, in order; `stopped` tells why the search ended early, if it did."""

    best: Tried
    tried: tuple[Tried, ...]
    stopped: str | None = None


class Search:
    """One search. `layers` maps a layer to its nodes, in the order of the graph; no more than half of them are kept.

    `measure` makes and measures a choice, None where that fails; at most `budget` are measured, none once `is_late`.
    """

    def __init__(
        self,
        layers: Mapping[str, tuple[str, ...]],
        measure: Callable[[Choice], Measured | None],
        budget: int,
        is_late: Callable[[], bool] = lambda: False,
    ) -> None:
        self._layers, self._measure, self._budget, self._is_late = layers, measure, budget, is_late
        self._most = (len(layers) + 1) // 2
        self._tried: dict[Choice, Tried] = {}
        self._stopped: str | None = None

    def run(self, base: Measured, switches: Sequence[Choice], locked: Choice | None = None) -> Found:
        """Return the best that the search finds; `base` is what the model comes to as it is."""
        unchanged = Choice()
        self._tried[unchanged] = Tried(choice=unchanged, layers=(), measured=base)
        if locked is not None and self._meets(tried := self._try(locked, self._named(locked))):
            return msgspec.structs.replace(self._found(), best=tried)
        setting = unchanged
        for switch in switches:
            if self._has_met():
                break
            setting = self._better(setting, _with(setting, switch))
        for start in dict.fromkeys((setting, unchanged)):  # what helps as a whole may be in the way of the layers
            if not self._has_met():
                self._grow(start)
        self._drop()
        return self._found()

    # Steps

    def _grow(self, setting: Choice) -> None:
        """Add the layers that gain most, one at a time or with a neighbour, until the tolerance is met."""

        def alone(kept: frozenset[str]) -> Measured | None:
            return None if self._has_met() else self._kept(setting, kept)

        ranked = rank(tuple(self._layers), alone, max(1, self._budget - len(self._tried) - STEPS))
        if self._has_met() or not ranked:
            return
        order = [name for entry in ranked for name in entry.layers]
        kept, last = set(ranked[0].layers), ranked[0].layers[-1]
        while len(kept) < self._most and not self._has_met() and not self._stopped:
            step = min(1 if len(kept) < STEPS else len(kept) // 2, self._most - len(kept))
            more = [name for name in order if name not in kept][:step]
            ways = [more, *([name] for name in self._beside(last) if name not in kept and name not in more)]
            results = [(way, self._kept(setting, frozenset(kept.union(way)))) for way in ways]
            known = [(way, measured) for way, measured in results if measured is not None]
            if not known:
                return
            way, _ = min(known, key=lambda pair: pair[1].order())
            kept.update(way)
            last = way[-1]

    def _drop(self) -> None:
        """Give back, one at a time, what the best choice does not need to meet the tolerance."""
        for name in reversed(self._best().layers):
            best = self._best()
            if self._meets(best) and name in best.layers:
                rest = tuple(layer for layer in best.layers if layer != name)
                self._kept(msgspec.structs.replace(best.choice, keep=()), frozenset(rest))
        for name in (field for field in Choice.__struct_fields__ if field != "keep"):
            best = self._best()
            if self._meets(best) and best.layers and getattr(best.choice, name) is not None:
                self._try(msgspec.structs.replace(best.choice, **{name: None}), best.layers)

    # What was seen

    def _better(self, one: Choice, other: Choice) -> Choice:
        before, after = self._tried[one].measured, self._try(other, ()).measured
        return other if after is not None and (before is None or after.order() < before.order()) else one

    def _kept(self, setting: Choice, layers: frozenset[str]) -> Measured | None:
        if len(layers) > self._most:
            return None
        names = tuple(name for name in self._layers if name in layers)
        nodes = tuple(sorted(node for name in names for node in self._layers[name]))
        return self._try(msgspec.structs.replace(setting, keep=nodes), names).measured

    def _try(self, choice: Choice, layers: tuple[str, ...]) -> Tried:
        if choice in self._tried:
            return self._tried[choice]
        tried = Tried(choice=choice, layers=layers, measured=None)
        if len(self._tried) > self._budget:
            self._stopped = self._stopped or "its budget of measurements was spent"
        elif self._is_late():
            self._stopped = self._stopped or "its time was up"
        else:
            tried = self._tried[choice] = msgspec.structs.replace(tried, measured=self._measure(choice))
        return tried

    def _named(self, choice: Choice) -> tuple[str, ...]:
        kept = set(choice.keep)
        return tuple(name for name, nodes in self._layers.items() if kept.issuperset(nodes))

    def _beside(self, layer: str) -> list[str]:
        names = [*self._layers]
        at = names.index(layer)
        return [names[i] for i in (at - 1, at + 1) if 0 <= i < len(names)]

    def _meets(self, tried: Tried) -> bool:
        return tried.measured is not None and tried.measured.meets

    def _has_met(self) -> bool:
        return any(self._meets(tried) for tried in self._tried.values())

    def _best(self) -> Tried:
        """Return the best seen: of those that meet the tolerance the one that keeps and changes least."""
        known = [tried for tried in self._tried.values() if tried.measured is not None]
        return min(known, key=_order)

    def _found(self) -> Found:
        return Found(best=self._best(), tried=tuple(self._tried.values()), stopped=self._stopped)


def _order(tried: Tried) -> tuple[float, ...]:
    assert tried.measured is not None
    if tried.measured.meets:
        changed = sum(getattr(tried.choice, name) is not None for name in Choice.__struct_fields__ if name != "keep")
        return (0, len(tried.choice.keep), changed, *tried.measured.order())
    return (1, *tried.measured.order())


def _with(setting: Choice, switch: Choice) -> Choice:
    changed = {name: value for name in switch.__struct_fields__ if (value := getattr(switch, name)) not in (None, ())}
    return msgspec.structs.replace(setting, **changed)
