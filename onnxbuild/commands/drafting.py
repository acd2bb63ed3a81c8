"""A first recipe for a saved model, from what the model tells; what it cannot tell is left to comments."""

from __future__ import annotations

import json
import re

from onnxbuild.recipe.types import Framework
from onnxbuild.sources.description import DescribedAxis, DescribedInput, SourceFacts

AXIS_MAX = 16
"""The largest size of a dynamic axis that a drafted recipe declares, where the model sets no lower limit."""
AXIS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PROGRAM_SYMBOL = re.compile(r"s\d+$")
"""How torch calls an axis that the user gave no name."""


def name_from(stem: str) -> str:
    """Return a valid recipe name made from a file's stem."""
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("._-") or "model"
    return f"{name}-model" if name == "index" else name


def draft_recipe(facts: SourceFacts, path: str, file: str, sha256: str | None = None) -> str:
    """Return the YAML of a recipe for a model with these facts; `path` is relative to the recipe.

    `sha256` is given for a file whose loading can run code: the recipe then trusts that very file.
    """
    axes = _Axes(facts.axes)
    inputs = [line for value in facts.inputs for line in _input(value, axes)]
    return "\n".join(
        [
            f"# Drafted from {_plain(file)}. onnxbuild check says what is wrong with it.",
            *(["# It has string inputs, which cannot be generated: give it an `evaluation`."] * _has_strings(facts)),
            *(f"# {_plain(note)}" for note in facts.notes),
            "format: 1",
            *_source(facts, path, sha256),
            "inputs:",
            *inputs,
            _outputs(facts),
            *axes.lines(),
            *([f"opset: {facts.opset or 20}"] if facts.framework is Framework.ONNX else []),
            "",
            "passes:",
            "  - onnxscript: optimize",
            "  - onnxslim: default",
            "",
            "# Without labelled data the source and the model are compared on generated inputs:",
            "# the verdict is unverified.",
            "# evaluation: {data: data/test.npz, metric: accuracy}    # arrays by input name, and `labels`",
            "# tolerance: {metric: {at_least: 99% of source}}",
            "",
        ]
    )


def _has_strings(facts: SourceFacts) -> bool:
    return any(value.dtype == "string" for value in facts.inputs)


def _source(facts: SourceFacts, path: str, sha256: str | None) -> list[str]:
    if sha256 is not None:
        return [
            "source:",
            f"  framework: {facts.framework.value}",
            f"  path: {_quote(path)}",
            "  trust: pickle      # loading this kind of file can run code: keep it if you trust its origin",
            f"  sha256: {sha256}",
        ]
    signature = f", signature: {_quote(facts.signature)}" if facts.signature is not None else ""
    return [f"source: {{framework: {facts.framework.value}, path: {_quote(path)}{signature}}}"]


def _outputs(facts: SourceFacts) -> str:
    if facts.framework is Framework.SKLEARN:
        return f"outputs: {{{', '.join(f'{_quote(o.name)}: {o.method}' for o in facts.outputs)}}}"
    return f"outputs: [{', '.join(_quote(output.name) for output in facts.outputs)}]"


def _input(value: DescribedInput, axes: _Axes) -> list[str]:
    """Return the lines of one input; what is not known is not written, so that `check` asks for it."""
    parts = []
    note = value.note
    if value.dtype is not None:
        parts.append(f"dtype: {value.dtype}")
    else:
        note = f"{note}; " * bool(note) + "no recipe has its dtype: the model takes no such input"
    if value.shape is not None:
        dims = [axes.dim(dim, position, value.name) for position, dim in enumerate(value.shape)]
        parts.append(f"shape: [{', '.join(dims)}]")
    line = f"  {_quote(value.name)}: {{{', '.join(parts)}}}"
    if not note and value.dtype is not None and "int" in value.dtype:
        note = "generated values are 0 and 1: write `range: [lowest, highest]`"
    return [f"{line}    # {_plain(note)}" if note else line]


class _Axes:
    """The dynamic axes of a draft: each symbol of the model under a name that a recipe can have."""

    def __init__(self, known: dict[str, DescribedAxis]) -> None:
        self.known = known
        self.names: dict[str, str] = {}

    def dim(self, dim: int | str | None, position: int, value: str) -> str:
        """Return one dim as a recipe writes it, and remember its axis."""
        if isinstance(dim, int):
            return str(dim)
        place = "batch" if position == 0 else f"{value}_{position}"
        symbol = dim or place
        if symbol not in self.names:
            wanted = place if dim is None or not _is_name(dim) else dim
            self.names[symbol] = self._free(re.sub(r"[^A-Za-z0-9_]+", "_", wanted).strip("_"), position)
        return _quote(self.names[symbol])

    def _free(self, wanted: str, position: int) -> str:
        name = wanted if AXIS_NAME.fullmatch(wanted) else f"axis_{position}"
        number = 1
        while name in self.names.values():
            number += 1
            name = f"{wanted}_{number}"
        return name

    def lines(self) -> list[str]:
        """Return the section `dynamic_axes`, empty when there are none."""
        if not self.names:
            return []
        return [
            "dynamic_axes:      # the sizes that are proved: write the ones you serve",
            *(
                f"  {_quote(name)}: {{{self._range(symbol)}}}{self._limit(symbol)}"
                for symbol, name in self.names.items()
            ),
        ]

    def _range(self, symbol: str) -> str:
        axis = self.known.get(symbol, DescribedAxis())
        step = axis.multiple_of
        largest = max(AXIS_MAX // step * step, axis.min)
        parts = [f"min: {axis.min}"] * (axis.min > step) + [f"max: {min(largest, axis.max or largest)}"]
        return ", ".join([*parts, *[f"multiple_of: {step}"] * (step > 1)])

    def _limit(self, symbol: str) -> str:
        axis = self.known.get(symbol)
        if axis is None or (axis.max is None and axis.min <= axis.multiple_of):
            return ""
        return f"    # the model holds for {axis.min} {'or more' if axis.max is None else f'to {axis.max}'}"


def _is_name(symbol: str) -> bool:
    """Tell a name that a person gave from an expression or a number of the framework's."""
    return AXIS_NAME.fullmatch(re.sub(r"[^A-Za-z0-9_]+", "_", symbol).strip("_")) is not None and not (
        PROGRAM_SYMBOL.fullmatch(symbol) or "*" in symbol
    )


def _plain(text: str) -> str:
    """Return `text` for a comment: what a model calls its parts could end the line."""
    return "".join(character if character.isprintable() else " " for character in text)


def _quote(text: str) -> str:
    """Return `text` as a YAML scalar, quoted where plain it would be something else."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text) is not None
    keyword = text.lower() in ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    return text if plain and not keyword else json.dumps(text)
