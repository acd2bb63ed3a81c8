"""What the JSON inside a .pt2 file tells of its program, read without torch and without running anything of it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Framework, Output
from onnxbuild.sources.description import DescribedAxis, DescribedInput, SourceFacts

DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
}
"""torch's serialised ScalarType; what is not here is no dtype of a recipe."""
LARGEST = 200_000_000
"""Bytes of JSON that are read at most: a program, never its weights."""
SYMBOL = re.compile(r"Symbol\('(\w+)'[^)]*\)")
MULTIPLE = re.compile(r"Mul\(Integer\((\d+)\), Symbol\('(\w+)'[^)]*\)\)")


def describe_archive(file: Path) -> SourceFacts:
    """Return the program's inputs, the ranges of its axes and its outputs; raises StageFailure."""
    try:
        program = _read(file)
        graph = program["graph_module"]["graph"]
        signature = program["graph_module"]["signature"]
        axes: dict[str, DescribedAxis] = {}
        inputs = tuple(
            _input(_tensor_name(spec["user_input"]), graph["tensor_values"], program["range_constraints"], axes)
            for spec in signature["input_specs"]
            if "user_input" in spec
        )
        outputs = [spec["user_output"] for spec in signature["output_specs"] if "user_output" in spec]
        names = [_tensor_name(spec) for spec in outputs]
    except (KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile, OSError) as error:
        raise StageFailure(
            "source-does-not-load",
            f"{file.name} is no exported program as torch.export.save writes it ({type(error).__name__}: {error})",
            hint="save it again with torch.export.save",
            tool="torch",
        ) from None
    return SourceFacts(
        framework=Framework.TORCH, inputs=inputs, outputs=tuple(Output(name=name) for name in names), axes=axes
    )


def _read(file: Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith("models/model.json")]
        if len(entries) != 1 or entries[0].file_size > LARGEST:
            raise ValueError("it has no models/model.json")
        return dict(json.loads(archive.read(entries[0])))


def _tensor_name(spec: Mapping[str, Any]) -> str:
    argument = spec["arg"]
    if "as_tensor" not in argument:
        kind = next(iter(argument), "nothing").removeprefix("as_")
        raise StageFailure(
            "source-inputs",
            f"the exported program takes or returns a {kind}; ONNX inputs and outputs are tensors",
            hint="export a module whose forward takes and returns tensors",
        )
    return str(argument["as_tensor"]["name"])


def _input(
    name: str, tensors: Mapping[str, Any], ranges: Mapping[str, Any], axes: dict[str, DescribedAxis]
) -> DescribedInput:
    tensor = tensors[name]
    dims: list[int | str] = []
    odd: list[str] = []
    for size in tensor["sizes"]:
        if "as_int" in size:
            dims.append(int(size["as_int"]))
            continue
        text = str(size["as_expr"]["expr_str"])
        symbol, axis = _axis(text, ranges)
        if axis is None:
            odd.append(SYMBOL.sub(r"\1", text))
        dims.append(symbol)
        axes.setdefault(symbol, axis or DescribedAxis())
    note = f"a size of it is computed: {', '.join(odd)}; declare only sizes that it can have" if odd else ""
    return DescribedInput(name=name, dtype=DTYPES.get(int(tensor["dtype"])), shape=tuple(dims), note=note)


def _axis(text: str, ranges: Mapping[str, Any]) -> tuple[str, DescribedAxis | None]:
    """Return the symbol of an axis and its range: one symbol, or one times a number; None for anything else."""
    if found := SYMBOL.fullmatch(text):
        return found[1], _ranged(ranges.get(found[1], {}), 1)
    if found := MULTIPLE.fullmatch(text):
        step, name = int(found[1]), f"{found[1]}*{found[2]}"
        return name, _ranged(ranges.get(name, {}), step)
    return SYMBOL.sub(r"\1", text), None


def _ranged(found: Mapping[str, Any], step: int) -> DescribedAxis:
    low, high = found.get("min_val"), found.get("max_val")
    low = max(int(low or 0), step)
    return DescribedAxis(min=-(-low // step) * step, max=int(high) // step * step if high else None, multiple_of=step)
