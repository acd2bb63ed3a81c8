"""A first recipe for a model file, from what the file tells; what it cannot tell is left to the reader in comments."""

from __future__ import annotations

import json
import re

from onnxbuild.ir.facts import ModelFacts, ValueFacts

AXIS_MAX = 16
"""The largest size of a dynamic axis that a drafted recipe declares; the file does not say one."""


def name_from(stem: str) -> str:
    """Return a valid recipe name made from a file's stem."""
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("._-") or "model"
    return f"{name}-model" if name == "index" else name


def draft_recipe(facts: ModelFacts, path: str, file: str) -> str:
    """Return the YAML of a recipe for an ONNX file with these facts; `path` is relative to the recipe."""
    axes: dict[str, str] = {}
    inputs = [
        f"  {_quote(value.name)}: {{dtype: {value.dtype}, shape: {_shape(value, axes)}}}" for value in facts.inputs
    ]
    lines = [
        f"# Drafted from {file}. onnxbuild check says what is wrong with it.",
        "format: 1",
        f"source: {{framework: onnx, path: {_quote(path)}}}",
        "inputs:",
        *inputs,
        f"outputs: [{', '.join(_quote(value.name) for value in facts.outputs)}]",
    ]
    if axes:
        lines.append("dynamic_axes:      # the file names these axes, not their ranges: write the ones you serve")
        lines += [f"  {_quote(name)}: {{max: {AXIS_MAX}}}" for name in axes.values()]
    lines += [
        f"opset: {facts.opsets.get('', 20)}",
        "",
        "passes:",
        "  - onnxscript: optimize",
        "  - onnxslim: default",
        "",
        "# Without labelled data the source and the model are compared on generated inputs: the verdict is unverified.",
        "# evaluation: {data: data/test.npz, metric: accuracy}    # arrays by input name, and `labels`",
        "# tolerance: {metric: {at_least: 99% of source}}",
        "",
    ]
    if any(value.dtype == "string" for value in facts.inputs):
        lines.insert(1, "# It has string inputs, which cannot be generated: give it an `evaluation`.")
    return "\n".join(lines)


def _shape(value: ValueFacts, axes: dict[str, str]) -> str:
    """Return the shape as a recipe writes it, and enter its dynamic axes by the file's name for them."""
    dims = []
    for position, dim in enumerate(value.shape or ()):
        if isinstance(dim, int):
            dims.append(str(dim))
            continue
        symbol = dim or ("batch" if position == 0 else f"{value.name}_{position}")
        name = re.sub(r"[^A-Za-z0-9_]+", "_", symbol).strip("_") or f"axis_{position}"
        dims.append(_quote(axes.setdefault(symbol, name)))
    return f"[{', '.join(dims)}]"


def _quote(text: str) -> str:
    """Return `text` as a YAML scalar, quoted where plain it would be something else."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text) is not None
    keyword = text.lower() in ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    return text if plain and not keyword else json.dumps(text)
